//! What can go wrong between a client and its cluster, named by what the caller must do next.

use std::time::Duration;

use mapreduce_coordination::{CoordinationError, records::RecordError};
use mapreduce_core::{Incarnation, JobId};
use mapreduce_identity::{IdentityError, NoWay};
use mapreduce_rpc::BadField;
use mapreduce_storage::StorageError;
use tonic::{Code, Status};

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No master answered in time. Jobs wait for one, and go on when one starts.
    #[error(
        "no master of the cluster at {coordination} answered within {} s: start one, \
         for a local cluster with scale(n_masters=1)",
        waited.as_secs_f64()
    )]
    NoMaster {
        /// Where masters would be registered.
        coordination: String,
        /// For how long one was looked for.
        waited: Duration,
    },
    /// Masters live, and can't be reached from here.
    #[error(
        "no master of the cluster at {coordination} answered within {} s: {masters}; check that this machine reaches them",
        waited.as_secs_f64()
    )]
    Unreachable {
        /// Where they are registered.
        coordination: String,
        /// For how long they were tried.
        waited: Duration,
        /// Each, with what happened.
        masters: String,
    },
    /// Masters answered, and could not do it for now: their stores are full or out of order. Ask again later.
    #[error("the masters could not do it within {} s: {why}", waited.as_secs_f64())]
    Unavailable {
        /// What the last one said.
        why: String,
        /// For how long they were asked.
        waited: Duration,
    },
    /// A master is of another version of this program.
    #[error("{master} at {address} does not understand this program: {why}")]
    OtherVersion {
        /// The master.
        master: Incarnation,
        /// Where it listens.
        address: String,
        /// Its words.
        why: String,
    },
    /// The user is unknown or the password wrong.
    #[error("{0}")]
    Unauthenticated(String),
    /// The user may not do this.
    #[error("{0}")]
    PermissionDenied(String),
    /// What was asked for makes no sense, or not in the job's present state. Asking again does not help.
    #[error("{0}")]
    Invalid(String),
    /// There is no such job.
    #[error("{0}")]
    NoSuchJob(String),
    /// The job has no outcome yet.
    #[error("{job} has not ended: it is in phase {phase}")]
    NotEnded {
        /// The job.
        job: JobId,
        /// Its phase.
        phase: &'static str,
    },
    /// The master could not do it, for reasons of its own.
    #[error("the master could not do it: {message} ({code:?})")]
    Master {
        /// The gRPC code.
        code: Code,
        /// The master's words.
        message: String,
    },
    /// The master's answer is not one of this program's.
    #[error(transparent)]
    BadReply(#[from] BadField),
    /// The cluster's records can't be read.
    #[error(transparent)]
    Coordination(#[from] RecordError),
    /// A master can't be spoken to so that nobody else hears it.
    #[error(transparent)]
    NoWay(#[from] NoWay),
    /// There is no such cluster, or it can't be told.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The cluster's storage can't be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<CoordinationError> for ClientError {
    fn from(e: CoordinationError) -> Self {
        ClientError::Coordination(e.into())
    }
}

impl ClientError {
    pub(crate) fn no_such_job(job: JobId) -> ClientError {
        ClientError::NoSuchJob(format!(
            "there is no {job} in this cluster: it was never submitted, or was cleared"
        ))
    }
}

/// An error with its causes: what tonic says is only that there is one.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// Whether a call failed for want of a connection rather than by the master's decision: transport errors have a
/// source or no code of their own, and a master that is going says `Unavailable`.
pub(super) fn is_broken(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown) || std::error::Error::source(status).is_some()
}

/// Why a master that answered could not do it for now; none if it did not answer.
pub(super) fn reason(status: &Status) -> Option<String> {
    let answered = status.code() == Code::Unavailable && std::error::Error::source(status).is_none();
    answered.then(|| status.message().to_owned())
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::Unauthenticated => ClientError::Unauthenticated(message),
            Code::PermissionDenied => ClientError::PermissionDenied(message),
            Code::NotFound => ClientError::NoSuchJob(message),
            Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists => {
                ClientError::Invalid(message)
            }
            code => ClientError::Master { code, message },
        }
    }
}
