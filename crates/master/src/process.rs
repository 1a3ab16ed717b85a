//! A master as a process: it opens its stores by their URLs, listens, registers, and lives one incarnation.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use mapreduce_coordination::{
    Coordinator, SessionOptions,
    records::{self, Member},
    users::UserRegistry,
};
use mapreduce_core::{Clock, Incarnation, Role, SystemClock};
use mapreduce_identity::{Stores, check_ca, identify, is_loopback};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{
    MasterError, MasterOptions,
    incarnation::{Ended, Master, Means},
    server,
};

/// An incarnation that is registered and has not begun to serve.
struct Begun {
    master: Master,
    coordinator: Arc<dyn Coordinator>,
    server: JoinHandle<()>,
    /// The server ends when it is dropped.
    stop: oneshot::Sender<()>,
}

/// Lives one incarnation: listens, registers, serves.
pub(crate) async fn live(
    options: &MasterOptions,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<Ended, MasterError> {
    // What can't be reached is waited for, and that must keep nobody from ending.
    let begun = tokio::select! {
        begun = begin(options) => begun?,
        () = shutdown.as_mut() => return Ok(Ended::Asked),
    };
    let Begun { master, coordinator, server, stop } = begun;
    let ended = master.serve(shutdown).await;
    drop(stop);
    coordinator.close().await;
    // Streams that are still open must not keep an old incarnation alive, nor its port taken.
    server.abort();
    let _ = server.await;
    Ok(ended)
}

async fn begin(options: &MasterOptions) -> Result<Begun, MasterError> {
    let system = |what: String| move |source| MasterError::System { what, source };
    let random = getrandom::u64().map_err(|e| system("no randomness".into())(io::Error::other(e)))?;
    let me = Incarnation::new(Role::Master, random);
    check_exposure(options)?;
    let users = mapreduce_coordination::open(&options.users, None).await?;
    let registry = UserRegistry::open(users.clone()).await?;
    if !options.listen.ip().is_loopback() && registry.default_password_stands().await? {
        return Err(MasterError::DefaultPassword { address: options.listen });
    }
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.map_err(system(format!("can't listen on {}", options.listen)))?;
    let address = listener.local_addr().map_err(system("the listener has no address".into()))?;

    let session = SessionOptions { incarnation: me.clone(), lease: options.lease, watch_others: true };
    let coordinator = mapreduce_coordination::open(&options.coordination, Some(session)).await?;
    let store = mapreduce_storage::open(&options.storage)?;
    let (coordination, storage) = (&options.coordination, &options.storage);
    let cluster =
        identify(Stores { coordinator: &*coordinator, coordination, store: &store, storage }).await?;
    check_ca(&cluster, options.authority.as_ref().map(|authority| authority.certificate.as_str()))?;
    if cluster.ca.is_some() && options.authority.is_none() {
        return Err(MasterError::NoAuthority { cluster: cluster.id });
    }
    let clock = Arc::new(SystemClock::default());
    let master = Master::new(Means {
        me: me.clone(),
        coordinator: coordinator.clone(),
        store,
        clock: clock.clone(),
        lease: options.lease,
    });
    let (stop, stopped) = oneshot::channel();
    let server = server::serve(&master.handle(), users, options, &cluster.id, listener, stopped)?;
    let address = advertised(options.advertise.as_deref(), address);
    let member = Member::of_this_process(me, Some(address.clone()), 0, clock.unix_ms());
    let member = member.map_err(system("this process can't be described".into()))?;
    records::register(coordinator.as_ref(), &member).await?;
    // Last, so that what fails before leaves no server behind; who calls already waits on the listener.
    let server = tokio::spawn(server);
    tracing::info!(master = %member.incarnation, %address, "serving");
    Ok(Begun { master, coordinator, server, stop })
}

/// An error if others could reach this master, and it them, other than by TLS; or if none could.
fn check_exposure(options: &MasterOptions) -> Result<(), MasterError> {
    let MasterOptions { listen, advertise, authority, .. } = options;
    let address = advertised(advertise.as_deref(), *listen);
    if authority.is_none() && !(listen.ip().is_loopback() && is_loopback(&address)) {
        return Err(MasterError::NoCertificate { listen: *listen, address });
    }
    if listen.ip().is_unspecified() && advertise.is_none() {
        return Err(MasterError::NoAddress { listen: *listen });
    }
    Ok(())
}

/// What others are told.
fn advertised(advertise: Option<&str>, listens: SocketAddr) -> String {
    match advertise {
        None => listens.to_string(),
        Some(address) => match address.strip_suffix(":0") {
            Some(host) => format!("{host}:{}", listens.port()),
            None => address.to_owned(),
        },
    }
}
