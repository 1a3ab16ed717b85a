//! The scheduler against a little world: what it asks for is done at once, unless the test says otherwise.

mod lost;

use std::collections::BTreeMap;

use mapreduce_core::{
    AttemptEnd, CodeRef, FailureKind, History, JobPhase, Plan, Role, Settings, Stage, invariants,
};

use super::*;

const JOB: JobId = JobId(1);
const EPOCH: Epoch = Epoch(1);

fn worker(n: u64) -> Incarnation {
    Incarnation::new(Role::Worker, n)
}
fn map(index: u32) -> TaskId {
    TaskId { stage: Stage::Map, index }
}
fn reduce(index: u32) -> TaskId {
    TaskId { stage: Stage::Reduce, index }
}
fn plan(n_map: u32, n_reduce: u32) -> Plan {
    Plan { n_splits: n_map, n_partitions: n_reduce }
}
fn loaded(n_map: u32, n_reduce: u32) -> JobLoaded {
    JobLoaded {
        phase: JobPhase::Map,
        plan: plan(n_map, n_reduce),
        user: "ada".to_owned(),
        code: CodeRef::Python { digest: "ab12".to_owned() },
        output: None,
        settings: Settings::default(),
        winners: BTreeMap::new(),
        failures: BTreeMap::new(),
        open: Vec::new(),
    }
}
fn failure(task: TaskId, attempt: AttemptId, what: FailureKind) -> Failure {
    Failure {
        task,
        attempt,
        worker: worker(1),
        what,
        message: "it broke".into(),
        traceback: String::new(),
        record: None,
        pickled_exception: None,
        at_ms: 0,
    }
}

/// A scheduler, and everything it has asked for.
#[derive(Default)]
struct World {
    scheduler: Scheduler,
    /// Launched and not ended: where and in which slot.
    running: BTreeMap<(TaskId, AttemptId), Incarnation>,
    history: Vec<HistoryEvent>,
    /// The lost attempts whose ends are being read.
    asked_after: BTreeMap<TaskId, Vec<AttemptId>>,
    asked: Vec<Action>,
}

impl World {
    fn with_job(n_workers: u64, loaded: JobLoaded) -> World {
        let mut world = World::default();
        for n in 1..=n_workers {
            world.tell(Event::Attached { worker: worker(n), n_slots: 1 });
        }
        world.tell(Event::Taken { job: JOB, epoch: EPOCH, is_new: true });
        assert_eq!(world.asked, [Action::Load { job: JOB }]);
        world.tell(Event::Loaded { job: JOB, epoch: EPOCH, loaded });
        world
    }

    fn tell(&mut self, event: Event) -> &mut World {
        self.asked = self.scheduler.handle(event, 7);
        for action in &self.asked {
            match action {
                Action::Launch { worker, task, attempt, at_ms, job, .. } if *job == JOB => {
                    let (task, attempt, worker) = (*task, *attempt, worker.clone());
                    self.running.insert((task, attempt), worker.clone());
                    self.history.push(HistoryEvent::Launched { task, attempt, worker, at_ms: *at_ms });
                }
                Action::ReadMarker { task, lost, .. } => drop(self.asked_after.insert(*task, lost.clone())),
                Action::Record { event, job } if *job == JOB => self.history.push(event.clone()),
                _ => {}
            }
        }
        let history = History { epoch: EPOCH, sequence: 0, events: std::mem::take(&mut self.history) };
        invariants::history([&history]).unwrap();
        self.history = history.events;
        self
    }

    fn offer(&mut self, n: u64) -> Option<(TaskId, AttemptId)> {
        self.offer_place(n, false)
    }

