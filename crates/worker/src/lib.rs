//! The worker: it owns slots, offers them to masters, starts and kills executors, and reports. It decides
//! nothing about jobs, and it never depends on the master's code.
//!
//! [`agent`] is the pure heart; around it, a loop feeds it events and does what it asks for. [`run`] is a process;
//! [`incarnation`] is what is left of it without sockets, processes and the machine's clock, so that a simulation runs
//! the same.

pub mod agent;
mod executor;
mod executors;
pub mod incarnation;
mod link;
mod memory;
mod obituary;
mod process;
mod program;
mod shell;
mod slot;

use std::{io, path::PathBuf, pin::pin, time::Duration};

use mapreduce_coordination::{CoordinationError, records::RecordError};
use mapreduce_core::{Incarnation, Secret};
use mapreduce_identity::IdentityError;
use mapreduce_storage::StorageError;
use tokio::time::sleep;
use tokio_stream::{Stream, StreamExt};

pub use executors::EXECUTOR_ARGUMENT;
use incarnation::Ended;

/// What a worker needs to know.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// URL of the coordination store.
    pub coordination: String,
    /// URL of the storage.
    pub storage: String,
    /// What the worker shows to masters.
    pub cluster_key: Secret,
    /// The certificate, in PEM, of the authority by which it knows masters, if it was told before; none: the one that
    /// coordination names.
    pub ca: Option<String>,
    /// Tasks at one time.
    pub n_slots: u32,
    /// The command line of a slot's warmed process of Python; none: this worker runs no Python.
    pub python: Option<Vec<String>>,
    /// The command line of the executor for jobs of shell commands.
    pub commands: Vec<String>,
    /// Most memory one executor may take, in bytes; none: a share of the machine's.
    pub memory_bytes_max: Option<u64>,
    /// Tasks that all workers on this machine run at one time: they share its memory and its cores. See
    /// [`machine_slots`].
    pub machine_slots: u32,
    /// A directory on a local disk for what does not fit into memory; made if absent.
    pub scratch: PathBuf,
    /// How long running tasks may go on after the worker was told to go.
    pub grace: Duration,
    /// How long the worker may be silent before it is taken for dead.
    pub lease: Duration,
}

/// How many tasks run at one time on a machine of which only one worker's slots are known: there may be more workers,
/// but hardly more tasks than cores.
pub fn machine_slots(n_slots: u32) -> u32 {
    n_slots.max(u32::try_from(memory::cores()).unwrap_or(u32::MAX))
}

/// Why a worker can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The coordination store can't be used.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
    /// A record in it can't be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The storage can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The two are not of one cluster, or that can't be told.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The warmed process does not start.
    #[error("the executor does not start: {0}; is mapreduce installed for that Python?")]
    Executor(String),
    /// A master does not want it, and none ever has.
    #[error("{master} at {address} does not let this worker in: {why}")]
    Refused {
        /// The master.
        master: Incarnation,
        /// Where it listens.
        address: String,
        /// Its words.
        why: String,
    },
    /// The system refuses something basic.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl WorkerError {
    /// Whether the session was lost before the incarnation had begun.
    fn is_session_lost(&self) -> bool {
        match self {
            WorkerError::Coordination(CoordinationError::SessionLost)
            | WorkerError::Record(RecordError::Coordination(CoordinationError::SessionLost)) => true,
            WorkerError::Identity(error) => error.is_session_lost(),
            _ => false,
        }
    }

    /// Whether a store could not be used, which may be otherwise later.
    fn may_pass(&self) -> bool {
        match self {
            WorkerError::Coordination(_)
            | WorkerError::Record(RecordError::Coordination(_))
            | WorkerError::Storage(_) => true,
            WorkerError::Identity(error) => error.may_pass(),
            _ => false,
        }
    }
}

/// Between two tries to begin another incarnation.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs a worker until it is asked to go, by an item of `asked`, and its tasks have ended, or their grace is over, or it is
/// asked again. What it stops is no failure, and runs elsewhere. A worker whose session ended (it was stopped for longer
/// than its lease) kills its executors and starts a new incarnation. Stores that can't be used end it at the start only:
/// later, when it is known that nothing is wrong with what it was told, it waits for them.
pub async fn run(options: WorkerOptions, asked: impl Stream<Item = ()>) -> Result<(), WorkerError> {
    let mut asked = pin!(asked);
    let mut has_lived = false;
    loop {
        match process::live(&options, asked.as_mut()).await {
            Ok(Ended::Drained) => return Ok(()),
            Ok(Ended::SessionLost) => {}
            Err(error) if error.is_session_lost() => {}
            Err(error) if has_lived && error.may_pass() => {
                tracing::warn!("a new incarnation can't begin yet, trying again in {RETRY_PAUSE:?}: {error}");
                tokio::select! {
                    Some(()) = asked.next() => return Ok(()),
                    () = sleep(RETRY_PAUSE) => continue,
                }
            }
            Err(error) => return Err(error),
        }
        has_lived = true;
        tracing::warn!("the session was lost; starting a new incarnation");
    }
}
