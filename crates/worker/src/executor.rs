//! The processes of one slot: a warmed process, and the executor it forks for each job. They die with the
//! worker (they ask the kernel to), and the whole process group is killed when the slot lets go of them.

use std::{
    io::{self, ErrorKind, PipeReader, PipeWriter, Write},
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream, unix::process::ExitStatusExt},
    process::Stdio,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use mapreduce_core::FailureKind;
use mapreduce_rpc::{
    WIRE_VERSION,
    executor::{FromExecutor, ToExecutor, from_executor::Message as From, to_executor::Message as To},
};
use prost::Message;
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group},
};
use tokio::{
    io::AsyncReadExt,
    net::{UnixStream, unix::pipe::Receiver},
    process::{Child, Command},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::{
    WorkerOptions,
    incarnation::{Launcher, NotStarted, Process},
    memory::Share,
};

/// How long a process may take to be ready. One that takes longer waits for something that does not come.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a process that has closed its socket may take to end.
const DEATH_PATIENCE: Duration = Duration::from_secs(1);
/// What most libraries with threads of their own go by: OpenMP, OpenBLAS, MKL, Arrow.
const THREADS: &str = "OMP_NUM_THREADS";
/// Settings of the C library's, of which this one has its allocator ask for large pages: an executor's memory is mostly a
/// few large tables, which are looked up at random.
const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");
/// Largest frame: a failure with its traceback and exception.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// Starts real processes.
pub(crate) struct Processes;

#[async_trait]
impl Launcher for Processes {
    async fn launch(&self, options: &WorkerOptions, line: &[String]) -> Result<Box<dyn Process>, NotStarted> {
        let started = Executor::start(options, line).await;
        let named = |not: NotStarted| NotStarted { why: format!("{}: {}", line.join(" "), not.why), ..not };
        Ok(Box::new(started.map_err(named)?))
    }
}

/// A warmed process and whatever it has forked.
#[derive(Debug)]
struct Executor {
    child: Child,
    frames: Framed<UnixStream, LengthDelimitedCodec>,
    /// Ends when everybody who could print has ended.
    printing: JoinHandle<()>,
}

impl Executor {
    async fn start(options: &WorkerOptions, line: &[String]) -> Result<Executor, NotStarted> {
        let mut executor = Executor::spawn(options, line).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::PermissionDenied => NotStarted::program(e.to_string()),
            _ if e.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => NotStarted::program(e.to_string()),
            _ => NotStarted::machine(e.to_string()),
        })?;
        let not = match timeout(START_PATIENCE, executor.receive()).await {
            Ok(Ok(From::Ready(ready))) if ready.version == WIRE_VERSION => return Ok(executor),
            Ok(Ok(From::Ready(ready))) => NotStarted::program(format!(
                "it speaks version {}, this worker {WIRE_VERSION}",
                ready.version
            )),
            Ok(Ok(other)) => NotStarted::program(format!("it began with {other:?}")),
            Ok(Err(e)) => match executor.cause_of_death().await {
                FailureKind::ExecutorKilled { signal: 9 } => {
                    NotStarted::machine("it was killed before it was ready".into())
                }
                _ => NotStarted::program(format!("{e}; its output is above in this log")),
            },
            Err(_) => NotStarted {
                what: FailureKind::TimedOut { limit_ms: START_PATIENCE.as_millis() as u64 },
                why: format!("it was not ready after {} s", START_PATIENCE.as_secs()),
            },
        };
        executor.kill();
        // Processes that have left its group may go on to print; it has not.
        let _ = timeout(DEATH_PATIENCE, &mut executor.printing).await;
        Err(not)
    }

    fn spawn(options: &WorkerOptions, line: &[String]) -> io::Result<Executor> {
        let (ours, theirs) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
        let (printed, print) = io::pipe()?;
        let child = command(options, line, theirs, print)?.spawn()?;
        Ok(Executor { child, frames: Framed::new(ours, codec), printing: pass_on(printed)? })
    }

    fn kill(&self) {
        // The id is known only as long as the process is not reaped, so this can't hit anybody else's group.
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
            && let Err(e) = kill_process_group(group, Signal::KILL)
        {
            tracing::warn!(?group, "the executor can't be killed: {e}");
        }
    }
}

#[async_trait]
impl Process for Executor {
    async fn send(&mut self, message: To) -> io::Result<()> {
        let frame = ToExecutor { message: Some(message) }.encode_to_vec();
        self.frames.send(Bytes::from(frame)).await
    }

    async fn receive(&mut self) -> io::Result<From> {
        let frame = self.frames.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
        let decoded = FromExecutor::decode(frame).map_err(io::Error::other)?;
        decoded.message.ok_or_else(|| io::Error::other("an empty message from the executor"))
    }

    async fn cause_of_death(&mut self) -> FailureKind {
        let ended = match timeout(DEATH_PATIENCE, self.child.wait()).await {
            Ok(ended) => ended,
            Err(_) => self.child.kill().await.and(self.child.wait().await),
        };
        match ended.map(|status| (status.code(), status.signal())) {
            Ok((Some(code), _)) => FailureKind::ExecutorExited { code },
            Ok((_, Some(signal))) => FailureKind::ExecutorKilled { signal },
            _ => FailureKind::ExecutorKilled { signal: 9 },
        }
    }
}

/// The warmed process and all it has forked, user code's own children included, go at once.
impl Drop for Executor {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes what user code prints into this worker's log. What there is no room for is lost, and no error in user code,
/// as it would be if that wrote to the log's file itself.
fn pass_on(printed: PipeReader) -> io::Result<JoinHandle<()>> {
    let mut printed = Receiver::from_owned_fd(printed.into())?;
    Ok(tokio::spawn(async move {
        let mut buffer = [0; 8 << 10];
        while let Ok(n @ 1..) = printed.read(&mut buffer).await {
            // Where nobody reads the log, this waits, and so does whoever prints; the worker goes on.
            let text = buffer[..n].to_vec();
            let _ = spawn_blocking(move || io::stderr().write_all(&text)).await;
        }
    }))
}

fn command(
    options: &WorkerOptions,
    line: &[String],
    socket: StdStream,
    print: PipeWriter,
) -> io::Result<Command> {
    let (program, args) = line.split_first().map_or(("", &[][..]), |(p, args)| (p.as_str(), args));
    let mut command = Command::new(program);
    command.args(args).args(["--storage", &options.storage]);
    command.args(["--parent", &std::process::id().to_string()]);
    let share = Share::of(options);
    command.args(["--memory-bytes-max", &share.memory_bytes_max.to_string()]);
    command.args(["--buffer-bytes", &share.buffer_bytes.to_string()]).arg("--scratch").arg(&options.scratch);
    // What the user has set stays.
    for (name, value) in [(THREADS, share.n_threads.to_string().as_str()), TUNABLES] {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    // Passwords and settings of the cluster are none of the user code's business.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MAPREDUCE_"))
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::from(OwnedFd::from(socket))).stdout(print.try_clone()?).stderr(print);
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}
