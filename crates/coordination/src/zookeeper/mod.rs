//! Coordination in ZooKeeper: for several machines, and for the death of some of its servers.
//!
//! ```text
//! access.rs    the name and password that keep others out
//! connect.rs   reaching the servers, and what is wrong with those that can't be
//! session.rs   one session a process, for as long as the servers say that it lives
//! names.rs     entry ↔ node
//! entries.rs   reads and writes of one entry
//! failure.rs   what the client library's errors mean
//! ```
//!
//! **Reads.** A server may lag behind, so that every read is sent together with a `sync`: the server answers when it
//! has caught up with the leader. That costs a message from the server to the leader and back, no write and no disk.
//! One thing remains: a leader that was cut off from the others, or stopped and woken, goes on for at most ZooKeeper's
//! `syncLimit` before it notices, and who reads through it reads what was true when it was cut off. Nothing safe hangs on
//! that: whatever is decided is decided by compare-and-set, which no leader can do alone, and one session's reads never go
//! back. The remedy, a write before each read, would cost more writes than everything else together.
//!
//! **Versions.** An entry's version is its `mzxid`, the transaction of the last write: the ensemble never gives one
//! twice. `entries.rs` says how a write is made conditional on it.
//!
//! **Time.** A session's lease is in the servers' hands: with a `tickTime` of 2 s, its default, they grant 4 s at least.

mod access;
mod connect;
mod entries;
mod failure;
mod names;
mod session;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_core::Incarnation;
use tokio::{sync::watch, task::AbortHandle, time::sleep};
use zookeeper_client::{Client, CreateMode, Error};

use self::{
    access::{Access, Root},
    connect::Servers,
    failure::is_unknown,
    names::Node,
    session::Session,
};
use crate::{
    CoordinationError, Coordinator, Entry, Lifetime, SessionOptions, Version,
    remote::{Failure, PATIENCE, Place, shown},
};

/// ZooKeeper's own port.
const PORT: u16 = 2181;

/// The lease of who has no entries that live with a session. It only says how soon a dead connection is noticed.
const LEASE_OF_READERS: Duration = Duration::from_secs(10);

/// Between two tries of what a broken connection cut off.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// See [`crate::open`]; `rest` is what follows `zookeeper://` in `url`.
pub(crate) async fn open(
    url: &str,
    rest: &str,
    options: Option<SessionOptions>,
) -> Result<Arc<dyn Coordinator>, CoordinationError> {
    let unavailable = |url: &str, why| CoordinationError::Unavailable { url: url.to_owned(), why };
    let shown = shown(url, rest);
    let place = Place::parse(rest, PORT)
        .map_err(|why| unavailable(&shown, format!("{why}; accepted: {}", crate::ACCEPTED)))?;
    let access = Access::of(&place).map_err(|why| unavailable(&shown, why))?;
    let lease = options.as_ref().map_or(LEASE_OF_READERS, |options| options.lease);
    let servers = Servers { url: shown.as_str().into(), place, access, lease };
    let client = servers.connect().await.map_err(|why| unavailable(&shown, why))?;
    open_root(&servers, &client).await.map_err(|why| unavailable(&shown, why))?;
    let session = options.map(|options| options.incarnation);
    if let Some(incarnation) = &session {
        begin(&servers, &client, incarnation).await.map_err(|why| unavailable(&shown, why))?;
    }
    let shared = Arc::new(Session::new(servers, session.is_some(), client));
    let keeper = tokio::spawn(shared.clone().keep()).abort_handle();
    Ok(Arc::new(ZooKeeper { session, shared, keeper }))
}

async fn open_root(servers: &Servers, client: &Client) -> Result<(), String> {
    let Place { root, auth, .. } = &servers.place;
    let with = match auth {
        Some(file) => format!("with the name and password in {}", file.display()),
        None => "without a name and password (?auth=/absolute/file)".to_owned(),
    };
    let began = Instant::now();
    loop {
        return match servers.access.open_root(client, root).await {
            Ok(Root::Ours) => Ok(()),
            Ok(Root::Open) => Err(format!(
                "everybody may change {root}, so that a password protects nothing: remove it, or set its ACL to the \
                 name and password in {}",
                auth.as_deref().unwrap_or("".as_ref()).display()
            )),
            Err(Error::NoAuth) => Err(format!("{root} can't be used {with}: the servers don't allow it")),
            Err(error) if may_be_tried_again(client, &error, began).await => continue,
            Err(error) => Err(format!("{root} can't be opened: {error}")),
        };
    }
}

