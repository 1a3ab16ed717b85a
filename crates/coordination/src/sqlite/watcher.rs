//! The thread that looks out for this process: for changes that others make, for the loss of its own session,
//! and, in masters, for the death and silence of others. It sleeps until the bell rings, a process dies, or
//! the next tick is due.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mapreduce_core::Incarnation;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;

use super::{
    bell::{Bell, Ear, Heard, Nudge},
    database::{Database, Failure, Fingerprint, SessionRow},
    heartbeat,
    sessions::Sessions,
    silence::Silence,
};
use crate::process::process_start_ticks;

/// Waiting for a lock takes hardly any stack.
const LOCK_WAITER_STACK_BYTES: usize = 64 << 10;

/// What the watcher shares with its coordinator.
#[derive(Debug)]
pub(super) struct Shared {
    /// The directories that are watched.
    watched: Mutex<BTreeMap<String, Watched>>,
    pub(super) lost: watch::Sender<bool>,
    bell: Bell,
    /// Whether this process can't hear the bell, not even its own.
    is_deaf: bool,
    nudge: Nudge,
    stop: AtomicBool,
}

/// A directory that somebody watches.
#[derive(Debug, Default)]
struct Watched {
    changes: watch::Sender<u64>,
    /// As it was when they were told last.
    seen: Option<Fingerprint>,
}

impl Shared {
    pub(super) fn new(bell: Bell, ear: &Ear) -> io::Result<Shared> {
        Ok(Shared {
            watched: Mutex::default(),
            lost: watch::Sender::new(false),
            bell,
            is_deaf: ear.is_deaf(),
            nudge: Nudge::new()?,
            stop: AtomicBool::new(false),
        })
    }

    /// A change of ours was committed: tell everybody, in other processes and here, where the watcher hears it, too.
    pub(super) fn committed(&self) {
        self.bell.ring();
        if self.is_deaf {
            self.watched().values_mut().for_each(Watched::has_changed);
        }
    }

    /// See [`crate::Coordinator::watch`].
    pub(super) fn watch(&self, parent: &str) -> watch::Receiver<u64> {
        self.watched().entry(parent.to_owned()).or_default().changes.subscribe()
    }

    /// A panic elsewhere leaves nothing half done here.
    fn watched(&self) -> MutexGuard<'_, BTreeMap<String, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those whose directory has changed.
    fn look(&self, database: &Database) {
        let parents: Vec<String> = self.watched().keys().cloned().collect();
        for parent in parents {
            // What can't be looked at may have changed: whoever reads it then is told why it can't be.
            let now = database.fingerprint(&parent).unwrap_or_default();
            let mut all = self.watched();
            let Some(watched) = all.get_mut(&parent) else { continue };
            if watched.changes.receiver_count() == 0 {
                all.remove(&parent);
            } else if now.is_none() || std::mem::replace(&mut watched.seen, now) != now {
                watched.has_changed();
            }
        }
    }

    /// Ends the watcher's thread, soon.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.nudge.give();
    }
}

impl Watched {
    fn has_changed(&mut self) {
        self.changes.send_modify(|n| *n += 1);
    }
}

/// The thread's own things: its connection is not the coordinator's, so a slow write never holds it up.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) shared: Arc<Shared>,
    pub(super) database: Database,
    pub(super) sessions: Sessions,
    pub(super) ear: Ear,
    /// This process's session.
    pub(super) own: Option<Incarnation>,
    /// The death of others is looked out for if there is one.
    pub(super) others: Option<Others>,
    pub(super) tick: Duration,
}

/// The sessions of others.
#[derive(Debug)]
pub(super) struct Others {
    files: HashMap<Incarnation, Arc<File>>,
    silence: Silence,
}

impl Others {
    pub(super) fn new(silence: Silence) -> Others {
        Others { files: HashMap::new(), silence }
    }
}

impl Watcher {
    /// Runs until [`Shared::stop`].
    pub(super) fn run(mut self) {
        let mut last_tick = Instant::now();
        let mut data_version = None;
        let mut failing = false;
        loop {
            let due = self.tick.saturating_sub(last_tick.elapsed());
            let heard = self.ear.wait(&self.shared.nudge, due).unwrap_or_else(|error| {
                tracing::warn!(%error, "waiting for the bell failed");
                thread::sleep(due);
                Heard { bell: false, nudge: false }
            });
            if self.shared.stop.load(Ordering::Acquire) {
                return;
            }
            let since_tick = last_tick.elapsed();
            let ticked = since_tick >= self.tick;
            if ticked {
                last_tick = Instant::now();
            }
            let late = since_tick > self.tick * 2;
            let outcome = self.round(heard, ticked, late, &mut data_version);
            // Once, not at every tick: a store that is away stays so for a while.
            if let Err(failure) = &outcome
                && !failing
            {
                tracing::warn!(url = self.database.url(), ?failure, "watching the store failed; trying on");
            }
            failing = outcome.is_err();
        }
    }

