//! What a local cluster is made of.

use std::path::PathBuf;

use super::ClusterError;

/// How to start a local cluster; [`LocalOptions::default`] suits most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// Where its state is; a cluster that was shut down there is carried on. None: a new temporary directory,
    /// removed at the end.
    pub directory: Option<PathBuf>,
    /// Who is alive and who owns which job, if not in the directory, which must then be given: such as
    /// `zookeeper://host:port,host:port/path`, see [`mapreduce_coordination::open`].
    pub coordination: Option<String>,
    /// Input, map output, markers and results, if not in the directory, which must then be given: such as
    /// `file:///absolute/directory`.
    pub storage: Option<String>,
    /// Where users are; none: [`crate::home::users_url`].
    pub users_url: Option<String>,
    /// Masters to begin with, at least 1.
    pub n_masters: u32,
    /// Workers to begin with.
    pub n_workers: u32,
    /// Tasks that one worker runs at one time, at least 1.
    pub slots_per_worker: u32,
    /// After how long a silent process is taken for dead, 100 or more.
    pub lease_ms: u64,
    /// How long a worker that is told to go lets its tasks run.
    pub grace_ms: u64,
    /// Most memory that one task's process may take, in bytes, 64 MiB or more; none: a share of four fifths of the
    /// machine's memory, or of what control groups allow, but 512 MiB at least. The slots of all workers that there are
    /// when a worker starts have equal shares.
    pub memory_bytes_max: Option<u64>,
    /// Whether the cluster outlives its client.
    pub keep_alive: bool,
    /// The interpreter of Python jobs, for which this package is installed; none: a cluster without Python.
    pub python: Option<PathBuf>,
    /// The `mapreduce` program.
    pub program: PathBuf,
    /// Log more, and to standard error instead of files.
    pub verbose: bool,
}

impl Default for LocalOptions {
    fn default() -> Self {
        LocalOptions {
            directory: None,
            coordination: None,
            storage: None,
            users_url: None,
            n_masters: 2,
            n_workers: 4,
            slots_per_worker: 1,
            lease_ms: 2000,
            grace_ms: 10_000,
            memory_bytes_max: None,
            keep_alive: false,
            python: None,
            program: "mapreduce".into(),
            verbose: false,
        }
    }
}

impl LocalOptions {
    /// Whether every number is one that works.
    pub(super) fn check(&self) -> Result<(), ClusterError> {
        if self.directory.is_none() && (self.coordination.is_some() || self.storage.is_some()) {
            return Err(ClusterError::NoDirectory);
        }
        check_n_masters(self.n_masters)?;
        check_n_workers(self.n_workers)?;
        in_range("slots_per_worker", self.slots_per_worker.into(), 1, PROCESSES_MAX)?;
        in_range("lease_ms", self.lease_ms, 100, HOUR_MS)?;
        in_range("grace_ms", self.grace_ms, 0, HOUR_MS)?;
        let memory = self.memory_bytes_max.unwrap_or(MEMORY_BYTES_MIN);
        in_range("memory_bytes_max", memory, MEMORY_BYTES_MIN, u64::MAX)
    }
}

/// Most masters, and most workers, of a local cluster: each is a process, and this is one machine.
const PROCESSES_MAX: u64 = 1000;

/// Less memory than this is not enough for a Python interpreter that does something.
const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// Longest lease or grace period: whoever wants a longer one means another unit.
const HOUR_MS: u64 = 3_600_000;

/// Whether `value` is a number that works.
fn in_range(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), ClusterError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ClusterError::OutOfRange { name, value, min, max })
    }
}

/// Whether a local cluster may have so many masters.
pub(super) fn check_n_masters(n: u32) -> Result<(), ClusterError> {
    in_range("n_masters", n.into(), 1, PROCESSES_MAX)
}

/// Whether a local cluster may have so many workers.
pub(super) fn check_n_workers(n: u32) -> Result<(), ClusterError> {
    in_range("n_workers", n.into(), 0, PROCESSES_MAX)
}
