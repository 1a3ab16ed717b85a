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
    let user = "ada".to_owned();
    Assignment { job: JOB, epoch: Epoch(epoch), task, attempt, user, code, timeout_ms: None, more: false }
}
/// With many more waiting behind it.
fn one_of_many(index: u32) -> Assignment {
    Assignment { more: true, ..assignment(index, 1) }
}
fn offer(n: u64, slot: usize) -> Action {
    Action::Offer(master(n), slot, Place::Now)
}
fn report(n: u64, a: &Assignment, outcome: Outcome) -> Action {
    Action::Report(master(n), JOB, a.task, a.attempt, outcome)
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
    let expected = [(1, 0), (2, 1), (1, 2)].map(|(n, slot)| offer(n, slot));
    assert_eq!(offers, expected);
}

#[test]
fn a_declined_slot_goes_to_another_master_and_back_only_when_invited() {
    let (mut agent, _) = worker(1, 2);
    assert_eq!(agent.handle(Event::Declined(master(1), 0, Place::Now)), [offer(2, 0)]);
    assert_eq!(agent.handle(Event::Declined(master(2), 0, Place::Now)), []);
    assert_eq!(agent.handle(Event::Invited(master(1))), [offer(1, 0)]);
}

#[test]
fn an_attempt_runs_and_its_end_is_reported_before_the_slot_is_offered_again() {
    let (mut agent, _) = worker(1, 1);
    let a = assignment(0, 1);
    assert_eq!(agent.handle(Event::Assigned(master(1), 0, a.clone())), [Action::Run(0, a.clone())]);
    let reported = report(1, &a, Outcome::Committed);
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Committed)), [reported]);
    assert_eq!(agent.handle(Event::SlotReady(0)), [offer(1, 0)]);
}

#[test]
fn a_master_that_lost_the_job_is_refused() {
    let (mut agent, _) = worker(1, 2);
    agent.handle(Event::Queried(master(2), JOB, Epoch(2)));
    let a = assignment(0, 1);
    let actions = agent.handle(Event::Assigned(master(1), 0, a.clone()));
    assert_eq!(actions[0], report(1, &a, Outcome::Refused));
    assert!(!actions.iter().any(|action| matches!(action, Action::Run(..))));
}

#[test]
fn a_slot_that_was_not_offered_is_not_given() {
    let (mut agent, _) = worker(1, 2);
    let a = assignment(0, 1);
    let refused = report(2, &a, Outcome::Refused);
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
    let reported = report(2, &a, Outcome::Committed);
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Committed)), [reported]);
}

#[test]
fn without_an_owner_the_report_is_dropped_and_work_goes_on() {
    let (mut agent, _) = worker(1, 2);
    agent.handle(Event::Assigned(master(1), 0, assignment(0, 1)));
    agent.handle(Event::MasterDetached(master(1)));
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Committed)), []);
    assert_eq!(agent.handle(Event::SlotReady(0)), [offer(2, 0)]);
}

#[test]
fn a_slot_offered_to_a_master_that_dies_is_offered_to_another() {
    let (mut agent, _) = worker(1, 2);
    assert_eq!(agent.handle(Event::MasterDetached(master(1))), [offer(2, 0)]);
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
    let reported = report(1, &a, Outcome::Stopped);
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Stopped)), [reported]);
}

#[test]
fn a_draining_worker_finishes_what_runs_and_starts_nothing() {
    let (mut agent, _) = worker(2, 1);
    agent.handle(Event::Assigned(master(1), 0, assignment(0, 1)));
    assert_eq!(agent.handle(Event::Drain), []);
    let b = assignment(1, 1);
    let returned = report(1, &b, Outcome::Returned);
    assert_eq!(agent.handle(Event::Assigned(master(1), 1, b)), [returned], "another worker has it at once");
    let actions = agent.handle(Event::Ended(0, Outcome::Committed));
    assert_eq!(actions.last(), Some(&Action::Drained));
}

#[test]
fn a_worker_in_a_hurry_stops_what_runs_and_says_so_before_it_is_drained() {
    let (mut agent, _) = worker(2, 1);
    let (a, b) = (assignment(0, 1), assignment(1, 1));
    agent.handle(Event::Assigned(master(1), 0, a.clone()));
    agent.handle(Event::Assigned(master(1), 1, b.clone()));
    agent.handle(Event::Drain);
    assert_eq!(agent.handle(Event::Hurry), [Action::Kill(0), Action::Kill(1)]);
    assert_eq!(agent.handle(Event::Hurry), [], "once");
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Stopped)), [report(1, &a, Outcome::Stopped)]);
    let ended = agent.handle(Event::Ended(1, Outcome::Committed));
    assert_eq!(ended, [report(1, &b, Outcome::Committed), Action::Drained], "with its last breath");
}

#[test]
fn a_draining_worker_still_refuses_a_master_that_lost_the_job() {
    let (mut agent, _) = worker(1, 2);
    agent.handle(Event::Queried(master(2), JOB, Epoch(2)));
    agent.handle(Event::Drain);
    let a = assignment(0, 1);
    let refused = agent.handle(Event::Assigned(master(1), 0, a.clone()));
    assert_eq!(refused[0], report(1, &a, Outcome::Refused));
}

/// A worker with one slot that runs `a`, with `b` waiting behind it.
fn with_one_ahead() -> (Agent, Assignment, Assignment) {
    let (mut agent, _) = worker(1, 1);
    let (a, b) = (one_of_many(0), one_of_many(1));
    let ahead = Action::Offer(master(1), 0, Place::Ahead);
    assert_eq!(agent.handle(Event::Assigned(master(1), 0, a.clone())), [Action::Run(0, a.clone()), ahead]);
    assert_eq!(agent.handle(Event::Assigned(master(1), 0, b.clone())), []);
    (agent, a, b)
}

