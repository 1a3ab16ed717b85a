//! The one suite that every backend passes: what [`Coordinator`] promises.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, their helpers too, fail by panicking"
)]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_coordination::{
    CoordinationError, Coordinator, Lifetime, SessionOptions, Version, memory::MemoryStore, open, probe,
};
use mapreduce_core::{Incarnation, Role};
use mapreduce_servers as servers;
use tempfile::TempDir;
use tokio::task::JoinSet;

type C = Arc<dyn Coordinator>;

/// A store that several processes could share.
#[async_trait]
trait Backend: Send + Sync {
    async fn try_open(&self, session: Option<Incarnation>) -> Result<C, CoordinationError>;
    async fn open(&self, session: Option<Incarnation>) -> C {
        self.try_open(session).await.unwrap()
    }
    async fn open_several(&self, n: usize) -> Vec<C> {
        let mut opened = vec![];
        for _ in 0..n {
            opened.push(self.open(None).await);
        }
        opened
    }
    /// Ends a session as the death of its process would. `c` is its only handle.
    fn kill(&self, incarnation: &Incarnation, c: C);
}

struct Sqlite {
    directory: TempDir,
}
#[async_trait]
impl Backend for Sqlite {
    async fn try_open(&self, session: Option<Incarnation>) -> Result<C, CoordinationError> {
        let url = format!("sqlite://{}", self.directory.path().display());
        let lease = Duration::from_secs(2);
        let options = session.map(|incarnation| SessionOptions { incarnation, lease, watch_others: true });
        open(&url, options).await
    }
    fn kill(&self, _: &Incarnation, c: C) {
        assert_eq!(Arc::strong_count(&c), 1);
        drop(c);
    }
}

struct Memory {
    store: MemoryStore,
}
#[async_trait]
impl Backend for Memory {
    async fn try_open(&self, session: Option<Incarnation>) -> Result<C, CoordinationError> {
        self.store.open(session)
    }
    fn kill(&self, incarnation: &Incarnation, _: C) {
        self.store.end_session(incarnation);
    }
}

/// A path of its own for each test; one server for all of them, which ends with this process.
struct Remote {
    url: String,
}
impl Remote {
    fn zookeeper() -> Remote {
        static SERVER: OnceLock<servers::zookeeper::Servers> = OnceLock::new();
        static PATHS: AtomicU32 = AtomicU32::new(0);
        let server = SERVER.get_or_init(|| servers::zookeeper::Servers::start(1));
        Remote { url: server.url(&format!("/test/{}", PATHS.fetch_add(1, Ordering::Relaxed))) }
    }
    fn etcd() -> Remote {
        static SERVER: OnceLock<servers::etcd::Servers> = OnceLock::new();
        static PATHS: AtomicU32 = AtomicU32::new(0);
        let server = SERVER.get_or_init(|| servers::etcd::Servers::start(1));
        Remote { url: server.url(&format!("/test/{}", PATHS.fetch_add(1, Ordering::Relaxed))) }
    }
}
#[async_trait]
impl Backend for Remote {
    async fn try_open(&self, session: Option<Incarnation>) -> Result<C, CoordinationError> {
        // Nobody here waits for its end, and the machine may be slow.
        let lease = Duration::from_secs(30);
        let options = session.map(|incarnation| SessionOptions { incarnation, lease, watch_others: true });
        open(&self.url, options).await
    }
    /// With its last handle the session ends at once; `tests/zookeeper.rs` and `tests/etcd.rs` wait for real deaths.
    fn kill(&self, _: &Incarnation, c: C) {
        assert_eq!(Arc::strong_count(&c), 1);
        drop(c);
    }
}

macro_rules! suite {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(&super::Sqlite { directory: tempfile::tempdir().unwrap() }).await;
            })*
        }
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(&super::Memory { store: super::MemoryStore::default() }).await;
            })*
        }
        mod zookeeper {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(&super::Remote::zookeeper()).await;
            })*
        }
        mod etcd {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(&super::Remote::etcd()).await;
            })*
        }
    };
}
suite! {
    a_store_that_keeps_the_rules_passes_the_probe
    what_was_written_is_read
    one_of_64_contenders_creates
    set_and_delete_only_at_the_expected_version
    an_entry_made_again_has_another_version
    a_write_to_an_old_life_does_not_change_the_new_one
    a_counter_loses_no_increment
    a_read_never_goes_back
    children_are_direct_and_sorted
    ephemeral_entries_go_when_the_session_is_closed
    ephemeral_entries_go_when_the_process_dies
    durable_entries_outlive_everybody
    no_write_after_the_end_of_the_session
    an_incarnation_has_one_session
    ephemeral_entries_need_a_session
    watches_wake_for_own_and_others_changes
    a_watch_of_a_directory_wakes_for_every_kind_of_change
}

