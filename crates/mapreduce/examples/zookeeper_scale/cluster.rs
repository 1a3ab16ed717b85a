//! Masters and workers as processes, each started as a person does by hand.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mapreduce::{ClusterUrls, monitor, native::UserError};
use mapreduce_coordination::{Coordinator, records};
use mapreduce_core::{JobId, Role};
use mapreduce_storage::view::AttemptView;
use tokio::runtime::Runtime;

use crate::usage::Usage;

/// The longest that the ZooKeeper of the tests grants: two hundred processes that begin at once get little of each core.
const LEASE_MS: &str = "4000";
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(100);

/// The processes end with it.
pub struct Cluster {
    masters: Vec<Child>,
    workers: Vec<Child>,
    directory: PathBuf,
    urls: ClusterUrls,
    runtime: Runtime,
}

impl Cluster {
    /// Returns when all are registered.
    pub fn start(
        directory: &Path,
        coordination: &str,
        n_masters: usize,
        n_workers: usize,
    ) -> Result<Cluster, UserError> {
        fs::write(directory.join("key"), "a secret of masters and workers")?;
        let urls = ClusterUrls {
            coordination: coordination.to_owned(),
            storage: format!("file://{}/storage?sync=no", directory.display()),
            users: format!("sqlite://{}/users", directory.display()),
        };
        let directory = directory.to_owned();
        let (masters, workers) = (Vec::new(), Vec::new());
        let mut cluster = Cluster { masters, workers, directory, urls, runtime: Runtime::new()? };
        for _ in 0..n_masters {
            let users = cluster.urls.users.clone();
            let master = cluster.spawn("master", &["--users", &users])?;
            cluster.masters.push(master);
        }
        let (scratch, slots) = (cluster.directory.display().to_string(), n_workers.to_string());
        for _ in 0..n_workers {
            let worker = cluster.spawn("worker", &["--scratch", &scratch, "--machine-slots", &slots])?;
            cluster.workers.push(worker);
        }
        wait_until(|| {
            cluster.ask(async |c| {
                let masters = records::incarnations(c, Role::Master).await?.len();
                Ok((masters, records::incarnations(c, Role::Worker).await?.len()) == (n_masters, n_workers))
            })
        })?;
        Ok(cluster)
    }

    fn spawn(&self, role: &str, arguments: &[&str]) -> Result<Child, UserError> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.directory.join(role))?;
        let mut command = Command::new(env::current_exe()?);
        command.args([role, "--coordination", &self.urls.coordination, "--storage", &self.urls.storage]);
        command.arg("--cluster-key-file").arg(self.directory.join("key")).args(arguments);
        command.args(["--lease-ms", LEASE_MS]);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?)
    }

    /// What a client is told.
    pub fn urls(&self) -> &ClusterUrls {
        &self.urls
    }

    /// How many map tasks are committed: it counts the names, and opens nothing.
    pub fn n_committed(&self, job: JobId) -> Result<usize, UserError> {
        let markers = self.directory.join(format!("storage/jobs/{job}/commits/map"));
        Ok(if markers.exists() { fs::read_dir(markers)?.count() } else { 0 })
    }

    /// SIGKILL to the job's owner; answers what it had taken by then, and when that was, in milliseconds since 1970.
    pub fn kill_owner(&mut self, job: JobId) -> Result<(Usage, u64), UserError> {
        let pid = self.ask(async |c| {
            let owner = records::job(c, job).await?.and_then(|(record, _)| record.owner);
            let masters = records::members(c, Role::Master).await?;
            let owner = masters.into_iter().find(|master| Some(&master.incarnation) == owner.as_ref());
            Ok(owner.ok_or("nobody owns the job")?.pid)
        })?;
        let at = self.masters.iter().position(|child| child.id() == pid).ok_or("the owner is a stranger")?;
        let usage = Usage::of(pid)?;
        let killed_at_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        self.masters[at].kill()?;
        self.masters[at].wait()?;
        drop(self.masters.swap_remove(at));
        Ok((usage, killed_at_ms))
    }

    /// Every attempt that was ever launched.
    pub fn attempts(&self, job: JobId) -> Result<Vec<AttemptView>, UserError> {
        Ok(self.runtime.block_on(monitor::attempts(&self.urls, job))?)
    }

    /// What the living masters take.
    pub fn masters(&self) -> Result<Vec<Usage>, UserError> {
        self.masters.iter().map(|child| Usage::of(child.id())).collect()
    }

    /// What each worker takes, with its executors.
    pub fn workers(&self) -> Result<Vec<Usage>, UserError> {
        self.workers.iter().map(|child| Usage::of_family(child.id())).collect()
    }

    fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&dyn Coordinator) -> Result<T, UserError>,
    ) -> Result<T, UserError> {
        self.runtime.block_on(async {
            let coordinator = mapreduce_coordination::open(&self.urls.coordination, None).await?;
            let answer = question(&*coordinator).await;
            coordinator.close().await;
            answer
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.masters.iter_mut().chain(&mut self.workers) {
            let _ = child.kill();
        }
        for child in self.masters.iter_mut().chain(&mut self.workers) {
            let _ = child.wait();
        }
    }
}

/// Returns when it holds.
pub fn wait_until(mut holds: impl FnMut() -> Result<bool, UserError>) -> Result<(), UserError> {
    while !holds()? {
        sleep(PAUSE);
    }
    Ok(())
}