    /// A task that must be asked after for this place has no marker.
    fn offer_place(&mut self, n: u64, ahead: bool) -> Option<(TaskId, AttemptId)> {
        let offered = Event::Offered { worker: worker(n), slot: 0, ahead };
        self.tell(offered.clone());
        let launched = self.launched();
        let asked_after = |action: &Action| match action {
            Action::ReadMarker { task, .. } => Some(*task),
            _ => None,
        };
        let tasks: Vec<_> = self.asked.iter().filter_map(asked_after).collect();
        for &task in &tasks {
            self.marker(task, None);
        }
        match launched {
            None if !tasks.is_empty() => self.tell(offered).launched(),
            launched => launched,
        }
    }

    fn launched(&self) -> Option<(TaskId, AttemptId)> {
        self.asked.iter().find_map(|action| match action {
            Action::Launch { task, attempt, .. } => Some((*task, *attempt)),
            _ => None,
        })
    }

    fn report(&mut self, (task, attempt): (TaskId, AttemptId), outcome: Outcome) -> &mut World {
        let worker = self.running.remove(&(task, attempt)).unwrap();
        self.tell(Event::Reported { worker, job: JOB, task, attempt, outcome })
    }

    fn no_marker(&mut self, task: TaskId) -> &mut World {
        assert!(self.reads_marker(task));
        self.marker(task, None)
    }

    /// Storage has this marker, and no failure of the task.
    fn marker(&mut self, task: TaskId, winner: Option<AttemptId>) -> &mut World {
        self.found(task, winner, &[])
    }

    fn found(&mut self, task: TaskId, winner: Option<AttemptId>, failures: &[Failure]) -> &mut World {
        let (failures, lost) = (failures.to_vec(), self.asked_after.remove(&task).unwrap_or_default());
        let epoch = self.scheduler.owned().find(|(job, _)| *job == JOB).map_or(EPOCH, |(_, epoch)| epoch);
        self.tell(Event::MarkerRead { job: JOB, epoch, task, winner, failures, lost })
    }

    fn reads_marker(&self, of: TaskId) -> bool {
        self.asked_for(|action| matches!(action, Action::ReadMarker { task, .. } if *task == of))
    }

    fn asked_for(&self, is: impl Fn(&Action) -> bool) -> bool {
        self.asked.iter().any(is)
    }
    fn seals(&self, stage: Stage) -> bool {
        self.asked_for(|action| matches!(action, Action::Seal { stage: s, .. } if *s == stage))
    }
    fn ending(&self) -> Option<&Ending> {
        self.asked.iter().find_map(|action| match action {
            Action::End { ending, .. } => Some(ending),
            _ => None,
        })
    }
}

#[test]
fn a_job_runs_through_both_stages() {
    let mut world = World::with_job(1, loaded(2, 1));
    for index in 0..2 {
        let attempt = world.offer(1).unwrap();
        assert_eq!(attempt.0, map(index));
        world.report(attempt, Outcome::Committed);
    }
    assert!(world.seals(Stage::Map));
    assert_eq!(world.offer(1), None, "no reduce task before the manifest is written");
    world.tell(Event::Sealed { job: JOB, epoch: EPOCH });
    let attempt = world.offer(1).unwrap();
    assert_eq!(attempt.0, reduce(0));
    world.report(attempt, Outcome::Committed);
    assert!(world.seals(Stage::Reduce));
    world.tell(Event::Sealed { job: JOB, epoch: EPOCH });
    assert_eq!(world.ending(), Some(&Ending::Succeeded));
}

#[test]
fn a_job_without_records_has_no_map_tasks_and_still_ends() {
    let mut world = World::with_job(1, loaded(0, 1));
    assert!(world.seals(Stage::Map));
    world.tell(Event::Sealed { job: JOB, epoch: EPOCH });
    let attempt = world.offer(1).unwrap();
    world.report(attempt, Outcome::Committed);
    assert!(world.seals(Stage::Reduce));
}