/// Makes the node that stands for the incarnation's session, so that it has only one.
async fn begin(servers: &Servers, client: &Client, incarnation: &Incarnation) -> Result<(), String> {
    let node = Node::of_session(&servers.place.root, incarnation.as_str());
    let began = Instant::now();
    loop {
        return match make_session_node(servers, client, &node).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{incarnation} has a session: make a new incarnation at every start")),
            Err(error) if may_be_tried_again(client, &error, began).await => continue,
            Err(error) => Err(format!("{} can't be made: {error}", node.path)),
        };
    }
}

/// Whether the node is this session's.
async fn make_session_node(servers: &Servers, client: &Client, node: &Node) -> Result<bool, Error> {
    entries::make_directory(servers, client, &node.directory).await?;
    match client.create(&node.path, b"", &servers.access.made(CreateMode::Ephemeral)).await {
        Ok(_) => Ok(true),
        // Perhaps by an earlier try whose answer was lost.
        Err(Error::NodeExists) => {
            let found = client.check_stat(&node.path).await?;
            Ok(found.is_some_and(|stat| stat.ephemeral_owner == client.session_id().0))
        }
        Err(error) => Err(error),
    }
}

/// Whether what a broken connection cut off may be done again, and then after a pause: the servers may be electing a
/// leader.
async fn may_be_tried_again(client: &Client, error: &Error, began: Instant) -> bool {
    let may = is_unknown(error) && !client.state().is_terminated() && began.elapsed() < PATIENCE;
    if may {
        tracing::info!("trying again: {error}");
        sleep(RETRY_PAUSE).await;
    }
    may
}

/// One process's connection to the store.
#[derive(Debug)]
struct ZooKeeper {
    session: Option<Incarnation>,
    shared: Arc<Session>,
    keeper: AbortHandle,
}

/// The client library then closes the session, unless the process is ended first: then it expires.
impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl ZooKeeper {
    fn url(&self) -> &str {
        &self.shared.servers.url
    }

    fn node(&self, path: &str) -> Node {
        Node::of(&self.shared.servers.place.root, path)
    }

    fn write<T>(&self, path: &str, outcome: Result<T, Failure>) -> Result<T, CoordinationError> {
        outcome.map_err(|failure| failure.at(self.url(), path))
    }

    fn read<T>(&self, outcome: Result<T, Failure>) -> Result<T, CoordinationError> {
        outcome.map_err(|failure| failure.of_a_read().at(self.url(), ""))
    }
}

#[async_trait]
impl Coordinator for ZooKeeper {
    async fn create(
        &self,
        path: &str,
        value: Bytes,
        lifetime: Lifetime,
    ) -> Result<Version, CoordinationError> {
        let mode = match lifetime.session(self.session.as_ref(), self.url(), path)? {
            Some(_) => CreateMode::Ephemeral,
            None => CreateMode::Persistent,
        };
        self.write(path, self.shared.create(path, &self.node(path), &value, mode).await)
    }

    async fn get(&self, path: &str) -> Result<Option<Entry>, CoordinationError> {
        self.read(self.shared.get(&self.node(path)).await)
    }

    async fn set(&self, path: &str, value: Bytes, expected: Version) -> Result<Version, CoordinationError> {
        self.write(path, self.shared.set(path, &self.node(path), &value, expected).await)
    }

    async fn delete(&self, path: &str, expected: Version) -> Result<(), CoordinationError> {
        self.write(path, self.shared.delete(path, &self.node(path), expected).await)
    }

    async fn children(&self, parent: &str) -> Result<Vec<String>, CoordinationError> {
        let directory = names::directory(&self.shared.servers.place.root, parent);
        self.read(self.shared.children(&directory).await)
    }

    fn watch(&self, _parent: &str) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    fn session_lost(&self) -> watch::Receiver<bool> {
        self.shared.lost.subscribe()
    }

    async fn close(&self) {
        self.keeper.abort();
        self.shared.close().await;
    }
}
