//! What the world of the model consists of: the job's record, the objects in storage, processes, links between
//! them, and how many faults are left to happen. Everything is small, comparable and hashable.

use std::{collections::BTreeMap, ops::Range};

use mapreduce_core::{AttemptId, Epoch, Incarnation, JobId, JobPhase, JobRecord, Role, Stage, TaskId};

use super::{Faults, owner::Owner};

/// Masters of the model.
pub const N_MASTERS: usize = 2;
/// Workers of the model, of one slot each.
pub const N_WORKERS: usize = 2;
/// Map tasks of the model. There is one reduce task.
pub const N_MAPS: usize = 2;
/// All tasks: first the map tasks, then the reduce task.
pub const N_TASKS: usize = N_MAPS + 1;

/// The attempts that won the map tasks: the manifest of the map stage, and its own digest.
pub type MapManifest = [AttemptId; N_MAPS];

/// Where the tasks of a stage are among all tasks.
pub fn tasks_of(stage: Stage) -> Range<usize> {
    match stage {
        Stage::Map => 0..N_MAPS,
        Stage::Reduce => N_MAPS..N_TASKS,
    }
}

/// The stage of a task.
pub fn stage_of(task: usize) -> Stage {
    if task < N_MAPS { Stage::Map } else { Stage::Reduce }
}

/// The id of a task.
pub fn task_id(task: usize) -> TaskId {
    let stage = stage_of(task);
    TaskId { stage, index: (task - tasks_of(stage).start) as u32 }
}

/// An incarnation: the `nth` life at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// Which of the masters, or of the workers.
    pub at: u8,
    /// Counts the lives there.
    pub nth: u8,
}

/// `/jobs/<id>`. Epochs and phases only grow, so no value ever comes back: "the version is what I expect" and
/// "the value is what I expect" are the same condition, and the model does without versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// The master that carries the job on.
    pub owner: Life,
    /// Grows with every change of owner.
    pub epoch: Epoch,
    /// Where the job stands.
    pub phase: JobPhase,
    /// Somebody wants it cancelled.
    pub cancel: bool,
}

impl Record {
    /// The record as the code has it.
    pub fn to_core(self) -> JobRecord {
        let random = u64::from(self.owner.at) << 8 | u64::from(self.owner.nth);
        JobRecord {
            job: JobId(1),
            user: String::new(),
            owner: Some(Incarnation::new(Role::Master, random)),
            epoch: self.epoch,
            phase: self.phase,
            cancel: self.cancel,
            requested_n_workers: None,
            submitted_at_ms: 0,
        }
    }
}

/// A commit marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Marker {
    /// Who won.
    pub attempt: AttemptId,
    /// For the reduce task: the manifest it read.
    pub input: Option<MapManifest>,
}

/// The object `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobOutcome {
    /// With the reduce attempt that `manifest/reduce` names.
    Succeeded(AttemptId),
    /// Something that had to be in storage was missing.
    Failed,
}

/// What an audit line says. Only what the invariants speak of is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audited {
    /// Handed to a worker.
    Launched,
    /// Known to have won.
    Committed,
}

/// One line of the audit of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuditLine {
    /// The owner that wrote it.
    pub epoch: Epoch,
    /// The last owner that has read the history, and not this line.
    pub unread_by: Option<Epoch>,
    /// What it saw.
    pub what: Audited,
    /// Of which attempt.
    pub attempt: AttemptId,
}

/// The job's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Store {
    /// `commits/…`
    pub markers: [Option<Marker>; N_TASKS],
    /// `attempts/…`, tagged with whose it is and, for the reduce task, what it was made from.
    pub data: BTreeMap<(usize, AttemptId), Option<MapManifest>>,
    /// `manifest/map`
    pub map_manifest: Option<MapManifest>,
    /// `manifest/reduce`
    pub reduce_manifest: Option<AttemptId>,
    /// `result`
    pub result: Option<JobOutcome>,
    /// `history/…`, by task and in the order of epochs: how lines of different tasks interleave tells nothing.
    pub history: [Vec<AuditLine>; N_TASKS],
    /// The owner that has read it last.
    pub history_reader: Option<Epoch>,
}

/// A write that its sender gave up waiting for. It may arrive at any later time, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Late {
    /// The create of a marker.
    Marker(usize, Marker),
    /// The create of the map stage's manifest.
    MapManifest(MapManifest),
    /// The create of the reduce stage's manifest.
    ReduceManifest(AttemptId),
    /// The create of the result.
    Result(JobOutcome),
    /// A compare-and-set of the record: what it expects, and what it puts there.
    Record(Record, Record),
}

/// A master process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Master {
    /// Its incarnation.
    pub life: Life,
    /// Its ephemeral entry is there. One that lives on without it is a zombie.
    pub is_registered: bool,
    /// The list of masters it read, if it reads them before the record ([`Bug::MembersReadFirst`](super::Bug)).
    pub seen: Option<[Option<Life>; N_MASTERS]>,
    /// It does not know yet whether it has taken the job.
    pub doubts_take: bool,
    /// Its ownership, as far as it knows.
    pub owner: Option<Owner>,
}

