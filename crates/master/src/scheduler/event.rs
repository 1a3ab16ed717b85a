//! What the scheduler is told, and what it asks for.

use std::collections::BTreeMap;

use mapreduce_core::{
    AttemptId, CodeRef, Epoch, Failure, HistoryEvent, Incarnation, JobId, JobPhase, OutputDescription, Plan,
    Settings, Stage, TaskId,
};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A worker opened its stream.
    Attached {
        /// Which.
        worker: Incarnation,
        /// How many slots it owns.
        n_slots: u32,
    },
    /// A worker's stream closed, or its session ended.
    Detached {
        /// Which.
        worker: Incarnation,
    },
    /// The workers that coordination knows to be alive; they attach sooner or later.
    Registered {
        /// All of them.
        workers: Vec<Incarnation>,
    },
    /// A worker has a place for this master.
    Offered {
        /// Whose.
        worker: Incarnation,
        /// In which slot.
        slot: u32,
        /// Behind the attempt that runs there, instead of the slot itself.
        ahead: bool,
    },
    /// A worker's answer to [`Action::Query`].
    Answered {
        /// Whose.
        worker: Incarnation,
        /// About which job.
        job: JobId,
        /// The epoch of the question.
        epoch: Epoch,
        /// What runs there.
        attempts: Vec<(TaskId, AttemptId)>,
    },
    /// An attempt ended.
    Reported {
        /// Where.
        worker: Incarnation,
        /// Its job.
        job: JobId,
        /// Its task.
        task: TaskId,
        /// Which attempt.
        attempt: AttemptId,
        /// How.
        outcome: Outcome,
    },
    /// This master owns the job from now on.
    Taken {
        /// Which.
        job: JobId,
        /// At which epoch.
        epoch: Epoch,
        /// Just submitted, here: nothing of it can run anywhere.
        is_new: bool,
    },
    /// A new owner has waited long enough for workers that don't answer.
    PatienceOver {
        /// Which job.
        job: JobId,
        /// At which epoch.
        epoch: Epoch,
    },
    /// The job's durable state, as [`Action::Load`] asked for.
    Loaded {
        /// Which job.
        job: JobId,
        /// At which epoch.
        epoch: Epoch,
        /// What storage holds.
        loaded: JobLoaded,
    },
    /// The answer to [`Action::ReadMarker`].
    MarkerRead {
        /// Which job.
        job: JobId,
        /// At which epoch.
        epoch: Epoch,
        /// Which task.
        task: TaskId,
        /// The attempt that the marker names, if there is one.
        winner: Option<AttemptId>,
        /// The failures of the task that are in storage.
        failures: Vec<Failure>,
        /// What the action asked after.
        lost: Vec<AttemptId>,
    },
    /// The pause that [`Action::RetryLater`] asked for is over.
    Retry {
        /// Which job.
        job: JobId,
        /// At which epoch.
        epoch: Epoch,
        /// Which task.
        task: TaskId,
    },
    /// The manifest that [`Action::Seal`] asked for is written, and so is the job's new phase.
    Sealed {
        /// Which job.
        job: JobId,
        /// At which epoch.
        epoch: Epoch,
    },
    /// Somebody asked for the job to be cancelled.
    CancelWanted {
        /// Which.
        job: JobId,
    },
    /// The job has ended, or another master owns it.
    Gone {
        /// Which.
        job: JobId,
        /// The epoch at which it was owned.
        epoch: Epoch,
    },
}

/// How an attempt ended, as its worker says.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Its marker is durable.
    Committed,
    /// Another attempt's marker was there first.
    Superseded,
    /// It failed; the record is durable.
    Failed(Box<Failure>),
    /// The worker stopped it.
    Stopped,
    /// It never started.
    Refused,
    /// It never started, and can be launched elsewhere at once.
    Returned,
}

/// What storage holds of a job, read after the workers have answered.
#[derive(Debug, Clone)]
pub struct JobLoaded {
    /// Where the job stands.
    pub phase: JobPhase,
    /// Its tasks.
    pub plan: Plan,
    /// Who submitted it.
    pub user: String,
    /// What to run.
    pub code: CodeRef,
    /// Where the results go, if not to the client.
    pub output: Option<OutputDescription>,
    /// How to run it.
    pub settings: Settings,
    /// The winner of every task of the running stage that has a marker.
    pub winners: BTreeMap<TaskId, AttemptId>,
    /// Every failure of the running stage, in order.
    pub failures: BTreeMap<TaskId, Vec<Failure>>,
    /// Launches of the running stage that the history holds without an end.
    pub open: Vec<(TaskId, AttemptId)>,
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// Every reduce task is committed.
    Succeeded,
    /// A task failed for good.
    Failed(Box<Failure>),
    /// Somebody cancelled it.
    Cancelled,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Tell a worker that offers are welcome.
    Invite {
        /// Whom.
        worker: Incarnation,
    },
    /// Nothing for the offered place.
    Decline {
        /// Whose.
        worker: Incarnation,
        /// Which.
        slot: u32,
        /// As it was offered.
        ahead: bool,
    },
    /// Put the launch into the history, then assign the attempt to the offered place.
    Launch {
        /// Whose.
        worker: Incarnation,
        /// Which.
        slot: u32,
        /// The job.
        job: JobId,
        /// The owner's epoch.
        epoch: Epoch,
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptId,
        /// Who submitted the job.
        user: String,
        /// The user's code.
        code: CodeRef,
        /// Longest time it may take.
        timeout_ms: Option<u64>,
        /// Whether the place behind it is welcome, too.
        more: bool,
        /// When it was decided.
        at_ms: u64,
    },
    /// Ask a worker what it runs for the job.
    Query {
        /// Whom.
        worker: Incarnation,
        /// About what.
        job: JobId,
        /// The owner's epoch.
        epoch: Epoch,
    },
    /// Tell a worker that a job it served has ended.
    Dismiss {
        /// Whom.
        worker: Incarnation,
        /// The job.
        job: JobId,
    },
    /// Stop attempts on a worker.
    Stop {
        /// Whom to tell.
        worker: Incarnation,
        /// The job.
        job: JobId,
        /// Which attempts.
        attempts: Vec<(TaskId, AttemptId)>,
    },
    /// Ask for those attempts back that have not begun.
    Recall {
        /// Whom to ask.
        worker: Incarnation,
        /// The job.
        job: JobId,
        /// Which attempts.
        attempts: Vec<(TaskId, AttemptId)>,
    },
    /// Add an event to the job's history.
    Record {
        /// The job.
        job: JobId,
        /// What happened.
        event: HistoryEvent,
    },
    /// Read the job's durable state and answer [`Event::Loaded`].
    Load {
        /// Which.
        job: JobId,
    },
    /// Say [`Event::PatienceOver`] after a lease.
    BePatient {
        /// Which.
        job: JobId,
    },
    /// Read a task's marker and its failures, and answer [`Event::MarkerRead`].
    ReadMarker {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Attempts whose worker was lost before it said how they ended: the answer is about them, too.
        lost: Vec<AttemptId>,
    },
    /// Say [`Event::Retry`] after a pause: the node or the store is in trouble, not the task.
    RetryLater {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
    },
    /// Write the stage's manifest and the job's next phase, and answer [`Event::Sealed`].
    Seal {
        /// The job.
        job: JobId,
        /// The stage of which every task is committed.
        stage: Stage,
    },
    /// Write the result and the terminal record, and answer [`Event::Gone`].
    End {
        /// The job.
        job: JobId,
        /// How.
        ending: Ending,
    },
}
