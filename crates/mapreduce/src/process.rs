//! Processes of this machine, held so that a signal never hits a stranger: a process is named by its id
//! *and* the moment it began, and is signalled and waited for by a pidfd, which the kernel never gives to another.

use std::{fs, io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::io::{Interest, unix::AsyncFd};

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `Z` and `X`: it has ended and only its exit status is left.
    pub state: u8,
    /// Its parent's id.
    pub parent: u32,
    /// When it began, in clock ticks since the machine's start.
    pub started: u64,
}

impl Stat {
    /// What `/proc/<pid>/stat` says; none when there is no such process.
    pub fn of(pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command's name, in parentheses, may hold anything, so fields are counted from the last `)`.
    fn parse(line: &str) -> Option<Stat> {
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Stat { state, parent, started })
    }

    fn has_ended(self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// The ids of all children of process `parent`, the ended but unreaped ones included.
pub(crate) fn children_of(parent: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if Stat::of(pid).is_some_and(|stat| stat.parent == parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// One process, and no other that may get its number later.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: AsyncFd<OwnedFd>,
}

impl Process {
    /// The process `pid`, if it lives and began at `started` (any moment: none). Needs a tokio runtime.
    pub fn open(pid: u32, started: Option<u64>) -> io::Result<Option<Process>> {
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(raw, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        // SAFETY: an `OwnedFd` is an open descriptor, and stays the same one until the `AsyncFd` drops it.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
        // Read after the pidfd was opened: if it is the right one now, the pidfd holds the right one for good.
        let lives = Stat::of(pid)
            .is_some_and(|stat| !stat.has_ended() && started.is_none_or(|started| started == stat.started));
        Ok(lives.then_some(Process { pidfd }))
    }

    /// Sends `signal`; a process that has ended meanwhile is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.pidfd.get_ref(), signal) {
            Err(Errno::SRCH) | Ok(()) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns when it has ended, whoever its parent is.
    pub async fn ended(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_command_named_like_a_stat_line_is_read_right() {
        let line = "7 (a) b (c) S 42 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 199492 2990080 411\n";
        assert_eq!(Stat::parse(line), Some(Stat { state: b'S', parent: 42, started: 199_492 }));
        assert_eq!(Stat::parse("7 (cut"), None);
    }

    #[tokio::test]
    async fn another_moment_of_birth_is_another_process() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let started = Stat::of(child.id()).unwrap().started;
        assert!(children_of(std::process::id()).unwrap().contains(&child.id()));
        assert!(Process::open(child.id(), Some(started + 1)).unwrap().is_none());

        let process = Process::open(child.id(), Some(started)).unwrap().unwrap();
        process.signal(Signal::KILL).unwrap();
        process.ended().await.unwrap();
        assert!(Process::open(child.id(), Some(started)).unwrap().is_none(), "it is a zombie");
        child.wait().unwrap();
        process.signal(Signal::KILL).unwrap();
        assert!(Process::open(child.id(), None).unwrap().is_none());
    }
}