#[test]
fn dying_executors_are_tried_again_until_the_budget_is_spent() {
    let mut world = World::with_job(1, loaded(1, 1));
    for n in 1..=4 {
        assert_eq!(world.ending(), None);
        let (task, attempt) = world.offer(1).unwrap();
        assert_eq!(attempt.number, n);
        let killed = failure(task, attempt, FailureKind::ExecutorKilled { signal: 11 });
        world.report((task, attempt), Outcome::Failed(Box::new(killed)));
        world.no_marker(task);
    }
    assert!(matches!(world.ending(), Some(Ending::Failed(f)) if f.attempt.number == 4));
}

#[test]
fn an_executor_that_committed_and_then_died_has_committed() {
    let mut world = World::with_job(1, loaded(1, 1));
    let (task, attempt) = world.offer(1).unwrap();
    let killed = failure(task, attempt, FailureKind::ExecutorKilled { signal: 9 });
    world.report((task, attempt), Outcome::Failed(Box::new(killed)));
    assert_eq!(world.offer(1), None);
    world.marker(task, Some(attempt));
    assert!(world.seals(Stage::Map));
}

#[test]
fn a_store_in_trouble_pauses_the_task_and_costs_no_budget() {
    let mut world = World::with_job(1, loaded(1, 1));
    for _ in 0..10 {
        let (task, attempt) = world.offer(1).unwrap();
        let full = failure(task, attempt, FailureKind::Storage);
        world.report((task, attempt), Outcome::Failed(Box::new(full)));
        assert!(world.asked.contains(&Action::RetryLater { job: JOB, task }));
        assert_eq!(world.offer(1), None);
        world.tell(Event::Retry { job: JOB, epoch: EPOCH, task });
        world.no_marker(task);
        assert_eq!(world.ending(), None);
    }
}

#[test]
fn a_raised_exception_is_reported_at_once_unless_the_job_wants_retries() {
    for retry_exceptions in [false, true] {
        let settings = Settings { retry_exceptions, ..Settings::default() };
        let mut world = World::with_job(2, JobLoaded { settings, ..loaded(2, 1) });
        let bystander = world.offer(2).unwrap();
        let (task, attempt) = world.offer(1).unwrap();
        let raised = failure(task, attempt, FailureKind::UserException { exception: "ValueError".into() });
        world.report((task, attempt), Outcome::Failed(Box::new(raised)));
        assert_eq!(world.ending().is_some(), !retry_exceptions);
        let stops = Action::Stop { worker: worker(2), job: JOB, attempts: vec![bystander] };
        assert_eq!(world.asked.contains(&stops), !retry_exceptions);
    }
}

#[test]
fn budgets_survive_the_owner() {
    let attempts = (1..=3).map(|n| AttemptId { epoch: Epoch(0), number: n });
    let failures: Vec<_> = attempts.map(|a| failure(map(0), a, FailureKind::OutOfMemory)).collect();
    let mut start = loaded(1, 1);
    start.failures.insert(map(0), failures);
    let mut world = World::with_job(1, start);
    let (task, attempt) = world.offer(1).unwrap();
    let fourth = failure(task, attempt, FailureKind::OutOfMemory);
    world.report((task, attempt), Outcome::Failed(Box::new(fourth)));
    world.no_marker(task);
    assert!(matches!(world.ending(), Some(Ending::Failed(_))));
}

/// A worker goes on telling a new owner what it has told nobody, also when it is in storage already.
#[test]
fn a_failure_that_is_read_and_reported_counts_once() {
    let old = AttemptId { epoch: Epoch(1), number: 1 };
    let failed = failure(map(0), old, FailureKind::OutOfMemory);
    let mut world = World::default();
    world.tell(Event::Attached { worker: worker(1), n_slots: 1 });
    world.tell(Event::Taken { job: JOB, epoch: EPOCH, is_new: false });
    let attempts = vec![(map(0), old)];
    world.tell(Event::Answered { worker: worker(1), job: JOB, epoch: EPOCH, attempts });
    let outcome = Outcome::Failed(Box::new(failed.clone()));
    world.tell(Event::Reported { worker: worker(1), job: JOB, task: map(0), attempt: old, outcome });
    let mut start = loaded(1, 1);
    start.settings.max_attempts = 2;
    start.failures.insert(map(0), vec![failed]);
    start.open = vec![(map(0), old)];
    world.tell(Event::Loaded { job: JOB, epoch: EPOCH, loaded: start });
    assert!(!world.asked_for(|action| matches!(action, Action::ReadMarker { .. })), "one of two is spent");
    let ends = world.history.iter().filter(|event| matches!(event, HistoryEvent::Ended { .. }));
    assert_eq!(ends.count(), 1);
    assert!(world.offer(1).is_some());
}

