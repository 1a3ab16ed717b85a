//! What the tests of backends with servers do from outside: clients that count through whatever happens, and another
//! process that is stopped and killed. It is the test's binary again, running the test `other_process` as told by its
//! environment.
#![allow(dead_code, reason = "not every test that includes this file uses all of it")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use mapreduce_coordination::{CoordinationError, Coordinator, Entry, Lifetime, SessionOptions, open};
use mapreduce_core::{Incarnation, Role};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::watch, task::JoinSet, time::timeout};

pub type C = Arc<dyn Coordinator>;

/// A lease that is longer than any election takes.
pub const LONG: Duration = Duration::from_secs(40);
/// How long what must happen may take before it is said that it does not. Generous: other tests want the cores as well.
pub const PATIENCE: Duration = Duration::from_secs(180);
const URL: &str = "COORDINATION_TEST_URL";

pub fn session(lease: Duration) -> Option<SessionOptions> {
    static INCARNATIONS: AtomicU64 = AtomicU64::new(1);
    let process = u64::from(std::process::id()) << 16;
    let n = INCARNATIONS.fetch_add(1, Ordering::Relaxed);
    let incarnation = Incarnation::new(Role::Worker, process + n);
    Some(SessionOptions { incarnation, lease, watch_others: false })
}

pub async fn refusal(url: &str) -> String {
    open(url, None).await.unwrap_err().to_string()
}