    fn round(
        &mut self,
        heard: Heard,
        ticked: bool,
        late: bool,
        seen: &mut Option<i64>,
    ) -> Result<(), Failure> {
        // Without the bell too: its ringer may have died between its commit and the ring.
        let data_version = self.database.data_version()?;
        let unseen = seen.replace(data_version) != Some(data_version);
        if heard.bell || unseen {
            self.shared.look(&self.database);
        }
        self.look_after_own()?;
        if self.others.is_some() {
            // A nudge says that a process died.
            if (heard.nudge || ticked) && self.sessions.reap(&mut self.database)? {
                self.shared.committed();
            }
            let rows = self.database.sessions()?;
            self.follow(&rows)?;
            if ticked {
                self.condemn(&rows, late)?;
            }
        }
        Ok(())
    }

    fn look_after_own(&self) -> Result<(), Failure> {
        let Some(own) = &self.own else { return Ok(()) };
        if *self.shared.lost.borrow() || self.database.has_session(own)? {
            return Ok(());
        }
        tracing::warn!(incarnation = %own, "the session has ended: others took this process for dead");
        let removed = self.sessions.remove_file(own);
        self.shared.lost.send_replace(true);
        removed
    }

    /// Starts to wait for the death of every process that is new.
    fn follow(&mut self, rows: &[SessionRow]) -> Result<(), Failure> {
        let Some(others) = &mut self.others else { return Ok(()) };
        others.files.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for SessionRow { id, .. } in rows {
            if self.own.as_ref() == Some(id) || others.files.contains_key(id) {
                continue;
            }
            // No file: it ended just now, and the next look reaps it.
            let Some(file) = self.sessions.open(id)? else { continue };
            let file = Arc::new(file);
            wait_for_death(id, file.clone(), Arc::downgrade(&self.shared))?;
            others.files.insert(id.clone(), file);
        }
        Ok(())
    }

    /// Ends the sessions of those that were silent for a lease.
    fn condemn(&mut self, rows: &[SessionRow], late: bool) -> Result<(), Failure> {
        let Some(others) = &mut self.others else { return Ok(()) };
        let mut counters = Vec::with_capacity(others.files.len());
        for (id, file) in &others.files {
            let counter =
                heartbeat::read(file).map_err(|e| Failure::Broken(format!("heartbeat of {id}: {e}")))?;
            counters.push((id.clone(), counter));
        }
        let silent = others.silence.look(counters, late);
        if silent.is_empty() {
            return Ok(());
        }
        match self.sessions.condemn(&mut self.database, &silent) {
            Ok(true) => {
                tracing::warn!(?silent, "silent for a lease: sessions ended");
                self.shared.committed();
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(Failure::Busy) => {
                rows.iter().filter(|row| silent.contains(&row.id)).for_each(kill);
                Err(Failure::Busy)
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Kills a silent process that may hold the database's write lock: a process that was stopped in the middle of
/// a write would block everybody for ever, and its own end was decided when it fell silent.
fn kill(row: &SessionRow) {
    let Some(pid) =
        i32::try_from(row.pid).ok().and_then(Pid::from_raw).filter(|_| row.pid != std::process::id())
    else {
        return;
    };
    // The handle first, then the check: so it is this process and no later one of the same number.
    let killed = pidfd_open(pid, PidfdFlags::empty()).and_then(|handle| {
        if process_start_ticks(row.pid).is_ok_and(|ticks| ticks == row.pid_started) {
            tracing::warn!(incarnation = %row.id, pid = row.pid, "silent, and the database is locked: killing it");
            pidfd_send_signal(handle, Signal::KILL)?;
        }
        Ok(())
    });
    if let Err(error) = killed {
        tracing::warn!(incarnation = %row.id, pid = row.pid, %error, "can't kill a silent process");
    }
}

/// A thread that blocks until the process that holds `file` is dead. It may outlive the watcher by any time,
/// so it keeps nothing alive but the file.
fn wait_for_death(id: &Incarnation, file: Arc<File>, shared: Weak<Shared>) -> Result<(), Failure> {
    let wait = move || {
        if let Err(error) = file.lock_shared() {
            tracing::warn!(%error, "waiting for the death of a process failed: its silence will tell");
        }
        if let Some(shared) = shared.upgrade() {
            shared.nudge.give();
        }
    };
    let thread = thread::Builder::new().name(format!("await-{id}")).stack_size(LOCK_WAITER_STACK_BYTES);
    thread.spawn(wait).map_err(|e| Failure::Broken(format!("starting a thread: {e}")))?;
    Ok(())
}
