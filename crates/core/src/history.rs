//! The audit of a job: every attempt's launch and end, in the order in which its owners saw them. An owner
//! writes a launch *before* it sends the assignment, so the audit misses none; objects are named
//! `history/<epoch>-<sequence>`, so those of one owner are in order. A former owner that does not know yet that it is
//! one may go on writing under its own epoch: what its successors knew is what they say that they had read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{AttemptId, Epoch, Incarnation, Persisted, TaskId};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// Its marker won: the task is finished.
    Committed,
    /// Another attempt's marker was there first; its data was deleted.
    Superseded,
    /// It failed; `failures/` says how.
    Failed,
    /// Its worker or the connection to it was lost before it reported. Not a failure.
    Lost,
    /// The owner stopped it: the job was cancelled or has failed, or its worker was told to go.
    Stopped,
}

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum HistoryEvent {
    /// A master became the job's owner.
    Owned {
        /// The new owner.
        owner: Incarnation,
        /// The last object of each earlier epoch that it had read before it read the markers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        read: Vec<(Epoch, u64)>,
        /// In milliseconds since 1970.
        at_ms: u64,
    },
    /// An attempt was handed to a worker.
    Launched {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptId,
        /// Where it runs.
        worker: Incarnation,
        /// In milliseconds since 1970.
        at_ms: u64,
    },
    /// A new owner took over a running attempt of an old one's.
    Adopted {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptId,
        /// Where it runs.
        worker: Incarnation,
        /// In milliseconds since 1970.
        at_ms: u64,
    },
    /// The owner learned that an attempt ended.
    Ended {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: AttemptId,
        /// How.
        end: AttemptEnd,
        /// In milliseconds since 1970.
        at_ms: u64,
    },
}

/// One history object: what an owner learned since its last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The writer's epoch.
    pub epoch: Epoch,
    /// Counts the writer's objects, from 0.
    pub sequence: u64,
    /// In order.
    pub events: Vec<HistoryEvent>,
}

impl Persisted for History {
    const KIND: &'static str = "history";
    const VERSION: u32 = 1;
}

/// What a history tells, folded as it is read: object by object, in their order, so that nobody has to hold all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Attempts that were launched or adopted and have no end.
    pub open: BTreeSet<(TaskId, AttemptId)>,
    /// The attempts of which an owner knew that they had committed.
    pub committed: BTreeMap<TaskId, AttemptId>,
    /// The last object of each epoch.
    pub last: BTreeMap<Epoch, u64>,
}

impl Audit {
    /// Takes in the next object.
    pub fn read(&mut self, history: &History) {
        self.last.insert(history.epoch, history.sequence);
        for event in &history.events {
            match event {
                HistoryEvent::Launched { task, attempt, .. }
                | HistoryEvent::Adopted { task, attempt, .. } => {
                    self.open.insert((*task, *attempt));
                }
                HistoryEvent::Ended { task, attempt, end, .. } => {
                    self.open.remove(&(*task, *attempt));
                    if *end == AttemptEnd::Committed {
                        self.committed.insert(*task, *attempt);
                    }
                }
                HistoryEvent::Owned { .. } => {}
            }
        }
    }
}

impl<'a> FromIterator<&'a History> for Audit {
    fn from_iter<I: IntoIterator<Item = &'a History>>(history: I) -> Audit {
        let mut audit = Audit::default();
        history.into_iter().for_each(|object| audit.read(object));
        audit
    }
}
