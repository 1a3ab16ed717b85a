//! The processes of one slot: a warmed process, and the executor it forks for each job. They die with the
//! worker (they ask the kernel to), and the whole process group is killed when the slot lets go of them.

use std::{
    io::{self, PipeReader, PipeWriter, Write},
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream, unix::process::ExitStatusExt},
    process::Stdio,
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use mapreduce_core::FailureKind;
use mapreduce_rpc::{
    WIRE_VERSION,
    executor::{FromExecutor, ToExecutor, from_executor::Message as From, to_executor::Message as To},
};
use prost::Message;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt,
    net::{UnixStream, unix::pipe::Receiver},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::{WorkerError, WorkerOptions, memory::Share};

/// How long a process that has closed its socket may take to end.
const DEATH_PATIENCE: Duration = Duration::from_secs(1);
/// What most libraries with threads of their own go by: OpenMP, OpenBLAS, MKL, Arrow.
const THREADS: &str = "OMP_NUM_THREADS";
/// Largest frame: a failure with its traceback and exception.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// A warmed process and whatever it has forked.
#[derive(Debug)]
pub(crate) struct Executor {
    child: Child,
    frames: Framed<UnixStream, LengthDelimitedCodec>,
    /// Ends when everybody who could print has ended.
    printing: JoinHandle<()>,
}

impl Executor {
    /// Starts a process with this command line and waits until it is ready.
    pub(crate) async fn start(options: &WorkerOptions, line: &[String]) -> Result<Executor, WorkerError> {
        let system = |what| move |source| WorkerError::System { what, source };
        let (ours, theirs) = StdStream::pair().map_err(system("a socket pair for the executor"))?;
        ours.set_nonblocking(true).map_err(system("a socket pair for the executor"))?;
        let ours = UnixStream::from_std(ours).map_err(system("a socket pair for the executor"))?;
        let codec = LengthDelimitedCodec::builder().max_frame_length(FRAME_BYTES_MAX).new_codec();
        let (printed, print) = io::pipe().map_err(system("a pipe for what the executor prints"))?;
        let why_not = |why: String| WorkerError::Executor { command: line.join(" "), why };

        let child = command(options, line, theirs, print).and_then(|mut command| command.spawn());
        let child = child.map_err(|e| why_not(e.to_string()))?;
        let printing = pass_on(printed).map_err(system("a pipe for what the executor prints"))?;
        let mut executor = Executor { child, frames: Framed::new(ours, codec), printing };
        let why = match executor.receive().await {
            Ok(From::Ready(ready)) if ready.version == WIRE_VERSION => return Ok(executor),
            Ok(From::Ready(ready)) => {
                format!("it speaks version {}, this worker {WIRE_VERSION}", ready.version)
            }
            Ok(other) => format!("it began with {other:?}"),
            Err(e) => format!("{e}; its output is above in this log"),
        };
        executor.kill();
        // Processes that have left its group may go on to print; it has not.
        let _ = timeout(DEATH_PATIENCE, &mut executor.printing).await;
        Err(why_not(why))
    }

    /// Sends a message to the executor, or to the warmed process if there is none.
    pub(crate) async fn send(&mut self, message: To) -> io::Result<()> {
        let frame = ToExecutor { message: Some(message) }.encode_to_vec();
        self.frames.send(Bytes::from(frame)).await
    }

    /// The next message. Cancel safe.
    pub(crate) async fn receive(&mut self) -> io::Result<From> {
        let frame = self.frames.next().await.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))?;
        let decoded = FromExecutor::decode(frame).map_err(io::Error::other)?;
        decoded.message.ok_or_else(|| io::Error::other("an empty message from the executor"))
    }
}

impl Executor {
    /// How a process that does not answer any more ended; it is killed if it has not.
    pub(crate) async fn cause_of_death(&mut self) -> FailureKind {
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

    fn kill(&self) {
        // The id is known only as long as the process is not reaped, so this can't hit anybody else's group.
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
            && let Err(e) = kill_process_group(group, Signal::KILL)
        {
            tracing::warn!(?group, "the executor can't be killed: {e}");
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
            let _ = io::stderr().write_all(&buffer[..n]);
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
    if std::env::var_os(THREADS).is_none() {
        command.env(THREADS, share.n_threads.to_string());
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
