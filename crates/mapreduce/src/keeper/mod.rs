//! The keeper: the parent of a local cluster's masters and workers, `mapreduce keeper` on the command line.
//!
//! It exists so that nothing is ever left behind. It has a session of its own (a terminal's Ctrl-C does not
//! reach the cluster), starts and reaps the processes, and ends them all when it is asked to, when the client
//! that started it goes away in whatever manner (unless the cluster is to outlive it), or when it ends itself:
//! a child gets a death signal from the kernel. Descendants whose parent died become the keeper's own children,
//! so that it can find them.
//!
//! ```text
//! client ──starts──► keeper ──starts──► masters, workers ──► executors
//!        ◄─stdout── the cluster's directory, or why not: one line
//!        ──stdin──► nothing; when it closes, the client is gone
//!        ◄─socket─► protocol::{Request, Reply}; other clients too
//! ```

mod children;
pub(crate) mod lock;
pub(crate) mod protocol;
mod server;
mod state;

use std::{
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use mapreduce_core::Role;
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

pub use self::state::key_file;
use self::{children::Children, lock::DirectoryLock, protocol::Reply, state::State};
use crate::{
    BadDirectory, Stores,
    home::{HomeError, Registration, RunningCluster},
    urls::TEMPORARY,
};

/// How long a keeper that is ending may take until another one says that the directory is in use.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What a cluster's processes are told; the one argument of `mapreduce keeper`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperOptions {
    /// The cluster's directory, absolute; none: a new one that is removed at the end.
    pub directory: Option<PathBuf>,
    /// Which of its stores are not in the directory; all are, or those of an earlier cluster there, if it names none.
    #[serde(default)]
    pub stores: Stores,
    /// Where masters look up users.
    pub users: String,
    /// Slots of each worker.
    pub slots_per_worker: u32,
    /// After how long a silent process is taken for dead.
    pub lease_ms: u64,
    /// How long a worker that is told to go lets its tasks run.
    pub grace_ms: u64,
    /// Most memory that one task's process may take, in bytes; none: a share of the machine's.
    pub memory_bytes_max: Option<u64>,
    /// Whether the cluster outlives the client that started it.
    pub keep_alive: bool,
    /// The interpreter for executors of Python jobs.
    pub python: Option<PathBuf>,
    /// Log more, and to standard error instead of files.
    pub verbose: bool,
}

/// Why a keeper can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// There is one already.
    #[error("a cluster runs in {directory} already (keeper {pid}): attach to it, or shut it down first",
        directory = directory.display())]
    Running {
        /// The directory.
        directory: PathBuf,
        /// The process that holds its lock.
        pid: u32,
    },
    /// It is what is left of a cluster whose state was not to outlive it.
    #[error("{directory} is another cluster's temporary directory: what is in it was never synced; give another, or remove it",
        directory = directory.display())]
    Temporary {
        /// The directory.
        directory: PathBuf,
    },
    /// The cluster that was there has its stores elsewhere.
    #[error("the cluster in {directory} keeps coordination and storage in {} and {}, not in {} and {}: leave them out \
        to carry it on, or give another directory", shown(&there.coordination), shown(&there.storage),
        shown(&wanted.coordination), shown(&wanted.storage), directory = directory.display())]
    OtherStores {
        /// The directory.
        directory: PathBuf,
        /// Where they are.
        there: Box<Stores>,
        /// Where they should be.
        wanted: Box<Stores>,
    },
    /// It can't be told where the stores are.
    #[error(transparent)]
    Directory(#[from] BadDirectory),
    /// Its entry in the registry can't be made.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What it was asked for.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

/// A store's URL, for people.
fn shown(url: &Option<String>) -> &str {
    url.as_deref().unwrap_or("the directory")
}

fn system<S: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(S) -> KeeperError {
    move |source| KeeperError::System { what: what.into(), source: source.into() }
}

/// A keeper that is ready to serve. The order of fields is the order in which they go.
struct Keeper {
    options: KeeperOptions,
    children: Children,
    listener: UnixListener,
    registration: Registration,
    state: State,
    lock: DirectoryLock,
    cluster: RunningCluster,
}

/// Runs a keeper until its cluster is shut down. Must be called on the process's main thread, and owns the
/// process: it reaps every child and ends every descendant.
pub fn run(options: KeeperOptions) -> Result<(), KeeperError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("can't start the keeper's event loop"))?;
    runtime.block_on(async {
        let started = Keeper::start(options);
        let first_line = match &started {
            Ok(keeper) => Reply::Cluster(keeper.cluster.clone()),
            Err(e) => Reply::Refused(e.to_string()),
        };
        let told = tell_client(&first_line);
        let keeper = started?;
        // A client that is gone already is noticed by its standard input.
        if let Err(e) = told {
            tracing::warn!("the client did not wait for the cluster to start: {e}");
        }
        keeper.serve().await
    })
}

