//! Rust's errors as the exceptions of `mapreduce.errors`.

use mapreduce::{ClientError, ClusterError as LocalError};
use mapreduce_coordination::users::UserError;
use mapreduce_core::JobId;
use mapreduce_executor::TaskError;
use pyo3::{PyErr, Python, import_exception};

use crate::objects;
pub use crate::objects::{InvalidArgumentError, StorageError};

import_exception!(concurrent.futures, CancelledError);

import_exception!(mapreduce.errors, AuthenticationError);
import_exception!(mapreduce.errors, ClusterError);
import_exception!(mapreduce.errors, NoMasterError);
import_exception!(mapreduce.errors, PermissionDeniedError);

/// For errors of managing users.
pub fn user_error(e: UserError) -> PyErr {
    let text = e.to_string();
    match e {
        UserError::UnknownUser { .. } | UserError::WrongPassword { .. } => AuthenticationError::new_err(text),
        UserError::NotAdmin { .. } | UserError::DefaultAdminStays => PermissionDeniedError::new_err(text),
        UserError::UserExists { .. }
        | UserError::BadName { .. }
        | UserError::EmptyPassword
        | UserError::BadRole { .. } => InvalidArgumentError::new_err(text),
        _ => ClusterError::new_err(text),
    }
}

/// For errors of starting and changing a local cluster.
pub fn cluster_error(e: LocalError) -> PyErr {
    match e {
        LocalError::Client(e) => client_error(e),
        LocalError::OutOfRange { .. } | LocalError::Directory(_) | LocalError::UnknownId { .. } => {
            InvalidArgumentError::new_err(e.to_string())
        }
        _ => ClusterError::new_err(e.to_string()),
    }
}

/// For errors of talking to a cluster.
pub fn client_error(e: ClientError) -> PyErr {
    let text = e.to_string();
    match e {
        ClientError::NoMaster { .. } | ClientError::Unreachable { .. } => NoMasterError::new_err(text),
        ClientError::Unauthenticated(_) => AuthenticationError::new_err(text),
        ClientError::PermissionDenied(_) => PermissionDeniedError::new_err(text),
        ClientError::Invalid(_) | ClientError::NoSuchJob(_) => InvalidArgumentError::new_err(text),
        ClientError::Storage(_) => StorageError::new_err(text),
        _ => ClusterError::new_err(text),
    }
}

/// For errors of what a job does, in this process: what the job itself raises for them.
pub fn task_error(py: Python<'_>, job: JobId, error: TaskError) -> PyErr {
    match error {
        TaskError::Storage(_) | TaskError::Scratch { .. } => StorageError::new_err(error.to_string()),
        TaskError::User(_) | TaskError::Files(_) => {
            objects::job_failed(py, job, &error.into()).unwrap_or_else(|error| error)
        }
    }
}

/// For an id that is none.
pub fn invalid(e: impl ToString) -> PyErr {
    InvalidArgumentError::new_err(e.to_string())
}