/// Also one that another owner has found to be spent.
#[test]
fn a_spent_budget_ends_the_job_after_the_marker_was_looked_for() {
    let attempts = (1..=4).map(|n| AttemptId { epoch: Epoch(1), number: n });
    let failures: Vec<_> = attempts.map(|a| failure(map(0), a, FailureKind::OutOfMemory)).collect();
    for winner in [None, Some(AttemptId { epoch: Epoch(1), number: 4 })] {
        let mut start = loaded(2, 1);
        start.failures.insert(map(0), failures.clone());
        let mut world = World::with_job(1, start);
        assert_eq!(world.ending(), None, "its executor may have committed and died then");
        assert!(world.reads_marker(map(0)));
        let other = world.offer(1).unwrap();
        assert_eq!(other.0, map(1));
        world.report(other, Outcome::Superseded);
        world.no_marker(map(1));
        assert_eq!(world.ending(), None, "what is heard of another task says nothing about it");
        world.marker(map(0), winner);
        assert_eq!(world.ending().is_some(), winner.is_none());
    }
}

#[test]
fn a_new_owner_asks_first_then_reads_then_adopts() {
    let old = |n| AttemptId { epoch: Epoch(1), number: n };
    let mut world = World::default();
    world.tell(Event::Attached { worker: worker(1), n_slots: 1 });
    world.tell(Event::Registered { workers: vec![worker(1), worker(2)] });
    let epoch = Epoch(2);
    world.tell(Event::Taken { job: JOB, epoch, is_new: false });
    let query = Action::Query { worker: worker(1), job: JOB, epoch };
    assert_eq!(world.asked, [query, Action::BePatient { job: JOB }]);
    world.tell(Event::Answered { worker: worker(1), job: JOB, epoch, attempts: vec![(map(1), old(1))] });
    assert_eq!(world.asked, [], "worker 2 is alive and has not said what it runs");
    world.tell(Event::Attached { worker: worker(2), n_slots: 1 });
    world.tell(Event::Answered { worker: worker(2), job: JOB, epoch, attempts: vec![] });
    assert_eq!(world.asked, [Action::Load { job: JOB }]);

    let mut storage = loaded(3, 1);
    storage.winners.insert(map(0), old(1));
    storage.open = vec![(map(0), old(1)), (map(1), old(1)), (map(2), old(1))];
    world.tell(Event::Loaded { job: JOB, epoch, loaded: storage });
    let ends: Vec<_> = world.history.iter().filter(|e| matches!(e, HistoryEvent::Ended { .. })).collect();
    assert_eq!(ends.len(), 2, "map/0 committed, map/2 lost, map/1 runs on");
    let adopted = |e: &HistoryEvent| matches!(e, HistoryEvent::Adopted { task, .. } if *task == map(1));
    assert!(world.history.iter().any(adopted));
    assert_eq!(world.offer(2).map(|(task, _)| task), Some(map(2)), "the only task that is neither");
    assert_eq!(world.offer(2), None);
    world.running.insert((map(1), old(1)), worker(1));
    world.report((map(1), old(1)), Outcome::Committed);
    world.report((map(2), AttemptId { epoch, number: 1 }), Outcome::Committed);
    assert!(world.seals(Stage::Map));
}

