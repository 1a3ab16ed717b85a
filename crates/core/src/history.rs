//! The audit of a job: every attempt's launch and end, in the order in which its owners saw them. An owner
//! writes a launch *before* it sends the assignment, so the audit misses none; objects are named
//! `history/<epoch>-<sequence>`, so those of one owner are in order. A former owner that does not know yet that it is
//! one may go on writing under its own epoch: what its successors knew is what they say that they had read, and a launch
//! that they could not read was never sent ([`told`]).

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
        /// The last object of each earlier epoch that it had read before it read the markers; none if it read nothing
        /// before this was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read: Option<Vec<(Epoch, u64)>>,
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

/// The events of a whole history, which is in order. Launches that never were are left out: an owner that has written one
/// sends it only if the job is still its own *after* that, and the next owner has the job before it reads. So what that
/// did not find was not sent.
pub fn told(history: &[History]) -> impl Iterator<Item = &HistoryEvent> {
    let mut read_by: BTreeMap<Epoch, &[(Epoch, u64)]> = BTreeMap::new();
    for object in history {
        for event in &object.events {
            if let HistoryEvent::Owned { read: Some(read), .. } = event {
                read_by.insert(object.epoch, read);
            }
        }
    }
    history.iter().flat_map(move |object| {
        let next = read_by.range(object.epoch.next()..).next();
        let was_found = next.is_none_or(|(_, read)| {
            read.iter().any(|(epoch, last)| *epoch == object.epoch && object.sequence <= *last)
        });
        object.events.iter().filter(move |event| was_found || !matches!(event, HistoryEvent::Launched { .. }))
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Role, Stage};

    const TASK: TaskId = TaskId { stage: Stage::Map, index: 0 };

    fn launch(epoch: u64) -> HistoryEvent {
        let attempt = AttemptId { epoch: Epoch(epoch), number: 1 };
        HistoryEvent::Launched { task: TASK, attempt, worker: Incarnation::new(Role::Worker, 1), at_ms: 0 }
    }
    fn end(epoch: u64) -> HistoryEvent {
        let attempt = AttemptId { epoch: Epoch(epoch), number: 1 };
        HistoryEvent::Ended { task: TASK, attempt, end: AttemptEnd::Lost, at_ms: 0 }
    }
    fn owned(read: Option<&[(u64, u64)]>) -> HistoryEvent {
        let read = read.map(|read| read.iter().map(|(epoch, last)| (Epoch(*epoch), *last)).collect());
        HistoryEvent::Owned { owner: Incarnation::new(Role::Master, 1), read, at_ms: 0 }
    }
    fn by(epoch: u64, sequence: u64, events: &[HistoryEvent]) -> History {
        History { epoch: Epoch(epoch), sequence, events: events.to_vec() }
    }
    fn is_told(event: &HistoryEvent, history: &[History]) -> bool {
        told(history).any(|told| told == event)
    }

    #[test]
    fn a_launch_was_sent_if_the_next_owner_has_found_it() {
        let written = |sequence, next| [by(1, sequence, &[launch(1)]), by(2, 0, &[next, launch(2)])];
        for (sequence, read, sent) in [
            (0, Some(&[(1, 0)][..]), true),
            (3, Some(&[(1, 4)]), true),
            (4, Some(&[(1, 3)]), false),
            (0, Some(&[]), false),
            (0, None, true),
        ] {
            let history = written(sequence, owned(read));
            assert_eq!(is_told(&launch(1), &history), sent, "{sequence} {read:?}");
            assert!(is_told(&launch(2), &history), "there is no owner after this one");
        }
    }

    #[test]
    fn it_is_the_next_owner_that_counts_unless_that_has_said_nothing() {
        let last = by(3, 0, &[owned(Some(&[(1, 1), (2, 0)]))]);
        let unread = [by(1, 1, &[launch(1)]), by(2, 0, &[owned(Some(&[(1, 0)]))]), last.clone()];
        assert!(!is_told(&launch(1), &unread));
        let silent = [by(1, 1, &[launch(1)]), by(2, 0, &[owned(None)]), last];
        assert!(is_told(&launch(1), &silent));
    }

    #[test]
    fn what_a_former_owner_heard_late_is_told() {
        let history = [by(1, 0, &[launch(1)]), by(1, 1, &[end(1)]), by(2, 0, &[owned(Some(&[(1, 0)]))])];
        assert!(is_told(&launch(1), &history) && is_told(&end(1), &history));
    }
}
