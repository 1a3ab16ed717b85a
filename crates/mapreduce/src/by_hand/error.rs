//! What can go wrong between machines that are to be a cluster, named by what the caller must do next.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use mapreduce_coordination::{CoordinationError, records::RecordError, users::UserError};
use mapreduce_core::ClusterId;
use mapreduce_identity::{CertificateError, IdentityError, TokenError};

use crate::BadDirectory;

/// Why a cluster can't be made or joined.
#[derive(Debug, thiserror::Error)]
pub enum ByHandError {
    /// The directory has a cluster's files already.
    #[error(
        "{} is a part of a cluster already, since it holds {}: give another directory, or remove that one",
        directory.display(), file.display()
    )]
    Taken {
        /// The directory.
        directory: PathBuf,
        /// What shows it.
        file: PathBuf,
    },
    /// Coordination has a cluster already.
    #[error("coordination {coordination} belongs to {cluster} already: join it, or give another path")]
    Exists {
        /// Where.
        coordination: String,
        /// Which.
        cluster: ClusterId,
    },
    /// Everybody knows it.
    #[error("the password may not be {0:?}, which everybody knows: set MAPREDUCE_PASSWORD to another")]
    DefaultPassword(&'static str),
    /// There is nobody to be asked.
    #[error(
        "the cluster in {} has no certificates, so nobody can join it: make one by `mapreduce cluster init`",
        directory.display()
    )]
    NoCertificates {
        /// The cluster's directory.
        directory: PathBuf,
    },
    /// Only a machine that may be a master can make others masters.
    #[error(
        "{} has no ca.key, and so can't let anybody be a master: do this where `mapreduce cluster init` was done, or on \
         another master's machine", directory.display()
    )]
    NoAuthority {
        /// The machine's directory.
        directory: PathBuf,
    },
    /// A token names where to go.
    #[error("no master of the cluster at {coordination} is alive to let anybody join: start one first")]
    NoMaster {
        /// The cluster's coordination.
        coordination: String,
    },
    /// The masters that the token names can't be reached.
    #[error("no master of {cluster} answered within {:.1} s: {tried}", waited.as_secs_f64())]
    Unreachable {
        /// The cluster.
        cluster: ClusterId,
        /// For how long they were tried.
        waited: Duration,
        /// Each, with what happened.
        tried: String,
    },
    /// A master said no.
    #[error("the master at {address} did not let this machine join: {why}")]
    Refused {
        /// Where it listens.
        address: String,
        /// Its words.
        why: String,
    },
    /// A file or directory can't be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The machine's directory can't be read.
    #[error(transparent)]
    Directory(#[from] BadDirectory),
    /// No certificate can be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The stores are not of one cluster.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is no token, or can't be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The first admin can't be made.
    #[error(transparent)]
    Users(#[from] UserError),
    /// Coordination can't be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<CoordinationError> for ByHandError {
    fn from(error: CoordinationError) -> Self {
        ByHandError::Record(error.into())
    }
}

/// For `map_err`: an error of the operating system, with what it is about.
pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ByHandError {
    move |source| ByHandError::Io { path: path.to_owned(), source }
}
