//! The invariants of the protocol that can be checked on data, each defined once. Tests, simulation and
//! debug builds call these same functions.

use std::collections::{BTreeMap, BTreeSet};

use crate::{AttemptEnd, AttemptId, Epoch, History, HistoryEvent, JobRecord, TaskId};

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
    let follows = new.epoch > old.epoch && new.epoch == old.epoch.next();
    if new.epoch < old.epoch || (owner_changed && !follows) {
        return violation("I2", format!("{} went from epoch {} to {}", old.job, old.epoch, new.epoch));
    }
    if !owner_changed && new.epoch != old.epoch {
        return violation("I2", format!("{} changed its epoch without changing its owner", old.job));
    }
    Ok(())
}

/// I1, I5 and I9 over a whole history, by epoch and sequence: no attempt id twice, at most one commit a task, and no
/// launch by an owner that knew of the commit, by itself or from what it had read.
pub fn history<'a>(history: impl IntoIterator<Item = &'a History>) -> Result<(), Violation> {
    let mut launched: BTreeSet<(TaskId, AttemptId)> = BTreeSet::new();
    let mut committed: BTreeMap<TaskId, (AttemptId, Vec<(Epoch, u64)>)> = BTreeMap::new();
    let mut read: BTreeMap<Epoch, u64> = BTreeMap::new();
    let placed =
        |object: &'a History| object.events.iter().map(|event| (object.epoch, object.sequence, event));
    for (epoch, sequence, event) in history.into_iter().flat_map(placed) {
        match event {
            HistoryEvent::Owned { read: by_owner, .. } => {
                read = by_owner.iter().flatten().copied().collect();
            }
            HistoryEvent::Launched { task, attempt, .. } => {
                let is_known =
                    |(of, n): &(Epoch, u64)| *of == epoch || read.get(of).is_some_and(|last| n <= last);
                if let Some((winner, notes)) = committed.get(task)
                    && notes.iter().any(is_known)
                {
                    let why = format!("{task} attempt {attempt} was launched after {winner} had committed");
                    return violation("I9", why);
                }
                if !launched.insert((*task, *attempt)) {
                    return violation("I1", format!("{task} attempt {attempt} was launched twice"));
                }
            }
            HistoryEvent::Ended { task, attempt, end: AttemptEnd::Committed, .. } => {
                let (winner, notes) = committed.entry(*task).or_insert((*attempt, Vec::new()));
                if winner != attempt {
                    return violation("I5", format!("{task} was committed by {winner} and by {attempt}"));
                }
                notes.push((epoch, sequence));
            }
            HistoryEvent::Adopted { .. } | HistoryEvent::Ended { .. } => {}
        }
    }
    Ok(())
}

/// I4 and I11: what the markers of a live job name is there. `is_there` says so of an attempt's data.
pub fn marked_data(
    markers: &BTreeMap<TaskId, AttemptId>,
    is_there: impl Fn(TaskId, AttemptId) -> bool,
) -> Result<(), Violation> {
    match markers.iter().find(|(task, attempt)| !is_there(**task, **attempt)) {
        Some((task, attempt)) => {
            violation("I4", format!("the marker of {task} names data of {attempt} that is not there"))
        }
        None => Ok(()),
    }
}

/// I5: `new` may be the marker of a live job's task where `old` was.
pub fn marker_step<M: PartialEq>(task: TaskId, old: Option<&M>, new: Option<&M>) -> Result<(), Violation> {
    match old {
        Some(_) if new.is_none() => violation("I5", format!("the marker of {task} was deleted")),
        Some(_) if new != old => violation("I5", format!("the marker of {task} was changed")),
        _ => Ok(()),
    }
}

/// I5: a task is committed by its marker and in no other way, so whoever holds `known` for the winner of the
/// live job's task holds what `marker` names.
pub fn known_winner(task: TaskId, known: AttemptId, marker: Option<AttemptId>) -> Result<(), Violation> {
    match marker {
        Some(winner) if winner == known => Ok(()),
        Some(winner) => {
            violation("I5", format!("{known} is taken for the winner of {task}, which is {winner}"))
        }
        None => violation("I5", format!("{known} is taken for the winner of {task}, which has no marker")),
    }
}

/// I7: the manifest of a stage names the winners of its tasks, in their order, and nothing else.
pub fn manifest(
    tasks: impl IntoIterator<Item = TaskId>,
    named: &[AttemptId],
    markers: &BTreeMap<TaskId, AttemptId>,
) -> Result<(), Violation> {
    let winners: Vec<_> = tasks.into_iter().map(|task| markers.get(&task).copied()).collect();
    if winners.iter().copied().eq(named.iter().copied().map(Some)) {
        return Ok(());
    }
    violation("I7", format!("a manifest names {named:?} where the markers name {winners:?}"))
}

/// I8: the marker of a reduce task tells of the manifest it read, `input`, which is the map stage's, `sealed`.
pub fn reduce_input<D: PartialEq>(
    task: TaskId,
    input: Option<&D>,
    sealed: Option<&D>,
) -> Result<(), Violation> {
    match (input, sealed) {
        (Some(read), Some(sealed)) if read == sealed => Ok(()),
        _ => violation("I8", format!("{task} was committed for another manifest than the map stage's")),
    }
}

