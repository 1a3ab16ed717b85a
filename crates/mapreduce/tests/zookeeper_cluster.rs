//! A cluster whose masters and workers are started by hand and meet in a real ZooKeeper; its owner is killed in the
//! middle of a job. The program is its own executor, so it has no test harness.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

#[path = "../../coordination/tests/support/zookeeper.rs"]
mod zookeeper_servers;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::Duration,
};

use mapreduce::{
    ClusterUrls,
    monitor::{self, Snapshot},
    native::{Done, Emit, Input, Job, Mapper, NoCombiner, Record, Session, Sum, UserError},
};
use mapreduce_core::Incarnation;
use mapreduce_storage::view::Outcome;
use tokio::runtime::Runtime;
use zookeeper_servers::Servers;

/// More than that gives figures for the documentation: how many transactions a job costs.
const N_TASKS: &str = "ZOOKEEPER_TEST_TASKS";

#[derive(Clone, Default)]
struct Words;

impl Mapper for Words {
    type Key = String;
    type Value = u64;

    fn map(&mut self, record: Record<'_>, emit: &mut Emit<'_, String, u64>) -> Result<(), UserError> {
        emit.emit(record.text()?, 1);
        Ok(())
    }
}

/// Masters and workers; a test that fails leaves none behind.
struct Processes(BTreeMap<u32, Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.0.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Processes {
    fn start(&mut self, role: &str, urls: &ClusterUrls, key: &Path, directory: &Path) {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([role, "--coordination", &urls.coordination, "--storage", &urls.storage]);
        command.arg("--cluster-key-file").arg(key);
        match role {
            "master" => command.args(["--users", &urls.users]),
            _ => command.arg("--scratch").arg(directory),
        };
        let child = command.spawn().unwrap();
        self.0.insert(child.id(), child);
    }

    fn kill(&mut self, seen: &Snapshot, master: Option<&Incarnation>) {
        let member = seen.masters.iter().find(|member| Some(&member.incarnation) == master).unwrap();
        let mut child = self.0.remove(&member.pid).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn main() {
    let job = Job::new(Words, Sum::new()).serve_if_asked();
    let directory = tempfile::tempdir().unwrap();
    let servers = Servers::start(1);
    let text = |name: &str, content: &str| {
        let file = directory.path().join(name);
        fs::write(&file, content).unwrap();
        file
    };
    let auth = text("auth", "ada:secret");
    let urls = ClusterUrls {
        coordination: format!("{}?auth={}", servers.url("/mapreduce"), auth.display()),
        storage: format!("file://{}/storage", directory.path().display()),
        users: format!("sqlite://{}/users", directory.path().display()),
    };
    let key = text("key", "a secret of masters and workers");
    let mut processes = Processes(BTreeMap::new());
    for role in ["master", "master", "worker", "worker"] {
        processes.start(role, &urls, &key, directory.path());
    }
    let n_tasks = env::var(N_TASKS).map_or(100, |n| n.parse().unwrap());
    let scene = Scene {
        job,
        runtime: Runtime::new().unwrap(),
        urls,
        n_tasks,
        directory: directory.path().to_owned(),
    };
    scene.until("all are registered", |seen| seen.masters.len() == 2 && seen.workers.len() == 2);
    scene.a_job_costs_few_transactions(&servers);
    scene.a_job_survives_its_owner(&mut processes);
}

struct Scene {
    job: Job<Words, NoCombiner, Sum<String>>,
    runtime: Runtime,
    urls: ClusterUrls,
    n_tasks: usize,
    directory: PathBuf,
}

impl Scene {
    fn words(&self) -> String {
        (0..self.n_tasks).map(|n| format!("word {:09}\n", n % 7)).collect()
    }

    /// As many map tasks as there are words.
    fn input(&self) -> Input {
        let (words, file) = (self.words(), self.directory.join("words.txt"));
        fs::write(&file, &words).unwrap();
        Input::text([file.display().to_string()]).split_bytes((words.len() / self.n_tasks) as u64)
    }

    fn session(&self) -> Session {
        Session::connect(self.urls.clone(), "admin", "admin").unwrap()
    }

    fn check(&self, done: &Done<'_, String, u64>) {
        let counted: BTreeMap<String, u64> = done.results().unwrap().map(Result::unwrap).collect();
        let mut expected = BTreeMap::new();
        for word in self.words().lines() {
            *expected.entry(word.to_owned()).or_insert(0) += 1;
        }
        assert_eq!(counted, expected);
    }

    fn a_job_costs_few_transactions(&self, servers: &Servers) {
        let before = servers.transactions(0);
        let session = self.session();
        let done = self.job.run(&session, self.input(), None).unwrap();
        let n = servers.transactions(0) - before;
        println!("{} map tasks: {n} transactions of ZooKeeper", self.n_tasks);
        assert!(n < 300, "{n}");
        self.check(&done);
    }

    fn a_job_survives_its_owner(&self, processes: &mut Processes) {
        let session = self.session();
        let done = thread::scope(|scope| {
            let running = scope.spawn(|| self.job.run(&session, self.input(), None).unwrap());
            let mut owner = None;
            self.until("a quarter is done, and somebody owns the rest", |seen| {
                let Some(job) = seen.jobs.iter().find(|job| !job.record.phase.is_terminal()) else {
                    return false;
                };
                owner = job.looked_after_by.clone();
                owner.is_some() && job.progress.map_done as usize > self.n_tasks / 4
            });
            processes.kill(&self.snapshot(), owner.as_ref());
            running.join().unwrap()
        });
        self.check(&done);
        let attempts = self.runtime.block_on(monitor::attempts(&self.urls, done.job())).unwrap();
        let committed = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Committed);
        let tasks: BTreeSet<_> = attempts.iter().map(|attempt| attempt.task).collect();
        assert_eq!(committed.count(), tasks.len(), "each task is committed once");
        let again = attempts.len() - tasks.len();
        assert!(
            again <= 2,
            "{again} attempts too many: nothing finished runs again, and two ran at the kill"
        );
    }

    fn snapshot(&self) -> Snapshot {
        self.runtime.block_on(monitor::snapshot(&self.urls)).unwrap()
    }

    fn until(&self, what: &str, mut holds: impl FnMut(&Snapshot) -> bool) {
        for _ in 0..2400 {
            if holds(&self.snapshot()) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("waited in vain: {what}");
    }
}
