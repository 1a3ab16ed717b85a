//! A keeper's children: started with a signal that ends them when the keeper ends, reaped, and ended for sure.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use mapreduce_core::Role;
use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, set_child_subreaper,
        set_parent_process_death_signal, wait,
    },
};
use tokio::{
    signal::unix::{Signal as SignalStream, SignalKind, signal},
    sync::mpsc::UnboundedSender,
};

use super::protocol::{Reply, Spawned};
use crate::process::children_of;

/// The processes of a cluster. There may be one of these in a process, for it reaps every child.
pub(super) struct Children {
    logs: Option<PathBuf>,
    /// What each child is, and whom to tell of its end.
    spawned: HashMap<u32, (Role, UnboundedSender<Reply>)>,
    child_ended: SignalStream,
}

impl Children {
    /// Becomes the reaper of all descendants. The children's output goes to files in `logs`, or where this
    /// process's standard error goes.
    pub fn new(logs: Option<PathBuf>) -> io::Result<Children> {
        set_child_subreaper(Some(getpid()))?;
        let child_ended = signal(SignalKind::child())?;
        Ok(Children { logs, spawned: HashMap::new(), child_ended })
    }

    /// Starts `command`. Must be called on the process's main thread: the kernel sends a child its death
    /// signal when the *thread* that made it ends.
    pub fn spawn(
        &mut self,
        mut command: Command,
        role: Role,
        tell: UnboundedSender<Reply>,
    ) -> io::Result<Spawned> {
        let new_log = match &self.logs {
            Some(logs) => {
                let path = logs.join(format!("{}-new.log", role.name()));
                let file = File::create(&path)?;
                command.stdout(file.try_clone()?).stderr(file);
                Some(path)
            }
            None => {
                command.stdout(io::stderr().as_fd().try_clone_to_owned()?).stderr(Stdio::inherit());
                None
            }
        };
        let keeper = getpid();
        let die_with_keeper = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The keeper may have ended before the call above.
            if getppid() == Some(keeper) { Ok(()) } else { Err(Errno::SRCH.into()) }
        };
        // SAFETY: between fork and exec a child may only do what is safe in a signal handler. The closure makes
        // system calls, which rustix does directly, and neither allocates, locks nor touches shared state.
        unsafe { command.pre_exec(die_with_keeper) };
        let pid = command.stdin(Stdio::null()).spawn()?.id();
        self.spawned.insert(pid, (role, tell));
        let log = new_log.map(|new| {
            let named = new.with_file_name(format!("{}-{pid}.log", role.name()));
            fs::rename(new, &named).map(|()| named)
        });
        Ok(Spawned { pid, log: log.transpose()? })
    }

    /// How many of the processes that were started and live have this role.
    pub fn count(&self, role: Role) -> u32 {
        let of_role = self.spawned.values().filter(|(of, _)| *of == role).count();
        u32::try_from(of_role).unwrap_or(u32::MAX)
    }

    /// Returns when a child may have ended; call [`Children::reap`] then.
    pub async fn child_ended(&mut self) {
        self.child_ended.recv().await;
    }

    /// Takes the exit status of every child that has ended, and says whether any child is left.
    pub fn reap(&mut self) -> io::Result<bool> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.ended(pid, status),
                Ok(None) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::CHILD) => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) {
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        let how =
            <ExitStatus as std::os::unix::process::ExitStatusExt>::from_raw(status.as_raw()).to_string();
        tracing::info!("process {pid} ended: {how}");
        if let Some((_, tell)) = self.spawned.remove(&pid) {
            // A client that has gone does not want to know.
            let _ = tell.send(Reply::Exited { pid, how });
        }
    }

    /// Asks the masters and workers to end, gives them `grace`, then kills whatever descends from this process.
    pub async fn end_all(&mut self, grace: Duration) -> io::Result<()> {
        self.signal(self.spawned.keys().copied(), Signal::TERM)?;
        let ended_by_themselves = async {
            while !self.spawned.is_empty() {
                self.child_ended.recv().await;
                self.reap()?;
            }
            Ok::<(), io::Error>(())
        };
        if let Ok(ended) = tokio::time::timeout(grace, ended_by_themselves).await {
            ended?;
        }
        self.kill_all().await
    }

    /// Kills every descendant: when a child ends, its children become this process's own, and are next.
    pub async fn kill_all(&mut self) -> io::Result<()> {
        while self.reap()? {
            self.signal(children_of(std::process::id())?.into_iter(), Signal::KILL)?;
            self.child_ended.recv().await;
        }
        Ok(())
    }

    /// The ids are of children that are not reaped yet, so they can't be anybody else's.
    fn signal(&self, pids: impl Iterator<Item = u32>, signal: Signal) -> io::Result<()> {
        for pid in pids.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            match kill_process(pid, signal) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
