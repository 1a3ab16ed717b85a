//! A cluster of two masters and two workers that are started with URLs, each with a log of its own.
#![allow(dead_code, reason = "not every test that includes this file uses all of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use mapreduce::{
    ClusterUrls,
    monitor::{self, Snapshot},
    native::Session,
};
use mapreduce_core::{Incarnation, JobId};
use mapreduce_storage::view::Outcome;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The processes end with it.
pub struct Cluster {
    processes: BTreeMap<u32, Child>,
    runtime: Runtime,
    /// What masters and workers are told.
    urls: ClusterUrls,
    /// What the test uses: another file with the same name and password.
    own_urls: ClusterUrls,
    directory: TempDir,
}

impl Cluster {
    /// Coordination is there, and all else in a directory of its own. Returns when all are registered.
    pub fn start(coordination: &str, lease_ms: u64) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let storage = format!("file://{}/storage", directory.path().display());
        let coordination = |auth: &Path| format!("{coordination}?auth={}", auth.display());
        Cluster::with(directory, coordination, storage, lease_ms)
    }

    /// Storage is there, and all else in a directory of its own. Returns when all are registered.
    pub fn on_storage(storage: String) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let coordination = format!("sqlite://{}/coordination", directory.path().display());
        Cluster::with(directory, |_| coordination.clone(), storage, 2000)
    }

    fn with(
        directory: TempDir,
        coordination: impl Fn(&Path) -> String,
        storage: String,
        lease_ms: u64,
    ) -> Cluster {
        let path = directory.path();
        for (name, content) in
            [("auth", "ada:secret"), ("own-auth", "ada:secret"), ("key", "a secret of masters and workers")]
        {
            fs::write(path.join(name), content).unwrap();
        }
        let urls = |auth| ClusterUrls {
            coordination: coordination(&path.join(auth)),
            storage: storage.clone(),
            users: format!("sqlite://{}/users", path.display()),
        };
        let mut cluster = Cluster {
            processes: BTreeMap::new(),
            runtime: Runtime::new().unwrap(),
            urls: urls("auth"),
            own_urls: urls("own-auth"),
            directory,
        };
        for role in ["master", "master", "worker", "worker"] {
            cluster.spawn(role, lease_ms);
        }
        cluster.until("all are registered", |seen| seen.masters.len() == 2 && seen.workers.len() == 2);
        cluster
    }

    fn spawn(&mut self, role: &str, lease_ms: u64) {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([role, "--coordination", &self.urls.coordination, "--storage", &self.urls.storage]);
        command.arg("--cluster-key-file").arg(self.directory().join("key"));
        command.arg("--lease-ms").arg(lease_ms.to_string()).env("MAPREDUCE_LOG", "info");
        match role {
            "master" => command.args(["--users", &self.urls.users]),
            _ => command.arg("--scratch").arg(self.directory()),
        };
        let log = self.directory().join("new-log");
        let file = fs::File::create(&log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        fs::rename(log, self.log(child.id())).unwrap();
        self.processes.insert(child.id(), child);
    }

    fn log(&self, pid: u32) -> PathBuf {
        self.directory().join(format!("{pid}.log"))
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn auth_file(&self) -> PathBuf {
        self.directory().join("auth")
    }

    pub fn session(&self) -> Arc<Session> {
        Arc::new(Session::connect(self.own_urls.clone(), "admin", "admin").unwrap())
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self, master: &Incarnation) {
        let seen = self.snapshot();
        let member = seen.masters.iter().find(|member| member.incarnation == *master).unwrap();
        let mut child = self.processes.remove(&member.pid).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn signal(&self, pid: u32, signal: Signal) {
        kill_process(Pid::from_child(&self.processes[&pid]), signal).unwrap();
    }

    fn snapshot(&self) -> Snapshot {
        self.runtime.block_on(monitor::snapshot(&self.own_urls)).unwrap()
    }

    /// Waits until what is seen of the cluster is so, and answers what was seen.
    pub fn until(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
        eventually(what, || Some(self.snapshot()).filter(&holds))
    }

    /// Waits until a living master owns the job, of whom `wanted` holds, and answers who it is.
    pub fn until_owned(&self, job: JobId, wanted: impl Fn(&Incarnation) -> bool) -> Incarnation {
        eventually("the job has an owner", || {
            let jobs = self.snapshot().jobs;
            let view = jobs.into_iter().find(|view| view.record.job == job)?;
            view.looked_after_by.filter(&wanted)
        })
    }

    /// Waits until so many of the job's map tasks are committed. It asks storage only.
    pub fn until_committed(&self, job: JobId, n: usize) {
        let path = format!("jobs/{job}/commits/map");
        eventually("the tasks are committed", || {
            let markers = self.runtime.block_on(monitor::tree(&self.own_urls, &path)).unwrap();
            (markers.len() >= n).then_some(())
        });
    }

    /// Waits until one line of the process's log holds all of this.
    pub fn until_logged(&self, pid: u32, parts: &[&str]) {
        eventually("it is logged", || {
            let log = fs::read_to_string(self.log(pid)).unwrap();
            log.lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
        });
    }

    /// Nothing ran twice: not what had finished, nor what ran when something died.
    pub fn check_each_task_ran_once(&self, job: JobId) {
        let attempts = self.runtime.block_on(monitor::attempts(&self.own_urls, job)).unwrap();
        let tasks: BTreeSet<_> = attempts.iter().map(|attempt| attempt.task).collect();
        assert_eq!(attempts.len(), tasks.len(), "{attempts:?}");
        assert!(attempts.iter().all(|attempt| attempt.outcome == Outcome::Committed), "{attempts:?}");
    }
}

/// A test that fails leaves no process behind, and shows what they said.
impl Drop for Cluster {
    fn drop(&mut self) {
        let pids: Vec<u32> = self.processes.keys().copied().collect();
        for child in self.processes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for log in pids.into_iter().map(|pid| self.log(pid)).filter(|_| thread::panicking()) {
            eprintln!("{}:\n{}", log.display(), fs::read_to_string(&log).unwrap_or_default());
        }
    }
}

/// Waits until something is found; much longer than it can take.
pub fn eventually<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    eventually_after(what, 2400, found)
}

/// The same for what takes longer, with so many looks.
pub fn eventually_after<T>(what: &str, n_looks: usize, mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..n_looks {
        if let Some(found) = found() {
            return found;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain: {what}");
}
