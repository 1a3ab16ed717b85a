//! `mapreduce worker`: one worker process.

use std::{path::PathBuf, time::Duration};

use mapreduce_worker::WorkerOptions;

use super::{
    Result, asked_to_end,
    stores::{Resolved, Stores},
};

/// Run a worker until SIGTERM or SIGINT; tasks that run then have a while to finish, unless it is told again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    stores: Stores,
    /// Tasks at one time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// The Python that runs users' functions; mapreduce must be installed for it [default: none, for clusters that
    /// run native jobs and commands].
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Most memory that one task's process may take, in bytes [default: a share of four fifths of the machine's, or of
    /// what control groups allow].
    #[arg(long, value_name = "N")]
    memory_bytes_max: Option<u64>,
    /// Tasks that all workers on this machine run at one time, which share its memory [default: the number of cores, or
    /// of slots if that is larger].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    machine_slots: Option<u32>,
    /// A directory on a local disk for what does not fit into memory [default: in the cluster's directory, or
    /// the system's for temporary files].
    #[arg(long, value_name = "PATH")]
    scratch: Option<PathBuf>,
    /// How long running tasks may go on after the worker was told to go, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    grace_ms: u64,
    /// After how long a silent process is taken for dead, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..))]
    lease_ms: u64,
}

impl Args {
    pub async fn run(self) -> Result {
        // A worker asks masters about users, and never their store.
        let own_scratch = self.stores.directory().map(|directory| directory.join("scratch"));
        let Resolved { urls, cluster_key, authority: _, ca } = self.stores.resolve(None)?;
        let text =
            |path: PathBuf| path.into_os_string().into_string().map_err(|p| format!("{p:?} is not UTF-8"));
        let python = self.python.map(text).transpose()?;
        let commands = vec![text(std::env::current_exe()?)?, "executor".to_owned()];
        let options = WorkerOptions {
            coordination: urls.coordination,
            storage: urls.storage,
            cluster_key,
            ca,
            n_slots: self.slots,
            python: python.map(|python| vec![python, "-m".to_owned(), "mapreduce._executor".to_owned()]),
            commands,
            memory_bytes_max: self.memory_bytes_max,
            machine_slots: self.machine_slots.unwrap_or_else(|| mapreduce_worker::machine_slots(self.slots)),
            scratch: self.scratch.or(own_scratch).unwrap_or_else(std::env::temp_dir),
            grace: Duration::from_millis(self.grace_ms),
            lease: Duration::from_millis(self.lease_ms),
        };
        Ok(mapreduce_worker::run(options, asked_to_end()?).await?)
    }
}
