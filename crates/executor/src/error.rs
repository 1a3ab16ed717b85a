//! What ends an attempt before its commit.

use std::{io, path::Path};

use mapreduce_core::FailureKind;
use mapreduce_formats::FormatError;
use mapreduce_storage::StorageError;

use crate::UserFailure;

/// Why an attempt can't go on.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Storage did not do what it was asked, or holds something else than was written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The input can't be read, or the output written.
    #[error(transparent)]
    Files(#[from] FormatError),
    /// The user's code failed.
    #[error("{}", .0.message)]
    User(Box<UserFailure>),
    /// The local disk did not take what does not fit into memory: the node's fault, not the task's.
    #[error(
        "scratch space in {dir} can't be used: {source}; free some space there, or name another directory"
    )]
    Scratch {
        /// Where it is.
        dir: String,
        /// What the system says.
        source: io::Error,
    },
}

impl TaskError {
    /// For `map_err`: an error of the local disk.
    pub(crate) fn scratch(dir: &Path) -> impl FnOnce(io::Error) -> TaskError {
        move |source| TaskError::Scratch { dir: dir.display().to_string(), source }
    }
}

impl From<UserFailure> for TaskError {
    fn from(failure: UserFailure) -> Self {
        TaskError::User(Box::new(failure))
    }
}

impl From<TaskError> for UserFailure {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::User(failure) => *failure,
            TaskError::Storage(error) => UserFailure::new(error.failure_kind(), error.to_string()),
            TaskError::Files(error) => UserFailure::new(error.failure_kind(), error.to_string()),
            error @ TaskError::Scratch { .. } => UserFailure::new(FailureKind::Storage, error.to_string()),
        }
    }
}
