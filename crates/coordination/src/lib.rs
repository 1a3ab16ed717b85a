//! Coordination: small linearizable state behind one seam, [`Coordinator`], and the typed records in it.
//!
//! ```text
//! /cluster                 durable     records::ClusterRecord
//! /trial                   ephemeral   somebody tries the stores before there is a cluster
//! /probe-<random>          ephemeral   what is tried
//! /masters/<incarnation>   ephemeral   records::Member
//! /workers/<incarnation>   ephemeral   records::Member
//! /jobs/<id>               durable     core::JobRecord
//! /counters/job            durable     the last job id given
//! /users/<name>            durable     records::User
//! /tokens/<id>             durable     records::TokenRecord
//! ```
//!
//! Nothing is kept here for each task: a job of 100,000 tasks costs tens of writes.

mod etcd;
pub mod memory;
mod probe;
mod process;
pub mod records;
mod remote;
mod sqlite;
pub mod users;
mod zookeeper;

pub use probe::probe;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_core::Incarnation;
use tokio::sync::watch;

/// The session of a master or worker: what lives with its process.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// This life of the process; never used before.
    pub incarnation: Incarnation,
    /// How long the process may be silent before others take it for dead.
    pub lease: Duration,
    /// Whether this process looks out for the death of others. Masters do.
    pub watch_others: bool,
}

/// At the end of a `sqlite` URL: what is written survives every process, and the machine only if it happens to.
const UNSYNCED: &str = "?sync=no";

/// What every error about a URL ends with.
const ACCEPTED: &str =
    "sqlite:///absolute/directory, zookeeper://host:port,host:port/path, etcd://host:port,host:port/path";

/// Opens the store at `url`; makes it if it isn't there. With a session, the process counts as alive until
/// [`Coordinator::close`] or its end.
///
/// - `sqlite:///absolute/directory` is a directory that holds the database, the session locks and the bell; the path is
///   taken as it is written. Every write is synced, unless the URL ends with `?sync=no`. Blocks for a few file
///   operations.
/// - `zookeeper://host:port,host:port/path` is an ensemble's servers, and the node below which everything lies.
///   `?auth=/absolute/file` names the file that holds `user:password`, by which others are kept out; it must be there
///   unless all servers are on loopback. Needs ZooKeeper 3.6 or later, and a tokio runtime that lives as long as the
///   store is used.
/// - `etcd://host:port,host:port/path` is an etcd cluster's servers, and what all keys begin with; the rest as with
///   `zookeeper`. Needs etcd 3.4 or later.
pub async fn open(
    url: &str,
    session: Option<SessionOptions>,
) -> Result<Arc<dyn Coordinator>, CoordinationError> {
    if let Some(rest) = url.strip_prefix("zookeeper://") {
        return zookeeper::open(url, rest, session).await;
    }
    if let Some(rest) = url.strip_prefix("etcd://") {
        return etcd::open(url, rest, session).await;
    }
    let directory = url.strip_prefix("sqlite://").map(|path| path.strip_suffix(UNSYNCED).unwrap_or(path));
    match directory {
        Some(directory) if directory.starts_with('/') => Ok(sqlite::open(url, directory.as_ref(), session)?),
        _ => Err(CoordinationError::Unavailable {
            url: url.to_owned(),
            why: format!("not a coordination URL; accepted: {ACCEPTED}"),
        }),
    }
}

/// Identifies one write of one entry. No two writes in the life of a store share a version, so an entry
/// that was deleted and made again never looks unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A value and the version of the write that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was written.
    pub value: Bytes,
    /// Which write it was.
    pub version: Version,
}

/// How long an entry lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is deleted.
    Durable,
    /// Until it is deleted or the session that made it ends.
    Session,
}

