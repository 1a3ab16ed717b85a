//! One incarnation of a worker without anything of the world around it: stores and clock, the ways to masters, and the
//! processes it starts are handed in, by a process or by a simulation.

use std::{io, pin::Pin, sync::Arc};

use async_trait::async_trait;
use mapreduce_coordination::{Coordinator, records::Member};
use mapreduce_core::{Clock, FailureKind};
use mapreduce_rpc::{
    control::{MasterMessage, WorkerMessage},
    executor::{from_executor::Message as From, to_executor::Message as To},
};
use mapreduce_storage::Store;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::Stream;
use tonic::Status;

use crate::WorkerOptions;

pub use crate::{link::to_event, shell::serve};

/// How an incarnation ended.
#[derive(Debug)]
pub enum Ended {
    /// The worker was told to go, and nothing runs any more.
    Drained,
    /// Others took this process for dead.
    SessionLost,
}

/// What an incarnation lives on.
pub struct Means {
    /// What others are told of it; its incarnation was never used before.
    pub member: Member,
    /// How it is set up. URLs in it are for executors.
    pub options: WorkerOptions,
    /// Its connection, with its session.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where jobs are.
    pub store: Store,
    /// What it goes by in failures.
    pub clock: Arc<dyn Clock>,
    /// How it reaches masters.
    pub network: Arc<dyn Network>,
    /// How it starts executors.
    pub launcher: Arc<dyn Launcher>,
}

/// What a master says, until one of both ends it.
pub type FromMaster = Pin<Box<dyn Stream<Item = Result<MasterMessage, Status>> + Send>>;

/// The ways to masters.
#[async_trait]
pub trait Network: Send + Sync {
    /// Opens a stream to `master`. What comes out of `said` is what the worker has to say, in order, and its name first.
    async fn attend(
        &self,
        master: &Member,
        said: UnboundedReceiver<WorkerMessage>,
    ) -> Result<FromMaster, Status>;
}

/// Starts executors.
#[async_trait]
pub trait Launcher: Send + Sync {
    /// A process with this command line, which is ready. Dropping it kills it, and all that it has started.
    async fn launch(&self, options: &WorkerOptions, line: &[String]) -> Result<Box<dyn Process>, NotStarted>;
}

/// A warmed process of Python and whatever it has forked, or another executor.
#[async_trait]
pub trait Process: Send + Sync {
    /// Sends a message to the executor, or to the warmed process if there is none.
    async fn send(&mut self, message: To) -> io::Result<()>;
    /// The next message. Cancel safe.
    async fn receive(&mut self) -> io::Result<From>;
    /// How a process that does not answer any more ended; it is killed if it has not.
    async fn cause_of_death(&mut self) -> FailureKind;
}

/// Why there is no executor, and what a person is told of it.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct NotStarted {
    /// Whose fault it is.
    pub what: FailureKind,
    /// In a sentence.
    pub why: String,
}

impl NotStarted {
    /// No room for another process, or the kernel took it away for want of memory: the node's fault, not the program's.
    pub(crate) fn machine(why: String) -> NotStarted {
        NotStarted { what: FailureKind::Storage, why }
    }

    pub(crate) fn program(why: String) -> NotStarted {
        NotStarted { what: FailureKind::BadCode, why }
    }
}
