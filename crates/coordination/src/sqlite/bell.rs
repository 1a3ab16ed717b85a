//! The bell: a file that is written to after every commit, so that other processes, which watch it with
//! inotify, look at once. It is a hint; who misses it looks within a second anyway.

use std::{
    fs::{File, OpenOptions},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::Path,
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fs::inotify,
    io::Errno,
};

/// The end that rings.
#[derive(Debug)]
pub(super) struct Bell {
    file: File,
}

impl Bell {
    pub(super) fn open(path: &Path) -> io::Result<Bell> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Bell { file })
    }

    /// Wakes everybody who listens.
    pub(super) fn ring(&self) {
        if let Err(error) = self.file.write_at(b"!", 0) {
            tracing::warn!(%error, "the bell can't be rung: others will look within a second");
        }
    }
}

/// Wakes the one thread of this process that waits in [`Ear::wait`].
#[derive(Debug)]
pub(super) struct Nudge {
    event: OwnedFd,
}

impl Nudge {
    pub(super) fn new() -> io::Result<Nudge> {
        Ok(Nudge { event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    pub(super) fn give(&self) {
        // It can only fail when 2^64 - 2 nudges wait already, and then the thread wakes anyway.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    fn take(&self) -> bool {
        rustix::io::read(&self.event, &mut [0u8; 8]).is_ok()
    }
}

/// The end that listens.
#[derive(Debug)]
pub(super) struct Ear {
    /// None when the system has no inotify instance left for this user.
    inotify: Option<OwnedFd>,
}

/// What ended a wait. With neither, the time was over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) bell: bool,
    pub(super) nudge: bool,
}

impl Ear {
    pub(super) fn open(bell: &Path) -> Ear {
        let listen = || {
            let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            inotify::add_watch(&inotify, bell, inotify::WatchFlags::MODIFY)?;
            Ok(inotify)
        };
        let inotify = listen().inspect_err(|error: &Errno| {
            tracing::warn!(%error, "no inotify (see fs.inotify.max_user_instances): changes are seen within a second");
        });
        Ear { inotify: inotify.ok() }
    }

    /// Whether the bell is never heard.
    pub(super) fn is_deaf(&self) -> bool {
        self.inotify.is_none()
    }

    /// Waits for the bell or a nudge, but no longer than `limit`.
    pub(super) fn wait(&self, nudge: &Nudge, limit: Duration) -> io::Result<Heard> {
        let mut fds = vec![PollFd::new(&nudge.event, PollFlags::IN)];
        fds.extend(self.inotify.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let bell = self.inotify.as_ref().is_some_and(|inotify| drain(inotify.as_fd()));
        Ok(Heard { bell, nudge: nudge.take() })
    }
}

/// Takes all waiting events; answers whether there were any.
fn drain(inotify: std::os::fd::BorrowedFd<'_>) -> bool {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut any = false;
    while let Ok((events, _)) = rustix::io::read(inotify, &mut buffer)
        && !events.is_empty()
    {
        any = true;
    }
    any
}
