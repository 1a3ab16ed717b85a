//! Why a process can't belong to a cluster, in words that say what is wrong with which store.

use mapreduce_coordination::{CoordinationError, records::RecordError};
use mapreduce_core::ClusterId;
use mapreduce_storage::StorageError;

use crate::public_url;

/// Why a process can't belong to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another cluster has that storage.
    #[error(
        "storage {storage} is used by {cluster}, whose coordination is {theirs}, and not {ours}: give another path for \
         the storage, or that coordination"
    )]
    StorageTaken {
        /// The storage that was given.
        storage: String,
        /// Whose it is.
        cluster: ClusterId,
        /// That cluster's coordination.
        theirs: String,
        /// The coordination that was given.
        ours: String,
    },
    /// The cluster has another storage.
    #[error(
        "coordination {coordination} belongs to {cluster}, whose storage is {theirs}, and not {ours}: give that storage, \
         or another path for coordination"
    )]
    OtherStorage {
        /// The coordination that was given.
        coordination: String,
        /// Whose it is.
        cluster: ClusterId,
        /// That cluster's storage.
        theirs: String,
        /// The storage that was given.
        ours: String,
    },
    /// There is one already where a new one is to be made.
    #[error("coordination {coordination} belongs to {cluster} already")]
    Exists {
        /// Where.
        coordination: String,
        /// Which.
        cluster: ClusterId,
    },
    /// The certificate here is not the cluster's.
    #[error(
        "the certificate ca.pem that this process was given is not that of {cluster}: start it with the directory that \
         `mapreduce cluster init` or `mapreduce cluster join` made for this cluster"
    )]
    OtherAuthority {
        /// The cluster.
        cluster: ClusterId,
    },
    /// Nobody has ever been there.
    #[error(
        "there is no cluster at {coordination}: start a master there, or check that this is what its masters were given \
         as --coordination"
    )]
    NoCluster {
        /// Where it should be.
        coordination: String,
    },
    /// The storage is another one than the cluster's, seen from here.
    #[error(
        "storage {storage} of {cluster}, whose coordination is {coordination}, is not the same here as for its masters: \
         make that directory available on this machine, too"
    )]
    NotHere {
        /// The cluster's storage.
        storage: String,
        /// The cluster.
        cluster: ClusterId,
        /// Its coordination.
        coordination: String,
    },
    /// A store does not do what the protocol needs of it.
    #[error("{url} was tried, and no cluster is made in it: {why}")]
    Lawless {
        /// The store.
        url: String,
        /// What it did, and what to do.
        why: String,
    },
    /// What says which cluster it is was written by another version of this program, or is damaged.
    #[error("{url} can't be used for a cluster: {why}")]
    Unreadable {
        /// The store.
        url: String,
        /// What is wrong there.
        why: String,
    },
    /// Coordination can't be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Storage can't be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The system gave no random number for an id.
    #[error("no randomness for a cluster's id: {0}")]
    Random(getrandom::Error),
}

impl IdentityError {
    /// Whether a store could not be used, which may be otherwise later.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            IdentityError::Record(RecordError::Coordination(_))
                | IdentityError::Storage(_)
                | IdentityError::Unreadable { .. }
        )
    }

    /// Whether the process's session was lost.
    pub fn is_session_lost(&self) -> bool {
        matches!(self, IdentityError::Record(RecordError::Coordination(CoordinationError::SessionLost)))
    }
}

/// For `map_err`: what reading the record in the coordination at `url` came to.
pub(crate) fn of_record(url: &str) -> impl FnOnce(RecordError) -> IdentityError {
    move |error| match error {
        RecordError::Coordination(_) => IdentityError::Record(error),
        other => IdentityError::Unreadable { url: public_url(url), why: other.to_string() },
    }
}

/// For `map_err`: what reading the claim in the storage at `url` came to.
pub(crate) fn of_claim(url: &str) -> impl FnOnce(StorageError) -> IdentityError {
    move |error| match error {
        StorageError::Damaged { path, why } => {
            IdentityError::Unreadable { url: public_url(url), why: format!("{path} in storage: {why}") }
        }
        other => IdentityError::Storage(other),
    }
}
