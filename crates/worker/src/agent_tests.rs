//! The agent, event by event.

use mapreduce_core::{Role, Stage};

use super::*;

const JOB: JobId = JobId(1);

fn master(n: u64) -> Incarnation {
    Incarnation::new(Role::Master, n)
}
fn assignment(index: u32, epoch: u64) -> Assignment {
    let attempt = AttemptId { epoch: Epoch(epoch), number: 1 };
    let task = TaskId { stage: Stage::Map, index };
    let code = CodeRef::Python { digest: "ab12".to_owned() };
    Assignment { job: JOB, epoch: Epoch(epoch), task, attempt, code, timeout_ms: None }
}
fn name(a: &Assignment) -> (TaskId, AttemptId) {
    (a.task, a.attempt)
}

/// A worker whose slots are warm and whose masters, 1 to `n_masters`, are attached and have work.
fn worker(n_slots: usize, n_masters: u64) -> (Agent, Vec<Action>) {
    let mut agent = Agent::new(n_slots);
    for n in 1..=n_masters {
        agent.handle(Event::MasterAttached(master(n)));
        agent.handle(Event::Invited(master(n)));
    }
    let offers = (0..n_slots).flat_map(|slot| agent.handle(Event::SlotReady(slot))).collect();
    (agent, offers)
}

#[test]
fn every_free_slot_is_offered_to_one_master_and_the_masters_take_turns() {
    let (_, offers) = worker(3, 2);
    let expected = [(1, 0), (2, 1), (1, 2)].map(|(n, slot)| Action::Offer(master(n), slot));
    assert_eq!(offers, expected);
}

#[test]
fn a_declined_slot_goes_to_another_master_and_back_only_when_invited() {
    let (mut agent, _) = worker(1, 2);
    assert_eq!(agent.handle(Event::Declined(master(1), 0)), [Action::Offer(master(2), 0)]);
    assert_eq!(agent.handle(Event::Declined(master(2), 0)), []);
    assert_eq!(agent.handle(Event::Invited(master(1))), [Action::Offer(master(1), 0)]);
}

#[test]
fn an_attempt_runs_and_its_end_is_reported_before_the_slot_is_offered_again() {
    let (mut agent, _) = worker(1, 1);
    let a = assignment(0, 1);
    assert_eq!(agent.handle(Event::Assigned(master(1), 0, a.clone())), [Action::Run(0, a.clone())]);
    let report = Action::Report(master(1), JOB, a.task, a.attempt, Outcome::Committed);
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Committed)), [report]);
    assert_eq!(agent.handle(Event::SlotReady(0)), [Action::Offer(master(1), 0)]);
}

#[test]
fn a_master_that_lost_the_job_is_refused() {
    let (mut agent, _) = worker(1, 2);
    agent.handle(Event::Queried(master(2), JOB, Epoch(2)));
    let a = assignment(0, 1);
    let actions = agent.handle(Event::Assigned(master(1), 0, a.clone()));
    assert_eq!(actions[0], Action::Report(master(1), JOB, a.task, a.attempt, Outcome::Refused));
    assert!(!actions.iter().any(|action| matches!(action, Action::Run(..))));
}

#[test]
fn a_slot_that_was_not_offered_is_not_given() {
    let (mut agent, _) = worker(1, 2);
    let a = assignment(0, 1);
    let refused = Action::Report(master(2), JOB, a.task, a.attempt, Outcome::Refused);
    assert_eq!(agent.handle(Event::Assigned(master(2), 0, a)), [refused]);
}

#[test]
fn a_new_owner_hears_what_runs_and_gets_the_report() {
    let (mut agent, _) = worker(1, 1);
    let a = assignment(0, 1);
    agent.handle(Event::Assigned(master(1), 0, a.clone()));
    agent.handle(Event::MasterDetached(master(1)));
    agent.handle(Event::MasterAttached(master(2)));
    let answer = Action::Answer(master(2), JOB, Epoch(2), vec![name(&a)]);
    assert_eq!(agent.handle(Event::Queried(master(2), JOB, Epoch(2))), [answer]);
    let report = Action::Report(master(2), JOB, a.task, a.attempt, Outcome::Committed);
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Committed)), [report]);
}

#[test]
fn without_an_owner_the_report_is_dropped_and_work_goes_on() {
    let (mut agent, _) = worker(1, 2);
    agent.handle(Event::Assigned(master(1), 0, assignment(0, 1)));
    agent.handle(Event::MasterDetached(master(1)));
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Committed)), []);
    assert_eq!(agent.handle(Event::SlotReady(0)), [Action::Offer(master(2), 0)]);
}

#[test]
fn a_slot_offered_to_a_master_that_dies_is_offered_to_another() {
    let (mut agent, _) = worker(1, 2);
    assert_eq!(agent.handle(Event::MasterDetached(master(1))), [Action::Offer(master(2), 0)]);
}

#[test]
fn a_stopped_attempt_is_killed_once_and_no_longer_named() {
    let (mut agent, _) = worker(1, 1);
    let a = assignment(0, 1);
    agent.handle(Event::Assigned(master(1), 0, a.clone()));
    assert_eq!(agent.handle(Event::StopWanted(vec![name(&a)], JOB)), [Action::Kill(0)]);
    assert_eq!(agent.handle(Event::StopWanted(vec![name(&a)], JOB)), []);
    let answer = Action::Answer(master(1), JOB, Epoch(1), vec![]);
    assert_eq!(agent.handle(Event::Queried(master(1), JOB, Epoch(1))), [answer]);
    let report = Action::Report(master(1), JOB, a.task, a.attempt, Outcome::Stopped);
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Stopped)), [report]);
}

#[test]
fn a_draining_worker_finishes_what_runs_and_starts_nothing() {
    let (mut agent, _) = worker(2, 1);
    agent.handle(Event::Assigned(master(1), 0, assignment(0, 1)));
    assert_eq!(agent.handle(Event::Drain), []);
    let b = assignment(1, 1);
    let refused = Action::Report(master(1), JOB, b.task, b.attempt, Outcome::Refused);
    assert_eq!(agent.handle(Event::Assigned(master(1), 1, b)), [refused]);
    let actions = agent.handle(Event::Ended(0, Outcome::Committed));
    assert_eq!(actions.last(), Some(&Action::Drained));
}
