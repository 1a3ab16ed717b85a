//! What people see of a job, for every way a task can stand.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use mapreduce_core::{
    AttemptEnd, Epoch, Failure, FailureKind, HistoryEvent, Incarnation, JobPhase, JobRecord, Plan, Progress,
    Role, TaskId,
};
use mapreduce_storage::{
    commit, create, open, paths,
    view::{Facts, JobView, Outcome, TaskState, TaskView, attempts, job_view, load, load_attempts},
};

fn owner() -> Incarnation {
    Incarnation::new(Role::Master, 1)
}

fn record(phase: JobPhase) -> JobRecord {
    JobRecord {
        job: JOB,
        user: "admin".into(),
        owner: Some(owner()),
        epoch: Epoch(1),
        phase,
        cancel: false,
        requested_n_workers: None,
        submitted_at_ms: 0,
    }
}

fn plan(n_splits: u64, n_partitions: u32) -> Plan {
    Plan { n_splits: n_splits as u32, n_partitions }
}

fn facts(events: Vec<HistoryEvent>) -> Facts {
    Facts { plan: Some(plan(1, 1)), history: vec![history(1, 0, events)], ..Facts::default() }
}

/// Worker 1 and the owner are alive, worker 2 is dead.
fn live() -> BTreeSet<Incarnation> {
    [owner(), worker(1)].into()
}

fn see(phase: JobPhase, facts: &Facts) -> JobView {
    job_view(record(phase), facts, &live())
}

fn first(phase: JobPhase, facts: &Facts) -> TaskView {
    see(phase, facts).tasks[0].clone()
}

fn seen(state: TaskState, about: Option<(u32, u64)>, attempts: u32) -> TaskView {
    TaskView {
        task: map(0),
        state,
        worker: about.map(|(_, n)| worker(n)),
        attempt: about.map(|(number, _)| attempt(1, number)),
        attempts,
    }
}

fn launch(number: u32, on: u64) -> HistoryEvent {
    launched(map(0), attempt(1, number), worker(on))
}

fn end(number: u32, end: AttemptEnd) -> HistoryEvent {
    ended(map(0), attempt(1, number), end)
}

#[test]
fn a_task_waits_until_it_is_launched_and_runs_while_its_worker_lives() {
    assert_eq!(first(JobPhase::Map, &facts(vec![])), seen(TaskState::Waiting, None, 0));
    assert_eq!(first(JobPhase::Map, &facts(vec![launch(1, 1)])), seen(TaskState::Running, Some((1, 1)), 1));
}

#[test]
fn a_task_is_lost_from_its_workers_death_to_its_next_launch() {
    let dead = facts(vec![launch(1, 2)]);
    assert_eq!(first(JobPhase::Map, &dead), seen(TaskState::Lost, Some((1, 2)), 1));
    let noted = facts(vec![launch(1, 2), end(1, AttemptEnd::Lost)]);
    assert_eq!(first(JobPhase::Map, &noted), seen(TaskState::Lost, Some((1, 2)), 1));
    let again = facts(vec![launch(1, 2), end(1, AttemptEnd::Lost), launch(2, 1)]);
    assert_eq!(first(JobPhase::Map, &again), seen(TaskState::Running, Some((2, 1)), 2));
}

#[test]
fn an_adopted_attempt_runs_and_is_counted_once() {
    let adopted =
        HistoryEvent::Adopted { task: map(0), attempt: attempt(1, 1), worker: worker(1), at_ms: 15 };
    assert_eq!(
        first(JobPhase::Map, &facts(vec![launch(1, 1), adopted])),
        seen(TaskState::Running, Some((1, 1)), 1)
    );
}

#[test]
fn a_marker_is_the_end_whatever_the_history_says() {
    for events in [
        vec![launch(1, 2)],
        vec![launch(1, 2), end(1, AttemptEnd::Lost)],
        vec![launch(1, 2), end(1, AttemptEnd::Lost), launch(2, 1)],
    ] {
        let launches = if events.len() == 3 { 2 } else { 1 };
        let mut facts = facts(events);
        facts.markers = BTreeMap::from([(map(0), marker(map(0), attempt(1, 1)))]);
        assert_eq!(first(JobPhase::Map, &facts), seen(TaskState::Committed, Some((1, 1)), launches));
        let audit = attempts(&facts.history, &facts.markers, &facts.failures);
        assert_eq!((audit[0].outcome, audit[0].ended_at_ms), (Outcome::Committed, Some(200)));
    }
}

#[test]
fn a_failed_attempt_waits_for_the_next_unless_the_job_has_failed() {
    // The worker wrote the failure; the owner had no time to note the end.
    let mut facts = facts(vec![launch(1, 1)]);
    facts.failures = BTreeMap::from([(map(0), vec![failure(map(0), attempt(1, 1))])]);
    assert_eq!(first(JobPhase::Map, &facts), seen(TaskState::Waiting, None, 1));
    assert_eq!(first(JobPhase::Failed, &facts), seen(TaskState::Failed, Some((1, 1)), 1));
    assert_eq!(see(JobPhase::Failed, &facts).failures, 1);
    let audit = attempts(&facts.history, &facts.markers, &facts.failures);
    assert_eq!((audit[0].outcome, audit[0].ended_at_ms), (Outcome::Failed, Some(300)));
}

