//! What becomes of the tasks of workers that nobody hears any more.

use super::*;

#[test]
fn a_lost_workers_task_is_launched_again_only_without_a_marker() {
    for committed in [false, true] {
        let mut world = World::with_job(2, loaded(1, 1));
        let (task, attempt) = world.offer(1).unwrap();
        world.tell(Event::Detached { worker: worker(1) });
        assert_eq!(world.asked, [Action::ReadMarker { job: JOB, task, lost: vec![attempt] }]);
        assert_eq!(world.offer(2), None, "nothing is launched while the marker is being read");
        world.marker(task, committed.then_some(attempt));
        assert_eq!(world.seals(Stage::Map), committed);
        assert_eq!(world.offer(2).is_some(), !committed);
    }
}

#[test]
fn what_a_lost_worker_commits_while_its_task_waits_for_a_slot_is_not_launched_again() {
    for committed in [false, true] {
        let mut world = World::with_job(1, loaded(2, 1));
        let (task, attempt) = world.offer(1).unwrap();
        world.tell(Event::Detached { worker: worker(1) });
        world.no_marker(task);
        world.tell(Event::Attached { worker: worker(2), n_slots: 1 });
        world.tell(Event::Offered { worker: worker(2), slot: 0, ahead: false });
        assert_eq!(world.asked[0], Action::ReadMarker { job: JOB, task, lost: vec![] });
        assert!(
            matches!(world.asked[1], Action::Launch { task, .. } if task == map(1)),
            "the slot is not kept"
        );
        world.marker(task, committed.then_some(attempt));
        world.tell(Event::Offered { worker: worker(2), slot: 1, ahead: false });
        assert!(!world.reads_marker(task), "once a launch");
        assert_eq!(world.asked_for(|action| matches!(action, Action::Launch { .. })), !committed);
    }
}

#[test]
fn of_many_tasks_of_lost_workers_a_few_are_asked_after_at_a_time() {
    let mut world = World::with_job(1, loaded(9, 1));
    let lost: Vec<_> = (0..9).map(|_| world.offer(1).unwrap().0).collect();
    world.tell(Event::Detached { worker: worker(1) });
    for task in lost {
        world.marker(task, None);
    }
    world.tell(Event::Attached { worker: worker(2), n_slots: 1 });
    world.tell(Event::Offered { worker: worker(2), slot: 0, ahead: false });
    assert!(world.reads_marker(map(0)) && world.reads_marker(map(1)) && !world.reads_marker(map(2)));
    assert!(world.asked_for(|action| matches!(action, Action::Decline { .. })));
    assert!(world.asked_for(|action| matches!(action, Action::Invite { .. })), "there are others");
    world.marker(map(1), None);
    assert_eq!(world.offer(2).map(|(task, _)| task), Some(map(1)));
}

#[test]
fn what_an_earlier_owner_launched_is_looked_for_again_when_there_is_a_slot() {
    let mut start = loaded(2, 1);
    start.open = vec![(map(0), AttemptId { epoch: Epoch(0), number: 1 })];
    let mut world = World::with_job(1, start);
    world.tell(Event::Offered { worker: worker(1), slot: 0, ahead: false });
    assert!(world.reads_marker(map(0)) && !world.reads_marker(map(1)));
}

#[test]
fn a_failure_that_a_lost_worker_could_not_report_costs_budget() {
    let mut world = World::with_job(0, loaded(1, 1));
    let mut failures = Vec::new();
    for n in 1..=4 {
        assert_eq!(world.ending(), None);
        world.tell(Event::Attached { worker: worker(n), n_slots: 1 });
        let (task, attempt) = world.offer(n).unwrap();
        world.tell(Event::Detached { worker: worker(n) });
        failures.push(failure(task, attempt, FailureKind::OutOfMemory));
        world.found(task, None, &failures);
    }
    assert!(matches!(world.ending(), Some(Ending::Failed(f)) if f.attempt.number == 4));
    let is_failure =
        |event: &&HistoryEvent| matches!(event, HistoryEvent::Ended { end: AttemptEnd::Failed, .. });
    assert_eq!(world.history.iter().filter(is_failure).count(), 4);
}

#[test]
fn an_attempt_that_was_taken_for_lost_and_fails_then_costs_budget_once() {
    let mut start = loaded(1, 1);
    start.settings.max_attempts = 3;
    let mut world = World::with_job(2, start);
    let (task, attempt) = world.offer(1).unwrap();
    world.tell(Event::Detached { worker: worker(1) });
    world.no_marker(task);
    let mut failures = vec![failure(task, attempt, FailureKind::OutOfMemory)];
    for n_failed in 2..=3 {
        assert_eq!(world.ending(), None);
        let (_, next) = world.offer(2).unwrap();
        let failed = failure(task, next, FailureKind::OutOfMemory);
        world.report((task, next), Outcome::Failed(Box::new(failed.clone())));
        failures.push(failed);
        assert_eq!(failures.len(), n_failed);
        world.found(task, None, &failures);
    }
    assert!(matches!(world.ending(), Some(Ending::Failed(_))));
}

#[test]
fn two_lost_attempts_of_a_task_are_both_looked_after_before_the_next_launch() {
    let mut world = World::with_job(3, loaded(1, 1));
    let (task, first) = world.offer(1).unwrap();
    world.tell(Event::Detached { worker: worker(1) });
    world.no_marker(task);
    let (_, second) = world.offer(2).unwrap();
    // The first was not lost, only its stream.
    world.tell(Event::Attached { worker: worker(1), n_slots: 1 });
    let attempts = vec![(task, first)];
    world.tell(Event::Answered { worker: worker(1), job: JOB, epoch: EPOCH, attempts });
    world.tell(Event::Detached { worker: worker(1) });
    let one = world.asked_after[&task].clone();
    world.tell(Event::Detached { worker: worker(2) });
    assert_eq!(world.asked_after[&task], [first, second]);
    world.tell(Event::MarkerRead { job: JOB, epoch: EPOCH, task, winner: None, failures: vec![], lost: one });
    assert_eq!(world.offer(3), None, "the second may have committed after this marker was read");
    world.marker(task, Some(second));
    assert!(world.seals(Stage::Map));
}

#[test]
fn a_worker_that_speaks_after_it_was_detached_gets_and_adopts_nothing() {
    let mut world = World::with_job(2, loaded(2, 1));
    let (task, attempt) = world.offer(1).unwrap();
    world.tell(Event::Detached { worker: worker(1) });
    world.no_marker(task);
    assert_eq!(world.offer(1), None);
    assert_eq!(world.asked, []);
    world.tell(Event::Answered {
        worker: worker(1),
        job: JOB,
        epoch: EPOCH,
        attempts: vec![(task, attempt)],
    });
    assert_eq!(world.asked, []);
    assert_eq!([world.offer(2).unwrap().0, world.offer(2).unwrap().0], [map(1), map(0)]);
}

#[test]
fn a_machine_taken_away_is_not_a_failed_attempt() {
    let mut world = World::with_job(0, loaded(1, 1));
    for n in 1..20 {
        world.tell(Event::Attached { worker: worker(n), n_slots: 1 });
        assert!(world.asked_for(|action| matches!(action, Action::Invite { .. })));
        let (task, _) = world.offer(n).unwrap();
        world.tell(Event::Detached { worker: worker(n) });
        world.marker(task, None);
        assert_eq!(world.ending(), None);
    }
}