#[test]
fn a_worker_that_dies_before_it_answers_is_not_waited_for() {
    let mut world = World::default();
    world.tell(Event::Registered { workers: vec![worker(1)] });
    world.tell(Event::Taken { job: JOB, epoch: Epoch(2), is_new: false });
    assert_eq!(world.asked, [Action::BePatient { job: JOB }]);
    world.tell(Event::Registered { workers: vec![] });
    assert_eq!(world.asked, [Action::Load { job: JOB }]);
}

#[test]
fn the_cap_on_workers_holds_and_frees_up() {
    let settings = Settings { requested_n_workers: Some(2), ..Settings::default() };
    let mut world = World::with_job(3, JobLoaded { settings, ..loaded(10, 1) });
    let first = world.offer(1).unwrap();
    world.offer(2).unwrap();
    assert_eq!(world.offer(3), None);
    world.report(first, Outcome::Committed);
    assert!(world.asked.contains(&Action::Invite { worker: worker(3) }), "a place is free again");
    assert!(world.offer(3).is_some());
    assert_eq!(world.offer(1), None);
}

#[test]
fn two_jobs_share_the_workers() {
    let mut world = World::with_job(4, loaded(10, 1));
    world.tell(Event::Taken { job: JobId(2), epoch: EPOCH, is_new: true });
    world.tell(Event::Loaded { job: JobId(2), epoch: EPOCH, loaded: loaded(10, 1) });
    let mut jobs = Vec::new();
    for n in 1..=4 {
        world.tell(Event::Offered { worker: worker(n), slot: 0, ahead: false });
        jobs.extend(world.asked.iter().filter_map(|action| match action {
            Action::Launch { job, .. } => Some(job.0),
            _ => None,
        }));
    }
    jobs.sort_unstable();
    assert_eq!(jobs, [1, 1, 2, 2]);
}

#[test]
fn a_worker_that_comes_back_is_heard_and_its_useless_attempts_stopped() {
    let mut world = World::with_job(2, loaded(1, 1));
    let (task, attempt) = world.offer(1).unwrap();
    world.tell(Event::Detached { worker: worker(1) });
    world.marker(task, None);
    let second = world.offer(2).unwrap();
    assert_eq!(second.0, task);
    world.tell(Event::Attached { worker: worker(1), n_slots: 1 });
    assert!(world.asked.contains(&Action::Query { worker: worker(1), job: JOB, epoch: EPOCH }));
    let attempts = vec![(task, attempt)];
    world.tell(Event::Answered { worker: worker(1), job: JOB, epoch: EPOCH, attempts: attempts.clone() });
    world.report(second, Outcome::Committed);
    assert!(world.asked.contains(&Action::Stop { worker: worker(1), job: JOB, attempts }));
}

#[test]
fn cancelling_stops_everything_and_nothing_is_launched_after_it() {
    let mut world = World::with_job(2, loaded(5, 1));
    let attempt = world.offer(1).unwrap();
    world.tell(Event::CancelWanted { job: JOB });
    assert_eq!(world.ending(), Some(&Ending::Cancelled));
    assert!(world.asked.contains(&Action::Stop { worker: worker(1), job: JOB, attempts: vec![attempt] }));
    assert_eq!(world.offer(2), None);
    world.tell(Event::CancelWanted { job: JOB });
    assert_eq!(world.ending(), None, "once is enough");
}

#[test]
fn an_attempt_that_lost_the_race_makes_the_owner_look_for_the_winner() {
    let mut world = World::with_job(1, loaded(1, 1));
    let (task, attempt) = world.offer(1).unwrap();
    world.report((task, attempt), Outcome::Superseded);
    assert!(world.reads_marker(task));
    assert_eq!(world.offer(1), None);
    let winner = Some(AttemptId { epoch: Epoch(0), number: 9 });
    world.marker(task, winner);
    assert!(world.seals(Stage::Map));
}