#[test]
fn nothing_runs_or_is_lost_in_a_job_that_has_ended() {
    for events in [vec![launch(1, 1)], vec![launch(1, 2)], vec![launch(1, 1), end(1, AttemptEnd::Stopped)]] {
        assert_eq!(first(JobPhase::Cancelled, &facts(events)), seen(TaskState::Waiting, None, 1));
    }
}

#[test]
fn the_audit_keeps_every_attempt_in_the_order_of_launches() {
    let events = vec![
        launch(1, 2),
        launch(2, 1),
        end(1, AttemptEnd::Lost),
        end(2, AttemptEnd::Superseded),
        launched(reduce(0), attempt(1, 1), worker(1)),
    ];
    let audit = attempts(&[history(1, 0, events)], &BTreeMap::new(), &BTreeMap::new());
    let seen: Vec<(TaskId, u32, Outcome, Option<u64>)> =
        audit.iter().map(|a| (a.task, a.attempt.number, a.outcome, a.ended_at_ms)).collect();
    let expected = [
        (map(0), 1, Outcome::Lost, Some(20)),
        (map(0), 2, Outcome::Superseded, Some(20)),
        (reduce(0), 1, Outcome::Running, None),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_audit_knows_no_attempt_that_its_owner_could_not_send() {
    let owned = |read| HistoryEvent::Owned { owner: owner(), read: Some(read), at_ms: 10 };
    let late = launched(map(0), attempt(1, 1), worker(1));
    let objects = [
        history(1, 0, vec![owned(vec![])]),
        history(1, 1, vec![late]),
        history(2, 0, vec![owned(vec![(Epoch(1), 0)]), launched(map(0), attempt(2, 1), worker(2))]),
    ];
    let audit = attempts(&objects, &BTreeMap::new(), &BTreeMap::new());
    assert_eq!(audit.iter().map(|a| a.attempt).collect::<Vec<_>>(), [attempt(2, 1)]);
}

#[test]
fn a_job_without_a_plan_or_a_live_owner_is_shown_too() {
    let view = job_view(record(JobPhase::Map), &Facts::default(), &BTreeSet::new());
    assert_eq!((view.tasks.len(), view.looked_after_by, view.progress), (0, None, Progress::default()));
    assert_eq!(see(JobPhase::Map, &Facts::default()).looked_after_by, Some(owner()));
}

#[tokio::test]
async fn the_view_is_read_from_storage_alone() {
    let store = open("memory:///").unwrap();
    let empty = load(&store, record(JobPhase::Map), &live()).await.unwrap();
    assert!(empty.tasks.is_empty());

    create(&store, &paths::plan(JOB), &plan(3, 2)).await.unwrap();
    let launches = (0..3).map(|n| launched(map(n), attempt(1, 1), worker(u64::from(n) % 2 + 1))).collect();
    create(&store, &paths::history(JOB, Epoch(1), 0), &history(1, 0, launches)).await.unwrap();
    commit(&store, JOB, &marker(map(2), attempt(1, 1))).await.unwrap();

    let view = load(&store, record(JobPhase::Map), &live()).await.unwrap();
    let states: Vec<TaskState> = view.tasks.iter().map(|task| task.state).collect();
    use TaskState::{Committed, Lost, Running, Waiting};
    assert_eq!(states, [Running, Lost, Committed, Waiting, Waiting]);
    let progress = Progress { map_done: 1, map_total: 3, reduce_done: 0, reduce_total: 2 };
    assert_eq!(view.progress, progress);
    assert_eq!(load_attempts(&store, JOB).await.unwrap().len(), 3);

    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["tasks"][1]["state"], "lost");
    assert_eq!(json["tasks"][1]["worker"], worker(2).as_str());
    assert_eq!(json["looked_after_by"], owner().as_str());
}

#[test]
fn a_job_tells_why_the_disk_keeps_it_waiting_until_it_goes_on() {
    let full = |number| Failure {
        what: FailureKind::Storage,
        message: "the disk is full".into(),
        ..failure(map(0), attempt(1, number))
    };
    let fell =
        |failures: Vec<Failure>, events| Facts { failures: [(map(0), failures)].into(), ..facts(events) };
    let waits = fell(vec![full(1)], vec![launch(1, 1), end(1, AttemptEnd::Failed)]);
    let trouble = see(JobPhase::Map, &waits).trouble.unwrap();
    assert_eq!(trouble, format!("map/0 on {}: the disk is full", worker(1)));
    assert_eq!(see(JobPhase::Cancelled, &waits).trouble, None);
    let tried_again = fell(vec![full(1)], vec![launch(1, 1), end(1, AttemptEnd::Failed), launch(2, 1)]);
    assert_eq!(see(JobPhase::Map, &tried_again).trouble, None);
    let of_its_own = vec![full(1), failure(map(0), attempt(1, 2))];
    let other = fell(of_its_own, vec![launch(1, 1), launch(2, 1), end(2, AttemptEnd::Failed)]);
    assert_eq!(see(JobPhase::Map, &other).trouble, None);
}
