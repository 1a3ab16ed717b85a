//! What the process of an executor is, whatever it runs: bound to its worker's life, in fear of the kernel's memory
//! killer, and all ears for tasks. (Python's is `mapreduce/_executor.py`.)

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::Arc,
};

use mapreduce_core::{JobSpec, SystemClock};
use mapreduce_executor::{
    Executor, Resources, RunError, SideInputs, UserCode, UserFailure, frames::write_frame, run,
};
use mapreduce_rpc::{
    WIRE_VERSION,
    executor::{FromExecutor, Ready, from_executor::Message},
};
use mapreduce_storage::StorageError;
use rustix::{
    io::dup,
    process::{Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit},
    stdio::dup2_stdin,
};

/// What a worker tells the process.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// URL of the storage.
    #[arg(long)]
    storage: String,
    /// Process id of the worker.
    #[arg(long)]
    parent: i32,
    /// Most memory that the process may take, in bytes.
    #[arg(long)]
    memory_bytes_max: Option<u64>,
    /// What the engine's buffers may take.
    #[arg(long)]
    buffer_bytes: usize,
    /// Directory for what does not fit.
    #[arg(long)]
    scratch: PathBuf,
}

/// The command line of a program that is an executor.
#[derive(Debug, clap::Parser)]
pub(crate) struct Program {
    #[command(flatten)]
    pub(crate) args: Args,
}

/// Why the process can't serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("an executor's process could not be set up: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Runs the tasks that the worker asks for, until it says that it is enough or goes away.
pub(crate) fn serve(
    args: Args,
    load: impl FnMut(&JobSpec, &[u8], &SideInputs) -> Result<Box<dyn UserCode>, UserFailure> + 'static,
) -> Result<(), ServeError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    // It may have died before that.
    if getppid().map(Pid::as_raw_pid) != Some(args.parent) {
        return Ok(());
    }
    // The kernel's first choice when memory is short.
    fs::write("/proc/self/oom_score_adj", "1000")?;
    if let Some(bytes) = args.memory_bytes_max {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        setrlimit(Resource::Data, limit).map_err(io::Error::from)?;
    }
    let mut worker = take_over_stdin()?;
    let resources = Resources::open(&args.storage, args.buffer_bytes, args.scratch)?;
    let mut executor = Executor::new(resources, Arc::new(SystemClock::default()), Box::new(load));
    let ready = Message::Ready(Ready { version: WIRE_VERSION });
    write_frame(&mut worker, &FromExecutor { message: Some(ready) })?;
    Ok(run(&mut worker, &mut executor)?)
}

/// The socket to the worker, out of user code's way: it must not read the messages.
fn take_over_stdin() -> io::Result<UnixStream> {
    let worker: OwnedFd = dup(io::stdin().as_fd())?;
    dup2_stdin(fs::File::open("/dev/null")?)?;
    Ok(worker.into())
}
