//! What every part of one incarnation of a master shares.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mapreduce_coordination::{Coordinator, Version};
use mapreduce_core::{Clock, Incarnation, JobId, JobRecord};
use mapreduce_storage::Store;
use tokio::sync::mpsc::UnboundedSender;
use tonic::Status;

use crate::scheduler::Event;

/// The stores, and who this is.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) me: Incarnation,
    pub(crate) coordinator: Arc<dyn Coordinator>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Duration,
    pub(crate) inputs: UnboundedSender<Input>,
    pub(crate) streams: Arc<AtomicU64>,
}

impl Context {
    /// Tells the shell. Fails only when this incarnation is ending, and then it does not matter.
    pub(crate) fn tell(&self, input: Input) {
        let _ = self.inputs.send(input);
    }

    /// A name for a stream that this incarnation has not used.
    pub(crate) fn next_stream(&self) -> StreamId {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }
}

/// A stream to a worker. Worker and stream: a worker may open a second one before the first is known to be dead.
pub(crate) type StreamId = u64;

/// What comes in to the shell. The channel is unbounded; it holds at most a few messages for each slot of each
/// worker (a worker waits for an answer before it speaks again) and each job.
pub(crate) enum Input {
    Scheduler(Event),
    /// A worker opened a stream; this is where to write.
    Attached {
        worker: Incarnation,
        n_slots: u32,
        stream: StreamId,
        sender: UnboundedSender<Result<mapreduce_rpc::control::MasterMessage, Status>>,
    },
    /// It closed.
    Detached {
        worker: Incarnation,
        stream: StreamId,
    },
    /// The workers that are registered.
    Registered(Vec<Incarnation>),
    /// This master owns a job.
    Taken {
        record: JobRecord,
        version: Version,
        is_new: bool,
    },
    /// Another master owns it, or it has ended, as coordination shows.
    Lost(JobId),
}
