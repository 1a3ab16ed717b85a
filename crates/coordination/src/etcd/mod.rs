//! Coordination in etcd: for several machines, and for the death of some of its servers.
//!
//! ```text
//! connect.rs   reaching a server, and what is wrong with those that can't be
//! lease.rs     what stands for a session at the servers
//! session.rs   one session a process, for as long as the servers say that it lives; how a write is made
//! keeper.rs    the background task: connections, the lease, the watch
//! entries.rs   reads and writes of one entry
//! wire.rs      etcd's messages
//! failure.rs   what an error means
//! ```
//!
//! Below the path that the URL names lie `entries/…` and `sessions/…`.
//!
//! **The client** is the part of etcd's gRPC interface that is needed, compiled from `proto/etcd.proto`. The crate
//! `etcd-client` needs `protoc` to be built, which nothing else here does; it spreads calls over all servers, the dead ones
//! too; and when one fails, does not tell whether it was sent.
//!
//! **Reads** are etcd's own, linearizable ones: the server asks the leader, and the leader a quorum.
//!
//! **Time.** A session's lease is in the servers' hands, in whole seconds: with an election timeout of 1 s, their default,
//! they grant 2 s at least. A new leader gives every lease its whole time again.

mod connect;
mod entries;
mod failure;
mod keeper;
mod lease;
mod session;
mod wire;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_core::Incarnation;
use tokio::{sync::watch, time::sleep};

use self::{
    connect::{Connection, Servers},
    failure::Trouble,
    lease::Own,
    session::Session,
};
use crate::{
    CoordinationError, Coordinator, Entry, Lifetime, SessionOptions, Version,
    remote::{Failure, PATIENCE, Place, shown},
};

/// etcd's own port for clients.
const PORT: u16 = 2379;

/// Between two tries of what a broken connection cut off.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// See [`crate::open`]; `rest` is what follows `etcd://` in `url`.
pub(crate) async fn open(
    url: &str,
    rest: &str,
    options: Option<SessionOptions>,
) -> Result<Arc<dyn Coordinator>, CoordinationError> {
    let shown = shown(url, rest);
    let unavailable = |why| CoordinationError::Unavailable { url: shown.clone(), why };
    let place = Place::parse(rest, PORT)
        .map_err(|why| unavailable(format!("{why}; accepted: {}", crate::ACCEPTED)))?;
    let login = place.login().map_err(unavailable)?;
    let servers = Servers::new(shown.as_str().into(), place, login);
    let (connection, own) = begin(&servers, options.as_ref()).await.map_err(unavailable)?;
    let incarnation = options.map(|options| options.incarnation);
    let session = Session::new(servers, incarnation, connection, own);
    tokio::spawn(session.clone().keep());
    Ok(Arc::new(Etcd { session }))
}

/// Connects and begins the session, through another server if one fails.
async fn begin(servers: &Servers, options: Option<&SessionOptions>) -> Result<(Connection, Own), String> {
    let incarnation = options.map(|options| &options.incarnation);
    let lease = options.map(|options| options.lease);
    let began = Instant::now();
    let mut granted = None;
    loop {
        let connection = servers.connect().await?;
        match lease::begin(servers, &connection, incarnation, lease, &mut granted).await {
            Ok(Some(own)) => return Ok((connection, own)),
            Ok(None) => {
                let who = incarnation.map(Incarnation::as_str).unwrap_or_default();
                return Err(format!("{who} has a session: make a new incarnation at every start"));
            }
            Err(Trouble::NotYet(why) | Trouble::Unknown(why)) if began.elapsed() < PATIENCE => {
                tracing::info!("trying again: {why}");
                sleep(RETRY_PAUSE).await;
            }
            Err(trouble) => {
                return Err(format!("no session can be begun below {}: {}", servers.prefix(), trouble.why()));
            }
        }
    }
}

/// One process's connection to the store.
#[derive(Debug)]
struct Etcd {
    session: Arc<Session>,
}

/// The background task then ends the session, unless the process is ended first: then it expires.
impl Drop for Etcd {
    fn drop(&mut self) {
        self.session.closing.send_replace(true);
    }
}

impl Etcd {
    fn url(&self) -> &str {
        &self.session.servers.url
    }

    fn write<T>(&self, path: &str, outcome: Result<T, Failure>) -> Result<T, CoordinationError> {
        outcome.map_err(|failure| failure.at(self.url(), path))
    }

    fn read<T>(&self, outcome: Result<T, Failure>) -> Result<T, CoordinationError> {
        outcome.map_err(|failure| failure.of_a_read().at(self.url(), ""))
    }
}

#[async_trait]
impl Coordinator for Etcd {
    async fn create(
        &self,
        path: &str,
        value: Bytes,
        lifetime: Lifetime,
    ) -> Result<Version, CoordinationError> {
        let lives_with = lifetime.session(self.session.incarnation.as_ref(), self.url(), path)?;
        self.write(path, self.session.create(path, value, lives_with.is_some()).await)
    }

    async fn get(&self, path: &str) -> Result<Option<Entry>, CoordinationError> {
        self.read(self.session.get(path).await)
    }

    async fn set(&self, path: &str, value: Bytes, expected: Version) -> Result<Version, CoordinationError> {
        self.write(path, self.session.set(path, value, expected).await)
    }

    async fn delete(&self, path: &str, expected: Version) -> Result<(), CoordinationError> {
        self.write(path, self.session.delete(path, expected).await)
    }

    async fn children(&self, parent: &str) -> Result<Vec<String>, CoordinationError> {
        self.read(self.session.children(parent).await)
    }

    fn watch(&self, _parent: &str) -> watch::Receiver<u64> {
        self.session.changes.subscribe()
    }

    fn session_lost(&self) -> watch::Receiver<bool> {
        self.session.lost.subscribe()
    }

    async fn close(&self) {
        self.session.close().await;
    }
}