fn worker(n: u64) -> Incarnation {
    Incarnation::new(Role::Worker, n)
}

async fn create(c: &C, path: &str, value: &'static str) -> Result<Version, CoordinationError> {
    c.create(path, Bytes::from(value), Lifetime::Durable).await
}

async fn value(c: &C, path: &str) -> Option<Bytes> {
    c.get(path).await.unwrap().map(|entry| entry.value)
}

/// Waits, by the watch alone, until `condition` holds.
async fn until<F: Future<Output = bool>>(c: &C, condition: impl Fn() -> F) {
    until_in(c, "/", condition).await;
}

/// The same by a watch of the directory `parent`.
async fn until_in<F: Future<Output = bool>>(c: &C, parent: &str, condition: impl Fn() -> F) {
    let mut watch = c.watch(parent);
    loop {
        watch.borrow_and_update();
        if condition().await {
            return;
        }
        watch.changed().await.unwrap();
    }
}

async fn a_store_that_keeps_the_rules_passes_the_probe(b: &dyn Backend) {
    let c = b.open(Some(worker(1))).await;
    probe(&*c).await.unwrap();
    assert_eq!(c.children("").await.unwrap(), [""; 0]);
}

async fn what_was_written_is_read(b: &dyn Backend) {
    let (one, other) = (b.open(None).await, b.open(None).await);
    assert_eq!(one.get("/a/x").await, Ok(None));
    let first = create(&one, "/a/x", "1").await.unwrap();
    let entry = other.get("/a/x").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.version), (Bytes::from("1"), first));
    let second = other.set("/a/x", Bytes::from_static(b"\0\xff"), first).await.unwrap();
    let entry = one.get("/a/x").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.version), (Bytes::from_static(b"\0\xff"), second));
    one.delete("/a/x", second).await.unwrap();
    assert_eq!(other.get("/a/x").await, Ok(None));
}

async fn one_of_64_contenders_creates(b: &dyn Backend) {
    let processes: Vec<C> = b.open_several(8).await;
    let mut contenders = JoinSet::new();
    for n in 0..64 {
        let c = processes[n % processes.len()].clone();
        contenders.spawn(async move { (n, c.create("/a/x", n.to_string().into(), Lifetime::Durable).await) });
    }
    let (mut winners, mut losers) = (vec![], 0);
    while let Some(done) = contenders.join_next().await {
        match done.unwrap() {
            (n, Ok(_)) => winners.push(n),
            (_, Err(CoordinationError::AlreadyExists { path })) if path == "/a/x" => losers += 1,
            (n, other) => panic!("contender {n}: {other:?}"),
        }
    }
    assert_eq!((winners.len(), losers), (1, 63));
    assert_eq!(value(&b.open(None).await, "/a/x").await, Some(winners[0].to_string().into()));
}

async fn set_and_delete_only_at_the_expected_version(b: &dyn Backend) {
    let c = b.open(None).await;
    let conflict = CoordinationError::Conflict { path: "/a/x".into() };
    let first = create(&c, "/a/x", "1").await.unwrap();
    let second = c.set("/a/x", "2".into(), first).await.unwrap();
    assert_eq!(c.set("/a/x", "3".into(), first).await, Err(conflict.clone()));
    assert_eq!(c.delete("/a/x", first).await, Err(conflict.clone()));
    assert_eq!(value(&c, "/a/x").await, Some("2".into()));
    assert_eq!(c.delete("/a/x", second).await, Ok(()));
    assert_eq!(c.set("/a/x", "3".into(), second).await, Err(conflict.clone()));
    assert_eq!(c.delete("/a/x", second).await, Err(conflict));
}

async fn an_entry_made_again_has_another_version(b: &dyn Backend) {
    let c = b.open(None).await;
    let mut versions = BTreeSet::new();
    for n in 0..20 {
        let path = format!("/a/{}", n % 2);
        let made = create(&c, &path, "same").await.unwrap();
        let changed = c.set(&path, "same".into(), made).await.unwrap();
        assert!(
            versions.insert(made) && versions.insert(changed),
            "version used twice: {made:?} {changed:?}"
        );
        c.delete(&path, changed).await.unwrap();
    }
}

