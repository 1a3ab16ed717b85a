//! The typed records in coordination, as functions over any [`Coordinator`]. A write whose outcome a backend
//! can't tell is settled here, by reading, wherever the record itself says whose it is.

mod certain;
mod cluster;
mod counter;
mod jobs;
mod members;
mod tokens;
mod trial;

use mapreduce_core::{DecodeError, Persisted, invariants::Violation};

pub(crate) use certain::Write;
pub use cluster::{ClusterRecord, cluster, create_cluster, delete_cluster, update_cluster};
pub use counter::next_job_id;
pub use jobs::{JOBS, create_job, delete_job, job, job_ids, jobs, update_job};
pub use members::{Member, directory, incarnations, is_alive, members, register};
pub use tokens::{TokenRecord, create_token, remove_tokens, take_token, token};
pub use trial::{begin_trial, end_trial, trial_over};

pub use crate::process::process_start_ticks;
use crate::{CoordinationError, Coordinator, Version};

/// Why a record could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The store's own answer; it says what to do next.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
    /// What lies at the path is not the record that belongs there.
    #[error("{path} in coordination can't be used: {why}")]
    Unreadable {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: DecodeError,
    },
    /// An entry has a name that none of this program's records has.
    #[error("{path} in coordination was not written by this program: {why}")]
    Foreign {
        /// The path.
        path: String,
        /// What is wrong with the name.
        why: String,
    },
    /// The change is one that the protocol forbids; nothing was written.
    #[error("refusing to write {path}: {violation}")]
    Forbidden {
        /// The path.
        path: String,
        /// The invariant that it would break.
        violation: Violation,
    },
}

/// The record at `path`, if there is one.
pub(crate) async fn read<T: Persisted>(
    c: &dyn Coordinator,
    path: &str,
) -> Result<Option<(T, Version)>, RecordError> {
    let Some(entry) = c.get(path).await? else { return Ok(None) };
    match T::decode(&entry.value) {
        Ok(record) => Ok(Some((record, entry.version))),
        Err(why) => Err(RecordError::Unreadable { path: path.to_owned(), why }),
    }
}

/// Every record below `parent` that is still there when it is read.
pub(crate) async fn read_all<T: Persisted>(
    c: &dyn Coordinator,
    parent: &str,
) -> Result<Vec<(T, Version)>, RecordError> {
    let mut found = Vec::new();
    for name in c.children(parent).await? {
        found.extend(read(c, &format!("{parent}/{name}")).await?);
    }
    Ok(found)
}