/// How an attempt ended, as its worker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its marker is durable.
    Committed,
    /// Another's was first.
    Superseded,
    /// It ended without knowing of a marker, or never began.
    Nothing,
}

/// How far an executor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Executing {
    /// It has not looked at storage yet.
    Begun,
    /// Its data is durable.
    Written,
    /// It sent its marker and does not know what became of it.
    Unsure,
    /// It has ended; the report has not been sent.
    Done(Outcome),
}

/// The one slot of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Nobody's.
    Free,
    /// This master decides over it.
    Offered(usize),
    /// An attempt runs in it.
    Running(usize, AttemptId, Executing),
}

/// A worker process with its executor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Its incarnation.
    pub life: Life,
    /// Its ephemeral entry is there. One that lives on without it is a zombie.
    pub is_registered: bool,
    /// The highest epoch it has seen and the master that spoke at it.
    pub recognised: Option<(Epoch, Life)>,
    /// Its slot.
    pub slot: Slot,
}

/// From a master to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// What runs there for the job?
    Query(Epoch),
    /// Run this.
    Assign(Epoch, usize, AttemptId),
    /// Nothing for the slot that was offered.
    Decline,
}

/// From a worker to a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum News {
    /// What runs, asked for at this epoch.
    Answer(Epoch, Option<(usize, AttemptId)>),
    /// An attempt ended.
    Report(usize, AttemptId, Outcome),
}

/// A stream between a master and a worker: in order, and lost with whatever is in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// Whether it is open.
    pub is_open: bool,
    /// On their way to the worker.
    pub orders: Vec<Order>,
    /// On their way to the master.
    pub news: Vec<News>,
}

/// The whole world at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The job's record.
    pub record: Record,
    /// The job's objects.
    pub store: Store,
    /// The job has ended and its objects were deleted.
    pub is_cleared: bool,
    /// Writes that may still arrive.
    pub late: Vec<Late>,
    /// The masters that live.
    pub masters: [Option<Master>; N_MASTERS],
    /// The workers that live.
    pub workers: [Option<Worker>; N_WORKERS],
    /// How many lives the places of masters and of workers have seen.
    pub lives: ([u8; N_MASTERS], [u8; N_WORKERS]),
    /// By master and worker.
    pub links: [[Link; N_WORKERS]; N_MASTERS],
    /// What may still go wrong.
    pub left: Faults,
    /// The invariant that the last step broke.
    pub broken: Option<&'static str>,
}

impl State {
    /// A job was just submitted to the first master.
    pub fn initial(faults: Faults) -> State {
        let life = |at: usize| Life { at: at as u8, nth: 1 };
        let record = Record { owner: life(0), epoch: Epoch(1), phase: JobPhase::Map, cancel: false };
        let master = |at| Some(Master::new(life(at)));
        let mut masters = std::array::from_fn(master);
        if let Some(first) = &mut masters[0] {
            first.owner = Some(Owner::of_new_job(record));
        }
        let open = || Link { is_open: true, orders: Vec::new(), news: Vec::new() };
        State {
            record,
            store: Store::default(),
            is_cleared: false,
            late: Vec::new(),
            masters,
            workers: std::array::from_fn(|at| Some(Worker::new(life(at)))),
            lives: ([1; N_MASTERS], [1; N_WORKERS]),
            links: std::array::from_fn(|_| std::array::from_fn(|_| open())),
            left: faults,
            broken: None,
        }
    }

    /// Notes a broken invariant; the first one counts.
    pub fn breaks(&mut self, invariant: &'static str) {
        self.broken.get_or_insert(invariant);
    }

    /// The registered masters.
    pub fn registered_masters(&self) -> [Option<Life>; N_MASTERS] {
        std::array::from_fn(|m| self.masters[m].as_ref().filter(|m| m.is_registered).map(|m| m.life))
    }

    /// The ownership that a master believes in.
    pub fn owner(&self, m: usize) -> Option<&Owner> {
        self.masters[m].as_ref()?.owner.as_ref()
    }

    /// The same, to change it.
    pub fn owner_mut(&mut self, m: usize) -> Option<&mut Owner> {
        self.masters[m].as_mut()?.owner.as_mut()
    }

    /// What the master's owner says about the task is what storage says.
    pub fn winner(&self, task: usize) -> Option<AttemptId> {
        self.store.markers[task].map(|marker| marker.attempt)
    }

    /// The link is gone, and what was in it; the worker has a slot back that was offered over it.
    pub fn close(&mut self, m: usize, w: usize) {
        self.links[m][w] = Link { is_open: false, orders: Vec::new(), news: Vec::new() };
        if let Some(worker) = &mut self.workers[w]
            && worker.slot == Slot::Offered(m)
        {
            worker.slot = Slot::Free;
        }
    }
}

impl Master {
    /// One that just started.
    pub fn new(life: Life) -> Master {
        Master { life, is_registered: true, seen: None, doubts_take: false, owner: None }
    }
}

impl Worker {
    /// One that just started.
    pub fn new(life: Life) -> Worker {
        Worker { life, is_registered: true, recognised: None, slot: Slot::Free }
    }
}