#[test]
fn what_waits_ahead_begins_when_the_slot_is_ready_and_the_next_place_is_offered() {
    let (mut agent, a, b) = with_one_ahead();
    assert_eq!(agent.handle(Event::Ended(0, Outcome::Committed)), [report(1, &a, Outcome::Committed)]);
    let ahead = Action::Offer(master(1), 0, Place::Ahead);
    assert_eq!(agent.handle(Event::SlotReady(0)), [Action::Run(0, b), ahead]);
}

#[test]
fn nothing_is_offered_ahead_without_more_tasks_or_while_two_masters_have_some() {
    let (mut agent, _) = worker(1, 1);
    let a = assignment(0, 1);
    assert_eq!(agent.handle(Event::Assigned(master(1), 0, a.clone())), [Action::Run(0, a)]);
    let (mut agent, _) = worker(1, 2);
    let a = one_of_many(0);
    assert_eq!(agent.handle(Event::Assigned(master(1), 0, a.clone())), [Action::Run(0, a)]);
}

#[test]
fn an_offer_ahead_is_declined_once_and_the_master_stays_inviting() {
    let (mut agent, _) = worker(1, 1);
    agent.handle(Event::Assigned(master(1), 0, one_of_many(0)));
    assert_eq!(agent.handle(Event::Declined(master(1), 0, Place::Ahead)), []);
    agent.handle(Event::Ended(0, Outcome::Committed));
    assert_eq!(agent.handle(Event::SlotReady(0)), [offer(1, 0)]);
}

#[test]
fn an_offer_ahead_becomes_one_of_the_slot_when_its_attempt_has_ended() {
    for answered_early in [true, false] {
        let (mut agent, _) = worker(1, 1);
        agent.handle(Event::Assigned(master(1), 0, one_of_many(0)));
        agent.handle(Event::Ended(0, Outcome::Committed));
        let b = assignment(1, 1);
        let begun = [Action::Run(0, b.clone())];
        if answered_early {
            assert_eq!(agent.handle(Event::Assigned(master(1), 0, b)), []);
            assert_eq!(agent.handle(Event::SlotReady(0)), begun);
        } else {
            assert_eq!(agent.handle(Event::SlotReady(0)), [], "it is offered already");
            assert_eq!(agent.handle(Event::Assigned(master(1), 0, b)), begun);
        }
    }
    let (mut agent, _) = worker(1, 1);
    agent.handle(Event::Assigned(master(1), 0, one_of_many(0)));
    agent.handle(Event::Ended(0, Outcome::Committed));
    agent.handle(Event::SlotReady(0));
    let again = agent.handle(Event::Declined(master(1), 0, Place::Ahead));
    assert_eq!(again, [offer(1, 0)], "the slot itself may still be wanted");
}

#[test]
fn what_waits_ahead_is_named_recalled_stopped_and_handed_back_by_a_draining_worker() {
    let (mut agent, a, b) = with_one_ahead();
    let answer = Action::Answer(master(1), JOB, Epoch(1), vec![name(&a), name(&b)]);
    assert_eq!(agent.handle(Event::Queried(master(1), JOB, Epoch(1))), [answer]);
    let recalled = agent.handle(Event::Recalled(vec![name(&a), name(&b)], JOB));
    let ahead = Action::Offer(master(1), 0, Place::Ahead);
    assert_eq!(recalled, [report(1, &b, Outcome::Returned), ahead], "what runs goes on");

    let (mut agent, a, b) = with_one_ahead();
    let stopped = agent.handle(Event::StopWanted(vec![name(&a), name(&b)], JOB));
    assert_eq!(stopped, [Action::Kill(0), report(1, &b, Outcome::Stopped)]);

    let (mut agent, a, b) = with_one_ahead();
    assert_eq!(agent.handle(Event::Drain), [report(1, &b, Outcome::Returned)]);
    let ended = agent.handle(Event::Ended(0, Outcome::Committed));
    assert_eq!(ended, [report(1, &a, Outcome::Committed), Action::Drained]);
}

#[test]
fn what_waits_ahead_survives_its_master_but_an_offer_ahead_does_not() {
    let (mut agent, a, b) = with_one_ahead();
    agent.handle(Event::MasterDetached(master(1)));
    agent.handle(Event::MasterAttached(master(2)));
    let answer = Action::Answer(master(2), JOB, Epoch(2), vec![name(&a), name(&b)]);
    assert_eq!(agent.handle(Event::Queried(master(2), JOB, Epoch(2))), [answer]);
    agent.handle(Event::Ended(0, Outcome::Committed));
    assert_eq!(agent.handle(Event::SlotReady(0)), [Action::Run(0, b)]);

    let (mut agent, _) = worker(1, 1);
    agent.handle(Event::Assigned(master(1), 0, one_of_many(0)));
    agent.handle(Event::MasterDetached(master(1)));
    agent.handle(Event::MasterAttached(master(2)));
    let b = assignment(1, 1);
    let refused = agent.handle(Event::Assigned(master(1), 0, b.clone()));
    assert_eq!(refused, [report(1, &b, Outcome::Refused)]);
}

#[test]
fn every_slot_hears_of_the_end_of_a_job() {
    let (mut agent, _) = worker(2, 1);
    agent.handle(Event::Assigned(master(1), 0, assignment(0, 1)));
    let leave = [Action::Leave(0, JobId(2)), Action::Leave(1, JobId(2))];
    assert_eq!(agent.handle(Event::JobEnded(JobId(2))), leave);
}
