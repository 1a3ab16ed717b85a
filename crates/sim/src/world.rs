//! The world of one simulation: simulated time, one source of randomness, what can go wrong and how often, and the trace
//! of all that happened. Everything that crosses the border of a process is one [`Process::call`](crate::process), so
//! that there is one place where calls are delayed, lost, doubled in doubt, and counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fastrand::Rng;
use mapreduce_coordination::{memory::MemoryStore, records};
use mapreduce_core::{AttemptId, Clock, Incarnation, JobId, TaskId, invariants::Violation};
use mapreduce_master::incarnation::Handle;
use tokio::{sync::Notify, time::Instant};

use crate::{disk::Disk, fault::FaultPlan, process::Process};

/// How long a process may be silent before it is taken for dead.
pub const LEASE: Duration = Duration::from_secs(1);
/// What the clocks of the world begin at.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// What a call goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The coordination store.
    Coordination,
    /// The storage.
    Storage,
    /// Another process.
    Network,
}

/// How likely each fault of a call is, in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// It is refused: nothing happens, and the caller hears of it.
    pub refused: u32,
    /// Its caller hears of an error; it was lost, or took effect, or will later.
    pub unknown: u32,
    /// It takes a second or more.
    pub slow: u32,
    /// What is read has a flipped bit.
    pub flipped: u32,
    /// The process that calls dies of it, somewhere on the way.
    pub deadly: u32,
}

/// One world. Clones are the same.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    started: Instant,
    /// Every call takes as long, and none fails: for kill points, whose numbers must not change.
    is_calm: bool,
    coordination: MemoryStore,
    coordination_changes: Notify,
    disk: Disk,
    state: Mutex<State>,
}

/// What changes.
pub(crate) struct State {
    pub(crate) rng: Rng,
    pub(crate) rates: BTreeMap<Service, Rates>,
    /// Services that nobody reaches, and those that some process does not.
    pub(crate) outages: BTreeSet<Service>,
    pub(crate) cuts: BTreeSet<(String, Service)>,
    /// Pairs of hosts, of which the first does not reach the second.
    pub(crate) partitions: BTreeSet<(String, String)>,
    pub(crate) is_disk_full: bool,
    pub(crate) masters: BTreeMap<String, (Process, Handle)>,
    pub(crate) living: BTreeMap<String, Process>,
    pub(crate) faults: FaultPlan,
    /// How often something was read damaged.
    pub(crate) n_damaged: u32,
    pub(crate) cancelled: BTreeSet<JobId>,
    /// How often each entry of coordination has changed.
    changes: BTreeMap<String, u64>,
    /// Every attempt that has begun.
    pub(crate) begun: BTreeSet<(JobId, TaskId, AttemptId)>,
    /// Failures that took effect when who wrote them was dead.
    pub(crate) posthumous: BTreeSet<(JobId, TaskId, AttemptId)>,
    /// Launches that reached the history when the job had its next owner.
    pub(crate) late_launches: BTreeSet<(JobId, TaskId, AttemptId)>,
    /// Since when a process has known of a task's marker.
    pub(crate) seen_markers: BTreeMap<(String, JobId, TaskId), u64>,
    pub(crate) violations: Vec<String>,
    trace: DefaultHasher,
    lines: Option<Vec<String>>,
    n_events: u64,
}

impl World {
    /// A new world, in a tokio runtime whose clock is paused. With `lines`, its trace is kept as text.
    pub(crate) fn new(seed: u64, is_calm: bool, faults: FaultPlan, lines: bool) -> World {
        let state = State {
            rng: Rng::with_seed(seed),
            rates: BTreeMap::new(),
            outages: BTreeSet::new(),
            cuts: BTreeSet::new(),
            partitions: BTreeSet::new(),
            is_disk_full: false,
            masters: BTreeMap::new(),
            living: BTreeMap::new(),
            faults,
            n_damaged: 0,
            cancelled: BTreeSet::new(),
            changes: BTreeMap::new(),
            begun: BTreeSet::new(),
            posthumous: BTreeSet::new(),
            late_launches: BTreeSet::new(),
            seen_markers: BTreeMap::new(),
            violations: Vec::new(),
            trace: DefaultHasher::new(),
            lines: lines.then(Vec::new),
            n_events: 0,
        };
        World(Arc::new(Inner {
            started: Instant::now(),
            is_calm,
            coordination: MemoryStore::default(),
            coordination_changes: Notify::new(),
            disk: Disk::default(),
            state: Mutex::new(state),
        }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic with the lock held ends the simulation anyway.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.0.is_calm
    }

    pub(crate) fn coordination(&self) -> &MemoryStore {
        &self.0.coordination
    }

    /// An entry of coordination, or one below `path`, has changed.
    pub(crate) fn changed(&self, path: &str) {
        *self.state().changes.entry(path.to_owned()).or_insert(0) += 1;
        self.0.coordination_changes.notify_waiters();
    }

    /// How much has changed at `parent` or below it.
    pub(crate) fn n_changes(&self, parent: &str) -> u64 {
        self.state().changes.iter().filter(|(path, _)| path.starts_with(parent)).map(|(_, n)| n).sum()
    }

    /// Returns when that is more than `seen`, and how much it is then.
    pub(crate) async fn change(&self, parent: &str, seen: u64) -> u64 {
        loop {
            let next = self.0.coordination_changes.notified();
            let n = self.n_changes(parent);
            if n > seen {
                return n;
            }
            next.await;
        }
    }

    /// The death of a process, as coordination sees it.
    pub(crate) fn end_session(&self, incarnation: &Incarnation) {
        self.0.coordination.end_session(incarnation);
        self.changed(records::directory(incarnation.role()));
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// Simulated milliseconds since the world began.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A number below `n`.
    pub fn draw(&self, n: u64) -> u64 {
        self.state().rng.u64(..n.max(1))
    }

    /// A length of time between these, in milliseconds.
    pub fn draw_ms(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.draw(to.saturating_sub(from)))
    }

    /// True `n` times in a thousand.
    pub fn chance(&self, n: u32) -> bool {
        n > 0 && self.draw(1000) < u64::from(n)
    }

    /// Something that must never be.
    pub fn violate(&self, what: impl Display) {
        self.note("!", format_args!("violation: {what}"));
        self.state().violations.push(what.to_string());
    }

    /// Notes a violation, if it is one.
    pub(crate) fn uphold(&self, law: Result<(), Violation>) {
        if let Err(violation) = law {
            self.violate(violation);
        }
    }

    /// Puts an event into the trace.
    pub fn note(&self, who: &str, what: impl Display) {
        let line = format!("{:>8} {who:<10} {what}", self.now_ms());
        let mut state = self.state();
        line.hash(&mut state.trace);
        state.n_events += 1;
        if let Some(lines) = &mut state.lines {
            lines.push(line);
        }
    }

    /// The trace's hash, how many events it has, and its text if it was kept.
    pub(crate) fn trace(&self) -> (u64, u64, Vec<String>) {
        let mut state = self.state();
        (state.trace.finish(), state.n_events, state.lines.take().unwrap_or_default())
    }
}

/// The clock of one process, which is wrong by a constant.
pub(crate) struct SimClock {
    pub(crate) world: World,
    pub(crate) ahead_ms: u64,
}

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        EPOCH_MS + self.ahead_ms + self.world.now_ms()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.world.now_ms())
    }
}

impl SimClock {
    /// What the world's clock showed when this one showed `unix_ms`.
    pub(crate) fn world_ms(unix_ms: u64, ahead_ms: u64) -> u64 {
        unix_ms.saturating_sub(EPOCH_MS + ahead_ms)
    }
}