/// I10: the result of a job is written once.
pub fn result_step<R: PartialEq>(old: Option<&R>, new: Option<&R>) -> Result<(), Violation> {
    if old.is_some() && new != old {
        return violation("I10", "the result of a job was changed".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Audit, Incarnation, JobId, JobPhase, Role, Stage};

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

    fn owned(read: Vec<(Epoch, u64)>) -> HistoryEvent {
        HistoryEvent::Owned { owner: Incarnation::new(Role::Master, 2), read: Some(read), at_ms: 0 }
    }
    fn by(epoch: u64, sequence: u64, events: &[HistoryEvent]) -> History {
        History { epoch: Epoch(epoch), sequence, events: events.to_vec() }
    }

    #[test]
    fn a_launch_after_a_commit_breaks_i9() {
        assert_eq!(history(&[by(1, 0, &[launch(1), launch(2), commit(2)])]), Ok(()));
        let broken = [by(1, 0, &[launch(1), commit(1)]), by(1, 1, &[launch(2)])];
        assert_eq!(history(&broken).unwrap_err().invariant, "I9");
    }

    #[test]
    fn a_launch_after_a_commit_that_an_earlier_owner_knew_of_breaks_i9_if_it_could_be_read() {
        let noted = [by(1, 0, &[launch(1)]), by(1, 1, &[commit(1)])];
        let next = |last| by(2, 0, &[owned(vec![(Epoch(1), last)]), launch(2)]);
        assert_eq!(history(noted.iter().chain([&next(0)])), Ok(()), "noted later by an owner that slept");
        assert_eq!(history(noted.iter().chain([&next(1)])).unwrap_err().invariant, "I9");
    }

    #[test]
    fn an_attempt_id_used_twice_breaks_i1_and_two_commits_break_i5() {
        assert_eq!(history(&[by(1, 0, &[launch(1), launch(1)])]).unwrap_err().invariant, "I1");
        let broken = [by(1, 0, &[launch(1), launch(2), commit(1)]), by(2, 0, &[owned(vec![]), commit(2)])];
        assert_eq!(history(&broken).unwrap_err().invariant, "I5");
    }

    #[test]
    fn what_an_owner_has_read_ends_with_the_last_object_of_each_epoch() {
        let audit: Audit = [by(1, 0, &[]), by(1, 1, &[]), by(3, 0, &[])].iter().collect();
        assert!(audit.last.into_iter().eq([(Epoch(1), 1), (Epoch(3), 0)]));
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

    #[test]
    fn a_marker_without_its_data_breaks_i4() {
        let markers = BTreeMap::from([(TASK, attempt(1))]);
        assert_eq!(marked_data(&markers, |task, winner| (task, winner) == (TASK, attempt(1))), Ok(()));
        assert_eq!(marked_data(&markers, |_, _| false).unwrap_err().invariant, "I4");
    }

    #[test]
    fn a_marker_that_changes_or_is_contradicted_breaks_i5() {
        assert_eq!(marker_step(TASK, None, Some(&1)), Ok(()));
        assert_eq!(marker_step(TASK, Some(&1), Some(&1)), Ok(()));
        assert_eq!(marker_step(TASK, Some(&1), Some(&2)).unwrap_err().invariant, "I5");
        assert_eq!(marker_step(TASK, Some(&1), None).unwrap_err().invariant, "I5");
        assert_eq!(known_winner(TASK, attempt(1), Some(attempt(1))), Ok(()));
        assert_eq!(known_winner(TASK, attempt(1), Some(attempt(2))).unwrap_err().invariant, "I5");
        assert_eq!(known_winner(TASK, attempt(1), None).unwrap_err().invariant, "I5");
    }

    #[test]
    fn a_manifest_that_does_not_follow_from_the_markers_breaks_i7() {
        let markers = BTreeMap::from([(TASK, attempt(1))]);
        assert_eq!(manifest([TASK], &[attempt(1)], &markers), Ok(()));
        for wrong in [&[attempt(2)][..], &[], &[attempt(1), attempt(1)]] {
            assert_eq!(manifest([TASK], wrong, &markers).unwrap_err().invariant, "I7");
        }
        assert_eq!(manifest([TASK], &[attempt(1)], &BTreeMap::new()).unwrap_err().invariant, "I7");
    }

    #[test]
    fn a_reduce_commit_for_another_manifest_breaks_i8() {
        assert_eq!(reduce_input(TASK, Some(&"a"), Some(&"a")), Ok(()));
        for (input, sealed) in
            [(Some(&"a"), Some(&"b")), (None, Some(&"a")), (Some(&"a"), None), (None, None)]
        {
            assert_eq!(reduce_input(TASK, input, sealed).unwrap_err().invariant, "I8");
        }
    }

    #[test]
    fn a_second_result_breaks_i10() {
        assert_eq!(result_step(None, Some(&1)), Ok(()));
        assert_eq!(result_step(Some(&1), Some(&1)), Ok(()));
        assert_eq!(result_step(Some(&1), Some(&2)).unwrap_err().invariant, "I10");
        assert_eq!(result_step(Some(&1), None).unwrap_err().invariant, "I10");
    }
}
