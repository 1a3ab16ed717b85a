//! The typed records, over a store whose writes are now and then of unknown outcome.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, their helpers too, fail by panicking"
)]

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_coordination::{
    CoordinationError, Coordinator, Entry, Lifetime, Version,
    memory::MemoryStore,
    records::{self, Member, RecordError},
};
use mapreduce_core::{Epoch, Incarnation, JobId, JobPhase, JobRecord, Persisted, Role};
use proptest::prelude::*;
use tokio::{sync::watch, task::JoinSet};

/// How one write goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// It takes no effect and says that it doesn't know.
    Before,
    /// It takes effect and says that it doesn't know.
    After,
    /// As `After`, and somebody else then changes the entry.
    Overtaken,
}
use Fault::{After, Before, None as Fine, Overtaken};

/// A store whose next writes go as planned; those after the plan go well.
#[derive(Debug)]
struct Flaky {
    inner: Arc<dyn Coordinator>,
    plan: Mutex<Vec<Fault>>,
}

impl Flaky {
    fn new(inner: Arc<dyn Coordinator>, plan: &[Fault]) -> Flaky {
        Flaky { inner, plan: Mutex::new(plan.iter().rev().copied().collect()) }
    }

    async fn faulty<T>(
        &self,
        path: &str,
        write: impl Future<Output = Result<T, CoordinationError>>,
    ) -> Result<T, CoordinationError> {
        let fault = self.plan.lock().unwrap().pop().unwrap_or(Fine);
        if fault != Before {
            let outcome = write.await;
            if fault == Fine || outcome.is_err() {
                return outcome;
            }
        }
        if fault == Overtaken {
            let version = self.inner.get(path).await?.unwrap().version;
            self.inner.set(path, "somebody else's".into(), version).await?;
        }
        Err(CoordinationError::Ambiguous { path: path.to_owned(), why: format!("{fault:?}") })
    }
}

