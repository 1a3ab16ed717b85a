//! What can go wrong with a local cluster, named by what the caller must do next.

use std::{io, path::PathBuf};

use mapreduce_core::Incarnation;

use crate::{BadDirectory, ClientError, home::HomeError};

/// Why a local cluster can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A number that can't be.
    #[error("{name} must be between {min} and {max}, not {value}")]
    OutOfRange {
        /// Which.
        name: &'static str,
        /// What was given.
        value: u64,
        /// The least that works.
        min: u64,
        /// The most that works.
        max: u64,
    },
    /// A temporary directory would be gone, and what is elsewhere not.
    #[error(
        "coordination or storage that is elsewhere outlives a temporary directory: give a directory, too"
    )]
    NoDirectory,
    /// The directory can't be used.
    #[error(transparent)]
    Directory(#[from] BadDirectory),
    /// The person's home can't be found or used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// No cluster runs there.
    #[error("no cluster runs in {directory}: start one", directory = directory.display())]
    NotRunning {
        /// The directory.
        directory: PathBuf,
    },
    /// The program can't be run.
    #[error("can't run {program}: {source}; is the package installed as a whole?", program = program.display())]
    Program {
        /// The `mapreduce` program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The keeper said no; its words.
    #[error("{0}")]
    Keeper(String),
    /// What the cluster had in stores elsewhere is still there, or some of it.
    #[error(
        "the cluster has ended, but not all of its jobs could be removed from {coordination} and {storage}: {why}"
    )]
    Left {
        /// Where its jobs are known.
        coordination: String,
        /// Where their data is.
        storage: String,
        /// What happened.
        why: String,
    },
    /// A master or worker did not live to register.
    #[error("process {pid} ended before it was ready ({how}); its log ends with:\n{log_tail}")]
    EndedEarly {
        /// Its id.
        pid: u32,
        /// Its exit status, in words.
        how: String,
        /// The last lines of its log.
        log_tail: String,
    },
    /// Nobody has this id now.
    #[error("no living master or worker has the id {id}; living: {}", list(living))]
    UnknownId {
        /// What was given.
        id: Incarnation,
        /// Who lives.
        living: Vec<Incarnation>,
    },
    /// A process could not be signalled or waited for, or the keeper not be spoken to.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why it did not work.
        source: io::Error,
    },
    /// The cluster's records can't be read.
    #[error(transparent)]
    Client(#[from] ClientError),
}

fn list(ids: &[Incarnation]) -> String {
    if ids.is_empty() {
        return "nobody".to_owned();
    }
    ids.iter().map(Incarnation::as_str).collect::<Vec<_>>().join(", ")
}

/// For `map_err`: an error of the operating system, with what was tried.
pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> ClusterError {
    move |source| ClusterError::System { what: what.into(), source }
}
