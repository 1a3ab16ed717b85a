//! The SQLite backend among real processes that are killed and stopped. The other processes are this test
//! binary again, running the test `other_process` as told by its environment.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, their helpers too, fail by panicking"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use mapreduce_coordination::{Coordinator, Lifetime, SessionOptions, open};
use mapreduce_core::{Incarnation, Role};
use rustix::process::{Pid, Signal, kill_process};

/// Short, so that tests are; the machine may be slow as it likes, since only looks are counted.
const LEASE: Duration = Duration::from_millis(400);
const URL: &str = "COORDINATION_TEST_URL";
const NUMBER: &str = "COORDINATION_TEST_NUMBER";

fn url(directory: &Path) -> String {
    format!("sqlite://{}", directory.display())
}

async fn master(directory: &Path) -> Arc<dyn Coordinator> {
    let incarnation = Incarnation::new(Role::Master, 1);
    open(&url(directory), Some(SessionOptions { incarnation, lease: LEASE, watch_others: true }))
        .await
        .unwrap()
}

/// What the other process does: opens a session, registers, says "ready", and obeys its standard input. It
/// ends with it, so that nothing is left behind by a test that fails.
#[test]
fn other_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let number: u64 = std::env::var(NUMBER).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let incarnation = Incarnation::new(Role::Worker, number);
    let session = SessionOptions { incarnation, lease: LEASE, watch_others: false };
    let c = runtime.block_on(open(&url, Some(session))).unwrap_or_else(|e| panic!("{number}: {e}"));
    let write =
        |path: &str, lifetime| runtime.block_on(c.create(path, Bytes::new(), lifetime)).map(|_| "done");
    let path = format!("/workers/{number}");
    write(&path, Lifetime::Session).unwrap();
    println!("\nready");
    let mut orders = std::io::stdin().lines();
    while let Some(order) = orders.next() {
        match order.unwrap().as_str() {
            "write" => println!("{:?}", write("/jobs/late", Lifetime::Durable)),
            "await loss" => {
                let mut lost = c.session_lost();
                runtime.block_on(async { lost.wait_for(|lost| *lost).await.map(|_| ()) }).unwrap();
                println!("lost");
            }
            "stop while writing" => {
                let file = format!("{}/coordination.db", url.strip_prefix("sqlite://").unwrap());
                let db = rusqlite::Connection::open(file).unwrap();
                db.execute_batch("BEGIN IMMEDIATE").unwrap();
                println!("stopping");
                kill_process(rustix::process::getpid(), Signal::STOP).unwrap();
                // The signal may take a moment: stay in the transaction.
                orders.next();
                println!("{:?}", db.execute_batch("COMMIT"));
            }
            other => panic!("unknown order {other:?}"),
        }
    }
}

struct Other {
    process: Child,
    orders: Option<ChildStdin>,
    answers: std::io::Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(directory: &Path, number: u64) -> Other {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["other_process", "--exact", "--nocapture"])
            .env(URL, url(directory))
            .env(NUMBER, number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Other { process, orders, answers }
    }

    fn ready(directory: &Path, number: u64) -> Other {
        let mut other = Other::start(directory, number);
        other.await_ready();
        other
    }

    /// Skips what the test harness prints first.
    fn await_ready(&mut self) {
        assert!(self.answers.any(|line| line.unwrap() == "ready"), "it ended early");
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        self.answers.next().unwrap().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Waits, by the watch alone, until just these workers are registered.
async fn until_workers(c: &dyn Coordinator, expected: &[&str]) {
    let mut watch = c.watch("/workers");
    loop {
        watch.borrow_and_update();
        // Not `children`, which would look for the dead by itself.
        let mut alive = vec![];
        for n in 1..=9 {
            alive.extend(c.get(&format!("/workers/{n}")).await.unwrap().map(|_| n.to_string()));
        }
        if alive == expected {
            return;
        }
        watch.changed().await.unwrap();
    }
}

fn session_files(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory.join("sessions")).unwrap();
    let mut names: Vec<String> = files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const MASTER_FILE: &str = "master-000000000001.lock";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_noticed_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let master = master(directory.path()).await;
    let (one, two) = (Other::ready(directory.path(), 1), Other::ready(directory.path(), 2));
    until_workers(&*master, &["1", "2"]).await;
    one.kill();
    until_workers(&*master, &["2"]).await;
    assert_eq!(session_files(directory.path()), [MASTER_FILE, "worker-000000000002.lock"]);
    two.kill();
    until_workers(&*master, &[]).await;
    assert_eq!(session_files(directory.path()), [MASTER_FILE]);
    master.close().await;
    assert_eq!(session_files(directory.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_are_seen_as_such_with_no_master_alive() {
    let directory = tempfile::tempdir().unwrap();
    let monitor = open(&url(directory.path()), None).await.unwrap();
    let (one, two) = (Other::ready(directory.path(), 1), Other::ready(directory.path(), 2));
    assert_eq!(monitor.children("/workers").await.unwrap(), ["1", "2"]);
    one.kill();
    assert_eq!(monitor.children("/workers").await.unwrap(), ["2"]);
    two.kill();
    let later = open(&url(directory.path()), None).await.unwrap();
    assert_eq!(later.get("/workers/2").await, Ok(None), "opening looks, too");
    assert_eq!(session_files(directory.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_loses_its_session_and_does_no_harm_when_it_wakes() {
    let directory = tempfile::tempdir().unwrap();
    let master = master(directory.path()).await;
    let mut stopped = Other::ready(directory.path(), 1);
    let _busy = Other::ready(directory.path(), 2);
    until_workers(&*master, &["1", "2"]).await;
    stopped.signal(Signal::STOP);
    until_workers(&*master, &["2"]).await;
    stopped.signal(Signal::CONT);
    assert_eq!(stopped.order("write"), "Err(SessionLost)");
    assert_eq!(stopped.order("await loss"), "lost");
    assert_eq!(master.get("/jobs/late").await, Ok(None));
    assert_eq!(session_files(directory.path()), [MASTER_FILE, "worker-000000000002.lock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopped_in_the_middle_of_a_write_blocks_nobody_for_long() {
    let directory = tempfile::tempdir().unwrap();
    let master = master(directory.path()).await;
    let mut stopped = Other::ready(directory.path(), 1);
    assert_eq!(stopped.order("stop while writing"), "stopping");
    until_workers(&*master, &[]).await;
    assert_eq!(stopped.process.wait().unwrap().signal(), Some(9));
    master.create("/jobs/1", Bytes::new(), Lifetime::Durable).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_directories_do_not_disturb_each_other() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (master_here, master_there) = (master(here.path()).await, master(there.path()).await);
    let (worker_here, worker_there) = (Other::ready(here.path(), 1), Other::ready(there.path(), 1));
    worker_here.kill();
    until_workers(&*master_here, &[]).await;
    assert_eq!(master_there.children("/workers").await.unwrap(), ["1"]);
    assert!(!*master_there.session_lost().borrow());
    worker_there.kill();
    until_workers(&*master_there, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_make_the_store_at_one_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("not/there yet");
    let mut others: Vec<Other> = (1..=8).map(|n| Other::start(&store, n)).collect();
    others.iter_mut().for_each(Other::await_ready);
    let monitor = open(&url(&store), None).await.unwrap();
    assert_eq!(monitor.children("/workers").await.unwrap(), ["1", "2", "3", "4", "5", "6", "7", "8"]);
    others.into_iter().for_each(Other::kill);
    assert!(monitor.children("/workers").await.unwrap().is_empty());
}