/// What can go wrong, named by what the caller must do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoordinationError {
    /// `create`: the path is taken. Read it and decide.
    #[error("{path} exists already")]
    AlreadyExists {
        /// The path.
        path: String,
    },
    /// `set`, `delete`: the entry is not at the expected version, or gone. Somebody else was faster.
    #[error("{path} was changed by somebody else")]
    Conflict {
        /// The path.
        path: String,
    },
    /// This session has ended: end this incarnation and start a new one.
    #[error("the session has ended: other processes took this one for dead")]
    SessionLost,
    /// The write may or may not have taken effect: read before doing anything else.
    #[error("it is not known whether the write to {path} took effect: {why}")]
    Ambiguous {
        /// The path.
        path: String,
        /// What happened.
        why: String,
    },
    /// The store does not do what the protocol needs of it, so that a job could have two owners.
    #[error(
        "coordination does not keep the rules ({why}, {path}): use a store whose writes are compare-and-set"
    )]
    Lawless {
        /// The entry that was tried.
        path: String,
        /// What the store did.
        why: String,
    },
    /// The store can't be reached or used; nothing was changed. Try again later.
    #[error("coordination at {url} is unavailable: {why}")]
    Unavailable {
        /// Which store.
        url: String,
        /// What happened.
        why: String,
    },
}

/// The coordination store, as the protocol needs it: single-key compare-and-set, ephemeral entries, and a
/// hint that something changed.
///
/// Guarantees every backend must give, and that the one conformance suite checks:
/// - Reads and writes of one path are linearizable across processes. One exception: a read from ZooKeeper through a
///   leader that does not know yet that it was deposed may tell what was true a while ago. Nothing may be decided by
///   reads alone, and nothing is.
/// - A write that returned is durable.
/// - `create` succeeds for exactly one of any number of contenders; `set` and `delete` only at the expected
///   version.
/// - Entries made with [`Lifetime::Session`] vanish when their session ends, and after that no write of that
///   session takes effect.
#[async_trait]
pub trait Coordinator: Send + Sync + std::fmt::Debug {
    /// Makes an entry where there is none.
    async fn create(
        &self,
        path: &str,
        value: Bytes,
        lifetime: Lifetime,
    ) -> Result<Version, CoordinationError>;
    /// The entry at `path`, if there is one.
    async fn get(&self, path: &str) -> Result<Option<Entry>, CoordinationError>;
    /// Replaces the entry that is at version `expected`.
    async fn set(&self, path: &str, value: Bytes, expected: Version) -> Result<Version, CoordinationError>;
    /// Removes the entry that is at version `expected`.
    async fn delete(&self, path: &str, expected: Version) -> Result<(), CoordinationError>;
    /// The names directly below `parent`, sorted, without the parent's path.
    async fn children(&self, parent: &str) -> Result<Vec<String>, CoordinationError>;
    /// A number that grows some time after an entry below `parent` was made, changed or removed, by
    /// whomever. It may grow without cause. Read it (`borrow_and_update`) before reading the entries.
    fn watch(&self, parent: &str) -> watch::Receiver<u64>;
    /// Turns true, for good, when this process's session has ended. Never, without a session.
    fn session_lost(&self) -> watch::Receiver<bool>;
    /// Ends the session and stops background work; ephemeral entries are gone when this returns.
    async fn close(&self);
}

impl Lifetime {
    /// The session that the entry at `path` lives with, if any.
    fn session<'a>(
        self,
        own: Option<&'a Incarnation>,
        url: &str,
        path: &str,
    ) -> Result<Option<&'a Incarnation>, CoordinationError> {
        match (self, own) {
            (Lifetime::Durable, _) => Ok(None),
            (Lifetime::Session, Some(own)) => Ok(Some(own)),
            (Lifetime::Session, None) => Err(CoordinationError::Unavailable {
                url: url.to_owned(),
                why: format!("{path} would live with a session, and this coordinator was opened without one"),
            }),
        }
    }
}

/// The last part of `path` if it lies directly below `parent`.
fn child_name<'a>(parent: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(parent)?.strip_prefix('/').filter(|name| !name.contains('/'))
}