fn tell_client(first_line: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(first_line)?;
    line.push(b'\n');
    io::stdout().write_all(&line)?;
    io::stdout().flush()
}

impl Keeper {
    fn start(options: KeeperOptions) -> Result<Keeper, KeeperError> {
        // Fails for a process that leads its group, as one started by hand does; that one may keep its terminal.
        let _ = rustix::process::setsid();
        let state = State::prepare(options.directory.as_deref(), options.keep_alive)?;
        let directory = state.directory().to_owned();
        let lock = match patiently_lock(&directory).map_err(system("can't lock the directory"))? {
            Some(lock) => lock,
            None => {
                let pid = lock::holder(&directory).map_err(system("can't read the directory's lock"))?;
                return Err(KeeperError::Running { directory, pid: pid.unwrap_or_default() });
            }
        };
        if options.directory.is_some() && directory.join(TEMPORARY).exists() {
            return Err(KeeperError::Temporary { directory });
        }
        state.set_stores(&options.stores)?;
        state.create_key()?;
        let logs = state.create_logs()?;
        if !options.verbose {
            let log =
                std::fs::File::create(logs.join("keeper.log")).map_err(system("can't make keeper.log"))?;
            rustix::stdio::dup2_stderr(log.as_fd()).map_err(system("can't redirect standard error"))?;
        }
        let children =
            Children::new((!options.verbose).then_some(logs)).map_err(system("can't be a parent"))?;
        let listener = protocol::listen(&directory).map_err(system("can't listen for clients"))?;
        // One that was made for several machines has users of its own.
        let users = Stores::of(&directory)?.users.unwrap_or_else(|| options.users.clone());
        let cluster =
            RunningCluster { directory, users, keeper_pid: std::process::id(), grace_ms: options.grace_ms };
        let registration = Registration::new(&cluster)?;
        Ok(Keeper { options, children, listener, registration, state, lock, cluster })
    }

    /// The command line of a master or worker; of a worker, if there will be so many in all.
    fn command(&self, role: Role, n_workers: u32) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role.name()).arg("--directory").arg(&self.cluster.directory);
        command.arg("--lease-ms").arg(self.options.lease_ms.to_string());
        match role {
            Role::Master => {
                command.arg("--users").arg(&self.cluster.users);
            }
            Role::Worker => {
                let slots = self.options.slots_per_worker;
                command.arg("--slots").arg(slots.to_string());
                command.arg("--machine-slots").arg(slots.saturating_mul(n_workers).to_string());
                command.arg("--grace-ms").arg(self.options.grace_ms.to_string());
                if let Some(python) = &self.options.python {
                    command.arg("--python").arg(python);
                }
                if let Some(bytes) = self.options.memory_bytes_max {
                    command.arg("--memory-bytes-max").arg(bytes.to_string());
                }
            }
        }
        if self.options.verbose {
            command.env("MAPREDUCE_LOG", "info");
        }
        // Executors run what users wrote; credentials are not for them.
        command.env_remove("MAPREDUCE_PASSWORD");
        Ok(command)
    }

    /// Ends everything and takes away what must not stay.
    async fn end(mut self, grace: Duration, cleanup: bool) -> Result<(), KeeperError> {
        self.children.end_all(grace).await.map_err(system("can't end the cluster's processes"))?;
        drop(self.listener);
        drop(self.registration);
        let removed = self.state.remove(cleanup);
        drop(self.lock);
        removed
    }
}

/// Takes the directory's lock. Who starts a script again just after killing it finds the keeper of the first run
/// at its end.
fn patiently_lock(directory: &Path) -> io::Result<Option<DirectoryLock>> {
    let start = Instant::now();
    loop {
        let lock = DirectoryLock::take(directory)?;
        if lock.is_some() || start.elapsed() >= LOCK_PATIENCE {
            return Ok(lock);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// Removes what a killed keeper left in `directory`, as it would have done at its shutdown; nothing if another
/// one is there by now.
pub(crate) fn remove_leftovers(directory: &Path, temporary: bool, cleanup: bool) -> Result<(), KeeperError> {
    if !directory.exists() {
        return Ok(());
    }
    let state = State::existing(directory, temporary);
    match DirectoryLock::take(directory).map_err(system("can't lock the directory"))? {
        Some(_lock) => state.remove(cleanup),
        None => Ok(()),
    }
}