#[async_trait]
impl Coordinator for Flaky {
    async fn create(
        &self,
        path: &str,
        value: Bytes,
        lifetime: Lifetime,
    ) -> Result<Version, CoordinationError> {
        self.faulty(path, self.inner.create(path, value, lifetime)).await
    }
    async fn get(&self, path: &str) -> Result<Option<Entry>, CoordinationError> {
        self.inner.get(path).await
    }
    async fn set(&self, path: &str, value: Bytes, expected: Version) -> Result<Version, CoordinationError> {
        self.faulty(path, self.inner.set(path, value, expected)).await
    }
    async fn delete(&self, path: &str, expected: Version) -> Result<(), CoordinationError> {
        self.faulty(path, self.inner.delete(path, expected)).await
    }
    async fn children(&self, parent: &str) -> Result<Vec<String>, CoordinationError> {
        self.inner.children(parent).await
    }
    fn watch(&self, parent: &str) -> watch::Receiver<u64> {
        self.inner.watch(parent)
    }
    fn session_lost(&self) -> watch::Receiver<bool> {
        self.inner.session_lost()
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}

fn record(job: u64, owner: u64, epoch: u64) -> JobRecord {
    JobRecord {
        job: JobId(job),
        user: "ada".into(),
        owner: Some(Incarnation::new(Role::Master, owner)),
        epoch: Epoch(epoch),
        phase: JobPhase::Map,
        cancel: false,
        requested_n_workers: Some(2),
        submitted_at_ms: 1,
    }
}

fn member(n: u64) -> Member {
    let incarnation = Incarnation::new(Role::Worker, n);
    Member {
        incarnation,
        address: None,
        pid: 7,
        pid_started: 8,
        host: "h".into(),
        n_slots: 2,
        started_at_ms: 9,
    }
}

fn store() -> Arc<dyn Coordinator> {
    MemoryStore::default().open(None).unwrap()
}

/// Every way in which three writes in a row can go.
fn plans() -> Vec<[Fault; 3]> {
    let faults = [Fine, Before, After];
    let pairs = faults.iter().flat_map(|a| faults.iter().map(move |b| (*a, *b)));
    pairs.flat_map(|(a, b)| faults.map(|c| [a, b, c])).collect()
}

#[tokio::test]
async fn whatever_is_doubtful_is_settled() {
    for plan in plans() {
        let inner = MemoryStore::default();
        let flaky = || Flaky::new(inner.open(None).unwrap(), &plan);

        let created = records::create_job(&flaky(), &record(1, 1, 1)).await.unwrap();
        let old = records::job(&flaky(), JobId(1)).await.unwrap().unwrap();
        assert_eq!(old, (record(1, 1, 1), created), "{plan:?}");

        let taken = record(1, 2, 2);
        let updated = records::update_job(&flaky(), &old, &taken).await.unwrap();
        assert_eq!(records::job(&flaky(), JobId(1)).await.unwrap(), Some((taken, updated)), "{plan:?}");

        records::delete_job(&flaky(), JobId(1), updated).await.unwrap();
        assert_eq!(records::job(&flaky(), JobId(1)).await.unwrap(), None, "{plan:?}");
    }
}

#[tokio::test]
async fn who_was_overtaken_hears_of_it() {
    let inner = store();
    let flaky = |fault| Flaky::new(inner.clone(), &[fault]);
    let conflict = RecordError::Coordination(CoordinationError::Conflict { path: "/jobs/job_1".into() });
    let taken = RecordError::Coordination(CoordinationError::AlreadyExists { path: "/jobs/job_1".into() });
    assert_eq!(records::create_job(&flaky(Overtaken), &record(1, 1, 1)).await, Err(taken.clone()));
    assert_eq!(records::create_job(&flaky(Before), &record(1, 1, 1)).await, Err(taken));

    let old = (record(2, 1, 1), records::create_job(&*inner, &record(2, 1, 1)).await.unwrap());
    let conflict2 = RecordError::Coordination(CoordinationError::Conflict { path: "/jobs/job_2".into() });
    assert_eq!(records::update_job(&flaky(Overtaken), &old, &record(2, 2, 2)).await, Err(conflict2));
    assert_eq!(records::delete_job(&flaky(Before), JobId(1), Version(0)).await, Err(conflict));
}

#[tokio::test]
async fn doubt_that_does_not_end_is_passed_on() {
    let flaky = Flaky::new(store(), &[Before; 99]);
    let error = records::create_job(&flaky, &record(1, 1, 1)).await.unwrap_err();
    assert!(matches!(error, RecordError::Coordination(CoordinationError::Ambiguous { .. })), "{error}");
}

#[tokio::test]
async fn two_masters_take_a_job_once() {
    let c = store();
    records::create_job(&*c, &record(1, 1, 1)).await.unwrap();
    let old = records::job(&*c, JobId(1)).await.unwrap().unwrap();
    records::update_job(&*c, &old, &record(1, 2, 2)).await.unwrap();
    let late = records::update_job(&*c, &old, &record(1, 3, 2)).await;
    assert!(matches!(late, Err(RecordError::Coordination(CoordinationError::Conflict { .. }))), "{late:?}");
}

#[tokio::test]
async fn a_forbidden_step_is_not_written() {
    let c = store();
    records::create_job(&*c, &record(1, 1, 1)).await.unwrap();
    let old = records::job(&*c, JobId(1)).await.unwrap().unwrap();
    let stolen = records::update_job(&*c, &old, &record(1, 2, 1)).await;
    assert!(
        matches!(&stolen, Err(RecordError::Forbidden { path, .. }) if path == "/jobs/job_1"),
        "{stolen:?}"
    );
    assert_eq!(records::job(&*c, JobId(1)).await.unwrap(), Some(old));
}

#[tokio::test]
async fn job_ids_are_given_once() {
    let store = MemoryStore::default();
    let mut tasks = JoinSet::new();
    for plan in plans() {
        let flaky = Flaky::new(store.open(None).unwrap(), &plan);
        tasks.spawn(async move {
            let mut ids = vec![];
            for _ in 0..5 {
                ids.push(records::next_job_id(&flaky).await.unwrap());
            }
            ids
        });
    }
    let mut given = BTreeSet::new();
    while let Some(ids) = tasks.join_next().await {
        for id in ids.unwrap() {
            assert!(given.insert(id), "{id} was given twice");
        }
    }
    assert_eq!((given.len(), given.contains(&JobId(0))), (27 * 5, false));
}

#[tokio::test]
async fn jobs_are_listed_by_number() {
    let c = store();
    for n in [10, 9, 2, 100] {
        records::create_job(&*c, &record(n, 1, 1)).await.unwrap();
    }
    let numbers: Vec<u64> =
        records::jobs(&*c).await.unwrap().iter().map(|(record, _)| record.job.0).collect();
    assert_eq!(numbers, [2, 9, 10, 100]);
}

#[tokio::test]
async fn members_are_there_as_long_as_they_live() {
    let (store, plan) = (MemoryStore::default(), [After]);
    for n in [1, 2] {
        let own = store.open(Some(Incarnation::new(Role::Worker, n))).unwrap();
        records::register(&Flaky::new(own, &plan), &member(n)).await.unwrap();
    }
    let c = store.open(None).unwrap();
    assert_eq!(records::members(&*c, Role::Worker).await.unwrap(), [member(1), member(2)]);
    assert_eq!(records::members(&*c, Role::Master).await.unwrap(), []);
    store.end_session(&member(1).incarnation);
    assert_eq!(records::members(&*c, Role::Worker).await.unwrap(), [member(2)]);
    assert_eq!(records::incarnations(&*c, Role::Worker).await.unwrap(), [member(2).incarnation]);
    assert!(!records::is_alive(&*c, &member(1).incarnation).await.unwrap());
    assert!(records::is_alive(&*c, &member(2).incarnation).await.unwrap());
}

#[tokio::test]
async fn a_foreign_entry_is_named() {
    let c = store();
    c.create("/jobs/job_1", "garbage".into(), Lifetime::Durable).await.unwrap();
    let error = records::job(&*c, JobId(1)).await.unwrap_err().to_string();
    assert!(error.contains("/jobs/job_1"), "{error}");
    c.create("/workers/somebody", "garbage".into(), Lifetime::Durable).await.unwrap();
    let error = records::incarnations(&*c, Role::Worker).await.unwrap_err().to_string();
    assert!(error.contains("/workers/somebody"), "{error}");
}

#[test]
fn a_process_is_told_from_a_later_one() {
    let own = records::process_start_ticks(std::process::id()).unwrap();
    let parent = records::process_start_ticks(std::os::unix::process::parent_id()).unwrap();
    assert!(own >= parent && own > 0);
    assert!(records::process_start_ticks(u32::MAX).is_err());
}

proptest! {
    #[test]
    fn members_read_what_they_write(
        random: u64, address: Option<String>, pid: u32, pid_started: u64, host: String, n_slots: u32, started_at_ms: u64,
    ) {
        let incarnation = Incarnation::new(Role::Master, random);
        let member = Member { incarnation, address, pid, pid_started, host, n_slots, started_at_ms };
        prop_assert_eq!(Member::decode(&member.encode()), Ok(member));
    }
}