#[test]
fn what_an_earlier_epoch_asked_for_is_ignored() {
    let mut world = World::with_job(1, loaded(1, 1));
    let (task, _) = world.offer(1).unwrap();
    let winner = Some(AttemptId { epoch: Epoch(0), number: 1 });
    world.tell(Event::MarkerRead { job: JOB, epoch: Epoch(0), task, winner, failures: vec![], lost: vec![] });
    assert!(!world.seals(Stage::Map));
}

/// Of each launch, whether it said that the place behind it is welcome.
fn launched(asked: &[Action]) -> Vec<bool> {
    let more = asked.iter().filter_map(|action| match action {
        Action::Launch { more, .. } => Some(*more),
        _ => None,
    });
    more.collect()
}

#[test]
fn places_ahead_are_taken_while_more_tasks_wait_than_there_are_slots() {
    let mut world = World::with_job(2, loaded(5, 1));
    world.offer(1).unwrap();
    assert_eq!(launched(&world.asked), [true], "four wait for two slots");
    world.offer(2).unwrap();
    assert_eq!(launched(&world.asked), [true]);
    world.offer_place(1, true).unwrap();
    assert_eq!(launched(&world.asked), [false], "two wait, for the slot that is free first");
    assert_eq!(world.offer_place(2, true), None);
    assert_eq!(world.asked, [Action::Decline { worker: worker(2), slot: 0, ahead: true }]);
}

#[test]
fn a_free_slot_gets_back_what_waits_elsewhere() {
    let mut world = World::with_job(2, loaded(5, 1));
    let runs = world.offer(1).unwrap();
    let waits = world.offer_place(1, true).unwrap();
    for _ in 0..3 {
        let attempt = world.offer(2).unwrap();
        world.report(attempt, Outcome::Committed);
    }
    assert_eq!(world.offer(2), None);
    let recall = Action::Recall { worker: worker(1), job: JOB, attempts: vec![waits] };
    assert!(world.asked.contains(&recall), "{:?}", world.asked);
    assert_eq!(world.offer(2), None);
    assert!(!world.asked_for(|action| matches!(action, Action::Recall { .. })), "once is enough");

    world.report(waits, Outcome::Returned);
    assert!(world.asked.contains(&Action::Invite { worker: worker(2) }), "{:?}", world.asked);
    let again = world.offer(2).unwrap();
    assert_eq!((again.0, again.1.number), (waits.0, 2));
    world.report(again, Outcome::Committed);
    world.report(runs, Outcome::Committed);
    assert!(world.seals(Stage::Map));
}

#[test]
fn a_small_job_is_not_kept_out_by_places_ahead() {
    let mut world = World::with_job(1, loaded(9, 1));
    world.offer(1).unwrap();
    let small = JobId(2);
    world.tell(Event::Taken { job: small, epoch: EPOCH, is_new: true });
    world.tell(Event::Loaded { job: small, epoch: EPOCH, loaded: loaded(1, 1) });
    assert_eq!(world.offer_place(1, true), None, "the slot becomes free for it");
    world.offer(1);
    let launched = |action: &Action| matches!(action, Action::Launch { job, .. } if *job == small);
    assert!(world.asked_for(launched), "{:?}", world.asked);
}

#[test]
fn what_a_new_owner_adopts_may_wait_ahead() {
    let mut world = World::default();
    world.tell(Event::Attached { worker: worker(1), n_slots: 1 });
    world.tell(Event::Taken { job: JOB, epoch: Epoch(2), is_new: false });
    let attempts = vec![(map(0), AttemptId { epoch: EPOCH, number: 1 })];
    world.tell(Event::Answered { worker: worker(1), job: JOB, epoch: Epoch(2), attempts: attempts.clone() });
    world.tell(Event::Loaded { job: JOB, epoch: Epoch(2), loaded: loaded(1, 1) });
    world.tell(Event::Attached { worker: worker(2), n_slots: 1 });
    assert_eq!(world.offer(2), None);
    assert!(world.asked.contains(&Action::Recall { worker: worker(1), job: JOB, attempts }));
}
