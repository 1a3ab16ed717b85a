//! The gRPC server of a master. Credentials are checked on every call, before anything else.

mod jobs;
mod joins;
mod workers;

pub use workers::to_event;

use std::{future::Future, sync::Arc};

use mapreduce_coordination::{
    Coordinator,
    users::{Authenticator, UserError, UserRole},
};
use mapreduce_core::ClusterId;
use mapreduce_rpc::{
    MESSAGE_BYTES_MAX,
    control::{jobs_server::JobsServer, joins_server::JoinsServer, workers_server::WorkersServer},
    headers::Credentials,
};
use tokio::{net::TcpListener, sync::oneshot};
use tonic::{
    Status,
    metadata::MetadataMap,
    transport::{Server, server::TcpIncoming},
};

use crate::{MasterError, MasterOptions, incarnation::Handle};

/// Serves until `stop` fires or its sender is dropped.
pub(crate) fn serve(
    handle: &Handle,
    users: Arc<dyn Coordinator>,
    options: &MasterOptions,
    cluster: &ClusterId,
    listener: TcpListener,
    stop: oneshot::Receiver<()>,
) -> Result<impl Future<Output = ()> + use<>, MasterError> {
    let guard = Arc::new(Guard {
        users: Authenticator::new(users)?,
        cluster_key: blake3::hash(options.cluster_key.reveal().as_bytes()),
    });
    let jobs = JobsServer::new(jobs::Service { handle: handle.clone(), guard: guard.clone() });
    let workers = WorkersServer::new(workers::Service { handle: handle.clone(), guard });
    let joins = options.authority.as_ref().map(|authority| {
        let told = Arc::new(joins::Told::of(options, authority));
        JoinsServer::new(joins::Service { handle: handle.clone(), told })
    });
    let mut server = Server::builder();
    if let Some(authority) = &options.authority {
        let tls = mapreduce_identity::server(authority, cluster)?;
        server = server
            .tls_config(tls)
            .map_err(|source| MasterError::Server { address: options.listen, source })?;
    }
    // A cable that was cut closes no stream: who is silent for a lease is asked, and gone after another.
    let server = server
        .http2_keepalive_interval(Some(handle.0.lease))
        .http2_keepalive_timeout(Some(handle.0.lease))
        .add_service(jobs.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(workers.max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_optional_service(joins);
    let stopped = async {
        let _ = stop.await;
    };
    // Messages are small and answers waited for: held back for more, each would take 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = server.serve_with_incoming_shutdown(incoming, stopped);
    Ok(async move {
        if let Err(e) = serving.await {
            tracing::error!("the server failed: {e}");
        }
    })
}

/// Knows who may call.
struct Guard {
    users: Authenticator,
    /// A hash, because hashes are compared in constant time.
    cluster_key: blake3::Hash,
}

/// Who is calling.
struct Caller {
    name: String,
    role: UserRole,
}

impl Caller {
    /// Whether the caller may cancel or clear what `user` submitted.
    fn may_change(&self, user: &str) -> bool {
        self.role == UserRole::Admin || self.name == user
    }
}

impl Guard {
    async fn user(&self, headers: &MetadataMap) -> Result<Caller, Status> {
        let Credentials::User { username, password } = Credentials::from_headers(headers)? else {
            return Err(Status::unauthenticated("this call needs a user's name and password"));
        };
        match self.users.check(&username, &password).await {
            Ok(role) => Ok(Caller { name: username, role }),
            Err(e @ UserError::Store(_)) => Err(Status::unavailable(e.to_string())),
            Err(e) => Err(Status::unauthenticated(e.to_string())),
        }
    }

    fn worker(&self, headers: &MetadataMap) -> Result<(), Status> {
        match Credentials::from_headers(headers)? {
            Credentials::Cluster { key } if blake3::hash(key.as_bytes()) == self.cluster_key => Ok(()),
            _ => Err(Status::unauthenticated("this call needs the key of this cluster")),
        }
    }
}