pub async fn read(c: &C, path: &str) -> Entry {
    loop {
        match c.get(path).await {
            Ok(entry) => return entry.unwrap(),
            Err(CoordinationError::Unavailable { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Counts up in an entry of its own, until told to stop. Whatever the outcome of a write, what is read next must fit it.
async fn count(
    c: C,
    path: String,
    acknowledged: watch::Sender<u64>,
    stop: watch::Receiver<bool>,
) -> (u64, u64) {
    let mut version = c.create(&path, "0".into(), Lifetime::Durable).await.unwrap();
    let (mut n, mut n_ambiguous) = (0u64, 0);
    while !*stop.borrow() {
        match c.set(&path, (n + 1).to_string().into(), version).await {
            Ok(next) => {
                (n, version) = (n + 1, next);
                acknowledged.send_modify(|n| *n += 1);
            }
            Err(CoordinationError::Unavailable { .. }) => assert_eq!(read(&c, &path).await.version, version),
            Err(CoordinationError::Ambiguous { .. }) => {
                n_ambiguous += 1;
                let Entry { value, version: found } = read(&c, &path).await;
                let expected = if found == version { n } else { n + 1 };
                assert_eq!(value, Bytes::from(expected.to_string()));
                (n, version) = (expected, found);
            }
            Err(other) => panic!("{other}"),
        }
    }
    (n, n_ambiguous)
}

/// Several counters, from several sessions, while `disturb` does its worst. Nothing acknowledged is lost, and no
/// session.
pub async fn count_through(url: &str, disturb: impl AsyncFnOnce(&mut watch::Receiver<u64>)) -> u64 {
    let (acknowledged, mut progress) = watch::channel(0);
    let (stop, stopped) = watch::channel(false);
    let mut counters = JoinSet::new();
    let mut all = vec![];
    for n in 0..4 {
        let c = open(url, session(LONG)).await.unwrap();
        let version = c.create(&format!("/here/{n}"), "".into(), Lifetime::Session).await.unwrap();
        all.push((c.clone(), version));
        let (path, acknowledged, stopped) = (format!("/counters/{n}"), acknowledged.clone(), stopped.clone());
        counters.spawn(async move { (n, count(c, path, acknowledged, stopped).await) });
    }
    let reader = open(url, None).await.unwrap();
    let mut changes = reader.watch("/");
    more(&mut progress).await;
    disturb(&mut progress).await;
    more(&mut progress).await;
    // Whoever watches still hears of every write, and not only of connections that come and go.
    let now = *changes.borrow();
    timeout(PATIENCE, changes.wait_for(|n| *n >= now + 100)).await.unwrap().unwrap();
    stop.send_replace(true);
    let mut n_ambiguous = 0;
    while let Some(done) = counters.join_next().await {
        let (n, (counted, ambiguous)) = done.unwrap();
        n_ambiguous += ambiguous;
        let found = reader.get(&format!("/counters/{n}")).await.unwrap().unwrap();
        assert_eq!(found.value, Bytes::from(counted.to_string()));
    }
    for (n, (c, version)) in all.iter().enumerate() {
        assert!(!*c.session_lost().borrow());
        assert_eq!(reader.get(&format!("/here/{n}")).await.unwrap().unwrap().version, *version);
        c.close().await;
    }
    assert_eq!(reader.children("/here").await.unwrap(), [""; 0]);
    n_ambiguous
}

/// Waits until a hundred more writes were acknowledged.
pub async fn more(progress: &mut watch::Receiver<u64>) {
    let now = *progress.borrow();
    timeout(PATIENCE, progress.wait_for(|n| *n >= now + 100)).await.unwrap().unwrap();
}

/// What the other process does: opens a session, registers, says "ready", and obeys its standard input.
pub fn other_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let c = runtime.block_on(open(&url, session(Duration::from_secs(1)))).unwrap();
    let write =
        |path: &str, lifetime| runtime.block_on(c.create(path, Bytes::new(), lifetime)).map(|_| "done");
    write("/workers/other", Lifetime::Session).unwrap();
    println!("\nready");
    for order in std::io::stdin().lines() {
        match order.unwrap().as_str() {
            "write" => println!("{:?}", write("/jobs/late", Lifetime::Durable)),
            "await loss" => {
                let mut lost = c.session_lost();
                runtime.block_on(async { lost.wait_for(|lost| *lost).await.map(|_| ()) }).unwrap();
                println!("lost");
            }
            other => panic!("unknown order {other:?}"),
        }
    }
}

pub struct Other {
    process: Child,
    orders: ChildStdin,
    answers: std::io::Lines<BufReader<ChildStdout>>,
}

impl Other {
    pub fn start(url: &str) -> Other {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["other_process", "--exact", "--nocapture"])
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(answers.any(|line| line.unwrap() == "ready"), "it ended early");
        Other { process, orders, answers }
    }

    pub fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.answers.next().unwrap().unwrap()
    }
}

/// A test that fails leaves no process behind.
impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits, by the watch alone, until there are so many.
pub async fn until_workers(c: &C, n: usize) {
    let mut watch = c.watch("/workers");
    loop {
        watch.borrow_and_update();
        if c.children("/workers").await.unwrap().len() == n {
            return;
        }
        watch.changed().await.unwrap();
    }
}

/// A process that is stopped loses its session, and does no harm when it wakes. One that is killed is missed.
pub async fn stop_and_kill_a_process(url: &str) {
    let c = open(url, session(LONG)).await.unwrap();
    let mut stopped = Other::start(url);
    until_workers(&c, 1).await;
    kill_process(Pid::from_child(&stopped.process), Signal::STOP).unwrap();
    until_workers(&c, 0).await;
    kill_process(Pid::from_child(&stopped.process), Signal::CONT).unwrap();
    // The connection may break first, and that says nothing. All the same nothing is written.
    loop {
        let outcome = stopped.order("write");
        if outcome == "Err(SessionLost)" {
            break;
        }
        assert!(["Err(Ambiguous", "Err(Unavailable"].iter().any(|e| outcome.starts_with(e)), "{outcome}");
    }
    assert_eq!(stopped.order("await loss"), "lost");
    assert_eq!(c.get("/jobs/late").await, Ok(None));

    let killed = Other::start(url);
    until_workers(&c, 1).await;
    drop(killed);
    until_workers(&c, 0).await;
}
