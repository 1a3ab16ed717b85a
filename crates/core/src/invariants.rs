//! The invariants of the protocol that can be checked on data, each defined once. Tests, simulation and
//! debug builds call these same functions.

use std::collections::{BTreeMap, BTreeSet};

use crate::{AttemptEnd, AttemptId, HistoryEvent, JobRecord, TaskId};

/// A broken invariant, with what broke it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} is broken: {why}")]
pub struct Violation {
    /// Its number in the design, such as `I9`.
    pub invariant: &'static str,
    /// What was seen.
    pub why: String,
}

fn violation(invariant: &'static str, why: String) -> Result<(), Violation> {
    Err(Violation { invariant, why })
}

/// I2 and I10: `new` may follow `old` in `/jobs/<id>`.
pub fn job_record_step(old: &JobRecord, new: &JobRecord) -> Result<(), Violation> {
    if old.phase.is_terminal() {
        return violation("I10", format!("{} was {} and changed again", old.job, old.phase.name()));
    }
    let owner_changed = new.owner != old.owner && new.owner.is_some();
    if new.epoch < old.epoch || (owner_changed && new.epoch != old.epoch.next()) {
        return violation("I2", format!("{} went from epoch {} to {}", old.job, old.epoch, new.epoch));
    }
    if !owner_changed && new.epoch != old.epoch {
        return violation("I2", format!("{} changed its epoch without changing its owner", old.job));
    }
    Ok(())
}

/// I1, I5 and I9 over a whole history, in order: no attempt id twice, at most one commit a task, and no
/// launch after the owner knew of the commit.
pub fn history<'a>(events: impl IntoIterator<Item = &'a HistoryEvent>) -> Result<(), Violation> {
    let mut launched: BTreeSet<(TaskId, AttemptId)> = BTreeSet::new();
    let mut committed: BTreeMap<TaskId, AttemptId> = BTreeMap::new();
    for event in events {
        match event {
            HistoryEvent::Launched { task, attempt, .. } => {
                if let Some(winner) = committed.get(task) {
                    let why = format!("{task} attempt {attempt} was launched after {winner} had committed");
                    return violation("I9", why);
                }
                if !launched.insert((*task, *attempt)) {
                    return violation("I1", format!("{task} attempt {attempt} was launched twice"));
                }
            }
            HistoryEvent::Ended { task, attempt, end: AttemptEnd::Committed, .. } => {
                let winner = *committed.entry(*task).or_insert(*attempt);
                if winner != *attempt {
                    return violation("I5", format!("{task} was committed by {winner} and by {attempt}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Incarnation, JobId, JobPhase, Role, Stage};

    const TASK: TaskId = TaskId { stage: Stage::Map, index: 3 };

    fn attempt(number: u32) -> AttemptId {
        AttemptId { epoch: Epoch(1), number }
    }
    fn launch(number: u32) -> HistoryEvent {
        let worker = Incarnation::new(Role::Worker, 1);
        HistoryEvent::Launched { task: TASK, attempt: attempt(number), worker, at_ms: 0 }
    }
    fn commit(number: u32) -> HistoryEvent {
        HistoryEvent::Ended { task: TASK, attempt: attempt(number), end: AttemptEnd::Committed, at_ms: 0 }
    }
    fn record(owner: u64, epoch: u64, phase: JobPhase) -> JobRecord {
        JobRecord {
            job: JobId(1),
            user: "admin".into(),
            owner: Some(Incarnation::new(Role::Master, owner)),
            epoch: Epoch(epoch),
            phase,
            cancel: false,
            requested_n_workers: None,
            submitted_at_ms: 0,
        }
    }

    #[test]
    fn a_launch_after_a_commit_breaks_i9() {
        assert_eq!(history(&[launch(1), launch(2), commit(2)]), Ok(()));
        assert_eq!(history(&[launch(1), commit(1), launch(2)]).unwrap_err().invariant, "I9");
    }

    #[test]
    fn an_attempt_id_used_twice_breaks_i1_and_two_commits_break_i5() {
        assert_eq!(history(&[launch(1), launch(1)]).unwrap_err().invariant, "I1");
        assert_eq!(history(&[launch(1), launch(2), commit(1), commit(2)]).unwrap_err().invariant, "I5");
    }

    #[test]
    fn owners_change_with_the_epoch_and_the_end_is_the_end() {
        let mapping = record(1, 1, JobPhase::Map);
        assert_eq!(job_record_step(&mapping, &record(2, 2, JobPhase::Map)), Ok(()));
        assert_eq!(job_record_step(&mapping, &record(2, 1, JobPhase::Map)).unwrap_err().invariant, "I2");
        assert_eq!(job_record_step(&mapping, &record(1, 2, JobPhase::Map)).unwrap_err().invariant, "I2");
        let ended = record(1, 1, JobPhase::Succeeded);
        assert_eq!(job_record_step(&ended, &record(1, 1, JobPhase::Failed)).unwrap_err().invariant, "I10");
    }
}
