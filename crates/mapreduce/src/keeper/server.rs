//! The keeper's event loop: requests of clients, ends of children, and the reasons to end itself.

use std::{future::pending, io, os::fd::AsFd, time::Duration};

use mapreduce_core::Role;
use tokio::{
    io::AsyncReadExt,
    net::{UnixStream, unix::pipe},
    signal::unix::{SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{
    Keeper, KeeperError,
    protocol::{Connection, LineReader, LineWriter, Reply, Request, Spawned},
    system,
};
use crate::process::Process;

/// How long processes have to end by themselves at a shutdown: enough to say goodbye to coordination.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// A request, and where its replies go.
type Call = (Request, UnboundedSender<Reply>);

impl Keeper {
    /// Serves until there is a reason to end, and ends everything.
    pub(super) async fn serve(mut self) -> Result<(), KeeperError> {
        let mut client_gone = Box::pin(client_gone(self.options.keep_alive)?);
        let mut terminated = signal(SignalKind::terminate()).map_err(system("can't listen for signals"))?;
        let mut interrupted = signal(SignalKind::interrupt()).map_err(system("can't listen for signals"))?;
        let (calls_in, mut calls) = unbounded_channel::<Call>();
        loop {
            tokio::select! {
                connection = self.listener.accept() => match connection {
                    Ok((stream, _)) => serve_client(stream, calls_in.clone()),
                    Err(e) => tracing::warn!("a client could not connect: {e}"),
                },
                Some((request, reply)) = calls.recv() => {
                    if let Some(cleanup) = self.answer(request, &reply) {
                        return self.shut_down(cleanup, reply).await;
                    }
                }
                () = self.children.child_ended() => {
                    self.children.reap().map_err(system("can't reap children"))?;
                }
                () = &mut client_gone => return self.end(Duration::ZERO, false).await,
                _ = terminated.recv() => return self.end(SHUTDOWN_GRACE, false).await,
                _ = interrupted.recv() => return self.end(SHUTDOWN_GRACE, false).await,
            }
        }
    }

    /// Answers a request; one to shut down is left to the caller, with whether to clean up.
    fn answer(&mut self, request: Request, reply: &UnboundedSender<Reply>) -> Option<bool> {
        let answer = match request {
            Request::Describe => Reply::Cluster(self.cluster.clone()),
            Request::Spawn { masters, workers } => match self.spawn_all(masters, workers, reply) {
                Ok(spawned) => Reply::Spawned(spawned),
                Err(e) => Reply::Refused(format!("can't start a process: {e}")),
            },
            Request::Shutdown { cleanup } => return Some(cleanup),
        };
        // A client that has gone needs no answer.
        let _ = reply.send(answer);
        None
    }

    fn spawn_all(
        &mut self,
        masters: u32,
        workers: u32,
        tell: &UnboundedSender<Reply>,
    ) -> io::Result<Vec<Spawned>> {
        let n_workers = workers.saturating_add(self.children.count(Role::Worker));
        let roles = (0..masters).map(|_| Role::Master).chain((0..workers).map(|_| Role::Worker));
        roles.map(|role| self.children.spawn(self.command(role, n_workers)?, role, tell.clone())).collect()
    }

    async fn shut_down(self, cleanup: bool, reply: UnboundedSender<Reply>) -> Result<(), KeeperError> {
        let ended = self.end(SHUTDOWN_GRACE, cleanup).await;
        let left = ended.as_ref().err().map(KeeperError::to_string);
        if reply.send(Reply::ShutDown { left }).is_ok() {
            // Until it is written, or the client does not read it.
            reply.closed().await;
        }
        ended
    }
}

/// Completes when the client that started this process is gone: its end of our standard input is closed, or it
/// has died while a fork of it holds that open. Never for a cluster that outlives its client.
fn client_gone(keep_alive: bool) -> Result<impl Future<Output = ()>, KeeperError> {
    let watched = || -> io::Result<_> {
        let stdin = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        Ok((stdin, parent.map(|pid| Process::open(pid, None)).transpose()?.flatten()))
    };
    let watched = if keep_alive {
        None
    } else {
        Some(watched().map_err(system("can't watch the client that started this keeper"))?)
    };
    Ok(async move {
        let Some((mut stdin, parent)) = watched else { return pending().await };
        let parent_ended = async {
            match parent {
                Some(parent) if parent.ended().await.is_ok() => {}
                _ => pending().await,
            }
        };
        let closed = async { while stdin.read_u8().await.is_ok() {} };
        tokio::select! { () = parent_ended => {}, () = closed => {} }
    })
}

/// Serves one client until it closes its connection.
fn serve_client(stream: UnixStream, calls: UnboundedSender<Call>) {
    let Connection { lines, writer } = Connection::new(stream);
    let (replies, outgoing) = unbounded_channel();
    tokio::spawn(read_requests(lines, calls, replies));
    tokio::spawn(write_replies(writer, outgoing));
}

async fn read_requests(mut lines: LineReader, calls: UnboundedSender<Call>, replies: UnboundedSender<Reply>) {
    loop {
        let call = match lines.next().await {
            Ok(Some(request)) => calls.send((request, replies.clone())),
            Ok(None) => return,
            Err(e) => {
                let _ = replies.send(Reply::Refused(format!("the request can't be read: {e}")));
                return;
            }
        };
        // Nobody takes calls any more: the keeper is ending.
        if call.is_err() {
            return;
        }
    }
}

async fn write_replies(mut writer: LineWriter, mut replies: UnboundedReceiver<Reply>) {
    while let Some(reply) = replies.recv().await {
        // A client that has closed its connection does not want to know.
        if writer.send(&reply).await.is_err() || matches!(reply, Reply::ShutDown { .. }) {
            return;
        }
    }
}