/// One makes and removes an entry over and over, others mark the life that they have read of.
async fn a_write_to_an_old_life_does_not_change_the_new_one(b: &dyn Backend) {
    let maker = b.open(None).await;
    let mut markers = JoinSet::new();
    for c in b.open_several(3).await {
        markers.spawn(async move {
            let mut n_marked = 0;
            while n_marked < 10 {
                let Some(entry) = c.get("/a/x").await.unwrap() else { continue };
                let marked = Bytes::from([&entry.value[..], b"!"].concat());
                match c.set("/a/x", marked, entry.version).await {
                    Ok(_) => n_marked += 1,
                    Err(CoordinationError::Conflict { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    let mut life = 0;
    while !markers.is_empty() {
        life += 1;
        let made = format!("{life}:");
        let mut version = maker.create("/a/x", made.clone().into(), Lifetime::Durable).await.unwrap();
        // Time for the others to read of it.
        maker.get("/a/x").await.unwrap();
        while maker.delete("/a/x", version).await.is_err() {
            let entry = maker.get("/a/x").await.unwrap().unwrap();
            assert!(entry.value.starts_with(made.as_bytes()), "life {life}: {:?}", entry.value);
            version = entry.version;
        }
        while let Some(done) = markers.try_join_next() {
            done.unwrap();
        }
    }
}

async fn a_counter_loses_no_increment(b: &dyn Backend) {
    let processes: Vec<C> = b.open_several(4).await;
    create(&processes[0], "/counters/n", "0").await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let c = processes[n % processes.len()].clone();
        tasks.spawn(async move {
            let mut done = 0;
            while done < 10 {
                let entry = c.get("/counters/n").await.unwrap().unwrap();
                let n: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                match c.set("/counters/n", (n + 1).to_string().into(), entry.version).await {
                    Ok(_) => done += 1,
                    Err(CoordinationError::Conflict { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(value(&processes[0], "/counters/n").await, Some("160".into()));
}

/// What one process has written, every other reads from then on.
async fn a_read_never_goes_back(b: &dyn Backend) {
    let (writer, reader) = (b.open(None).await, b.open(None).await);
    let mut version = create(&writer, "/a/x", "0").await.unwrap();
    for n in 1..50u64 {
        version = writer.set("/a/x", n.to_string().into(), version).await.unwrap();
        assert_eq!(reader.get("/a/x").await.unwrap().unwrap().version, version);
    }
}

async fn children_are_direct_and_sorted(b: &dyn Backend) {
    let c = b.open(None).await;
    for path in ["/a/job_9", "/a/job_10", "/a/job_1", "/ab/x", "/a/job_1/deeper", "/a0/x", "/a/é", "/a/%_"] {
        create(&c, path, "").await.unwrap();
    }
    assert_eq!(c.children("/a").await.unwrap(), ["%_", "job_1", "job_10", "job_9", "é"]);
    assert_eq!(c.children("/a/job_1").await.unwrap(), ["deeper"]);
    assert!(c.children("/nothing").await.unwrap().is_empty());
}

async fn ephemeral_entries_go_when_the_session_is_closed(b: &dyn Backend) {
    let (own, other) = (b.open(Some(worker(1))).await, b.open(None).await);
    own.create("/workers/1", "here".into(), Lifetime::Session).await.unwrap();
    let version = own.create("/workers/1b", "here".into(), Lifetime::Session).await.unwrap();
    own.set("/workers/1b", "still here".into(), version).await.unwrap();
    assert_eq!(other.children("/workers").await.unwrap(), ["1", "1b"]);
    assert!(!*own.session_lost().borrow());
    own.close().await;
    assert_eq!(other.get("/workers/1").await, Ok(None));
    assert_eq!(other.children("/workers").await.unwrap(), [""; 0]);
    assert!(*own.session_lost().borrow());
}

async fn ephemeral_entries_go_when_the_process_dies(b: &dyn Backend) {
    let (own, watching, other) =
        (b.open(Some(worker(1))).await, b.open(Some(worker(2))).await, b.open(None).await);
    own.create("/workers/1", "here".into(), Lifetime::Session).await.unwrap();
    watching.create("/workers/2", "here".into(), Lifetime::Session).await.unwrap();
    b.kill(&worker(1), own);
    until(&watching, || async { watching.get("/workers/1").await == Ok(None) }).await;
    assert_eq!(other.children("/workers").await.unwrap(), ["2"], "only the dead one's entries go");
    assert!(!*watching.session_lost().borrow());
}

async fn durable_entries_outlive_everybody(b: &dyn Backend) {
    let (closed, killed) = (b.open(Some(worker(1))).await, b.open(Some(worker(2))).await);
    create(&closed, "/jobs/1", "a").await.unwrap();
    create(&killed, "/jobs/2", "b").await.unwrap();
    closed.close().await;
    b.kill(&worker(2), killed);
    drop(closed);
    let later = b.open(None).await;
    assert_eq!(later.children("/jobs").await.unwrap(), ["1", "2"]);
    assert_eq!(value(&later, "/jobs/2").await, Some("b".into()));
}

async fn no_write_after_the_end_of_the_session(b: &dyn Backend) {
    let (own, other) = (b.open(Some(worker(1))).await, b.open(None).await);
    let version = create(&own, "/jobs/1", "mine").await.unwrap();
    own.close().await;
    assert_eq!(create(&own, "/jobs/2", "").await, Err(CoordinationError::SessionLost));
    assert_eq!(own.set("/jobs/1", "again".into(), version).await, Err(CoordinationError::SessionLost));
    assert_eq!(own.delete("/jobs/1", version).await, Err(CoordinationError::SessionLost));
    let late = own.create("/workers/1", "".into(), Lifetime::Session).await;
    assert_eq!(late, Err(CoordinationError::SessionLost));
    assert_eq!(other.children("/jobs").await.unwrap(), ["1"]);
    assert_eq!(other.children("/workers").await.unwrap(), [""; 0]);
    assert_eq!(other.get("/jobs/1").await.unwrap().unwrap().version, version);
    own.close().await;
}

async fn an_incarnation_has_one_session(b: &dyn Backend) {
    let own = b.open(Some(worker(1))).await;
    assert!(b.try_open(Some(worker(1))).await.is_err());
    create(&own, "/a/x", "unharmed").await.unwrap();
}

async fn ephemeral_entries_need_a_session(b: &dyn Backend) {
    let refused = b.open(None).await.create("/workers/1", "".into(), Lifetime::Session).await.unwrap_err();
    assert!(refused.to_string().contains("/workers/1 would live with a session"), "{refused}");
}

/// Few entries and many, and as many as before: whoever watches may count them.
async fn a_watch_of_a_directory_wakes_for_every_kind_of_change(b: &dyn Backend) {
    let (one, other) = (b.open(None).await, b.open(None).await);
    // What is watched all the time is not seen for the first time each time.
    let _watched = [one.watch("/a"), one.watch("/b")];
    let mut version = create(&other, "/a/0", "made").await.unwrap();
    for n in 1..120u32 {
        create(&other, &format!("/a/{n}"), "").await.unwrap();
        if !n.is_multiple_of(40) && n != 1 {
            continue;
        }
        let change = tokio::spawn({
            let (other, old) = (other.clone(), version);
            async move { other.set("/a/0", Bytes::from(n.to_string()), old).await.unwrap() }
        });
        until_in(&one, "/a", || async { value(&one, "/a/0").await == Some(n.to_string().into()) }).await;
        version = change.await.unwrap();
    }
    let name = |n: u32| if n.is_multiple_of(2) { "/b/even" } else { "/b/odd" };
    let mut version = create(&other, name(0), "").await.unwrap();
    for n in 0..4 {
        let move_it = tokio::spawn({
            let (other, old) = (other.clone(), version);
            async move {
                other.delete(name(n), old).await.unwrap();
                create(&other, name(n + 1), "").await.unwrap()
            }
        });
        until_in(&one, "/b", || async { value(&one, name(n + 1)).await.is_some() }).await;
        version = move_it.await.unwrap();
    }
    let remove = tokio::spawn(async move { other.delete(name(4), version).await.unwrap() });
    until_in(&one, "/b", || async { value(&one, name(4)).await.is_none() }).await;
    remove.await.unwrap();
}

async fn watches_wake_for_own_and_others_changes(b: &dyn Backend) {
    let (one, other) = (b.open(None).await, b.open(None).await);
    for (n, writer) in [&one, &other, &one].into_iter().enumerate() {
        let path = format!("/a/{n}");
        let made = tokio::spawn({
            let (writer, path) = (writer.clone(), path.clone());
            async move { create(&writer, &path, "").await.unwrap() }
        });
        until(&one, || async { value(&one, &path).await.is_some() }).await;
        until(&other, || async { value(&other, &path).await.is_some() }).await;
        made.await.unwrap();
    }
}
