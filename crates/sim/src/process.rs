//! One process: it runs, or is stopped, or is dead. What it asks of the world outside is a [`Process::call`].
//!
//! ```text
//!   caller ──gate──► request ──► effect ──► reply ──gate──► caller
//!                   (lost)     (refused)   (lost)
//! ```
//!
//! A stopped process does nothing at a gate; a dead one stays there until it is swept away. What is on its way goes on
//! without it.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mapreduce_core::{Clock, Incarnation, Role};
use tokio::{
    sync::{Notify, oneshot},
    time::sleep,
};

use crate::{
    fault::{Fault, Stage, Victim},
    world::{LEASE, Rates, Service, SimClock, World},
};

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Stopped,
    Dead,
}

/// How a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It did not take effect and never will.
    Refused,
    /// It has taken effect, or will, or never will.
    Unknown,
}

/// One process. Clones are the same.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    world: World,
    name: String,
    /// The machine it is on, by the name that outlives the process.
    host: String,
    parent: Option<Process>,
    /// How wrong its clock is.
    clock_ahead_ms: u64,
    /// Of a master or worker.
    incarnation: Option<Incarnation>,
    life: Mutex<Life>,
    changes: Notify,
}

impl Process {
    /// A process of `host`. A worker is the parent of its executors.
    pub(crate) fn start(
        world: &World,
        host: &str,
        name: String,
        (parent, incarnation): (Option<Process>, Option<Incarnation>),
    ) -> Process {
        let (life, changes) = (Mutex::new(Life::Running), Notify::new());
        let host = host.to_owned();
        let clock_ahead_ms = world.draw(100_000);
        let (world_too, called) = (world.clone(), name.clone());
        let process = Inner {
            world: world_too,
            name: called,
            host,
            parent,
            clock_ahead_ms,
            incarnation,
            life,
            changes,
        };
        let process = Process(Arc::new(process));
        world.note(&name, "starts");
        world.state().living.insert(name, process.clone());
        process
    }

    /// Its name, which no other has.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn host(&self) -> &str {
        &self.0.host
    }

    pub(crate) fn world(&self) -> &World {
        &self.0.world
    }

    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.0.incarnation.clone()
    }

    pub(crate) fn clock_ahead_ms(&self) -> u64 {
        self.0.clock_ahead_ms
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SimClock { world: self.0.world.clone(), ahead_ms: self.0.clock_ahead_ms })
    }

    pub(crate) fn parent(&self) -> Option<&Process> {
        self.0.parent.as_ref()
    }

    /// Ends it at once, like `kill -9`.
    pub(crate) fn kill(&self) {
        if self.set(Life::Dead) {
            self.0.world.note(self.name(), "dies");
            self.0.world.state().living.remove(self.name());
        }
    }

    /// Stops it, like `SIGSTOP`.
    pub(crate) fn stop(&self) {
        self.set(Life::Stopped);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        self.set(Life::Running);
    }

    /// Whether that changed anything; the dead stay dead.
    fn set(&self, life: Life) -> bool {
        let mut now = self.life();
        let changes = *now != Life::Dead && *now != life;
        if changes {
            *now = life;
            self.0.changes.notify_waiters();
        }
        changes
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.0.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when it is so. (A `watch` of tokio's would wake those who wait in an order of its own dice.)
    async fn until(&self, wanted: Life) {
        loop {
            let changed = self.0.changes.notified();
            if *self.life() == wanted {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.life() == Life::Stopped
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.life() == Life::Dead
    }

    /// Whether its calls to the service are refused, as all are.
    pub(crate) fn is_cut_off_from(&self, service: Service) -> bool {
        let state = self.0.world.state();
        state.outages.contains(&service) || state.cuts.contains(&(self.host().to_owned(), service))
    }

    /// Returns when it is dead.
    pub(crate) async fn death(&self) {
        self.until(Life::Dead).await;
    }

    /// Returns when the process runs.
    pub(crate) async fn gate(&self) {
        self.until(Life::Running).await;
    }

    /// Asks for `effect`, which happens at one moment somewhere between this call and its answer, or not at all.
    pub async fn call<T: Send + 'static>(
        &self,
        service: Service,
        what: String,
        effect: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Lost> {
        self.gate().await;
        let world = self.0.world.clone();
        let fault = world.state().faults.next(self.0.parent.is_some());
        let kills = |fault: &Fault| matches!(fault.victim, Victim::Caller | Victim::Worker);
        let dies = |at: Stage| fault.filter(|fault| fault.stage == at && kills(fault));
        if let Some(Fault { victim, .. }) = dies(Stage::Before) {
            return self.die(victim).await;
        }
        let mut way = Way::draw(self, service);
        if let Some(Fault { stage, victim: Victim::Nobody, .. }) = fault {
            way.fate = if stage == Stage::Before { Fate::Refused } else { Fate::LostBack };
        }
        if let Some(Fault { victim: Victim::CutOff, .. }) = fault {
            way.there += 2 * LEASE;
            self.cut_off();
        }
        let (reply, replied) = oneshot::channel();
        let name = self.name().to_owned();
        let fate = way.fate;
        tokio::spawn(async move {
            sleep(way.there).await;
            let done = match fate {
                Fate::Refused | Fate::LostThere => None,
                _ => Some(effect()),
            };
            world.note(&name, format_args!("{what} {fate:?}"));
            sleep(way.back).await;
            let _ = reply.send(done); // nobody may be left to hear it
        });
        let answer = match fate {
            // The caller gives up while the call is still on its way.
            Fate::Late => {
                sleep(way.patience).await;
                Err(Lost::Unknown)
            }
            Fate::Refused => replied.await.map_or(Err(Lost::Unknown), |_| Err(Lost::Refused)),
            Fate::LostThere | Fate::LostBack => {
                replied.await.map_or(Err(Lost::Unknown), |_| Err(Lost::Unknown))
            }
            Fate::Answered => replied.await.ok().flatten().ok_or(Lost::Unknown),
        };
        if let Some(Fault { victim, .. }) = dies(Stage::BeforeReply) {
            return self.die(victim).await;
        }
        self.gate().await;
        if way.is_deadly {
            return self.die(Victim::Caller).await;
        }
        if let Some(Fault { victim, .. }) = dies(Stage::AfterReply) {
            let process = self.clone();
            tokio::spawn(async move { process.kill_victim(victim) });
        }
        answer
    }

    /// It does not reach coordination until long after it was taken for dead, and neither does any worker: so a master goes
    /// on with workers that have not heard of its end.
    fn cut_off(&self) {
        let world = self.0.world.clone();
        let is_worker = |process: &&Process| process.incarnation().is_some_and(|i| i.role() == Role::Worker);
        let living: Vec<_> = world.state().living.values().cloned().collect();
        let cut: Vec<_> = living.iter().filter(is_worker).chain([self]).cloned().collect();
        let hosts: Vec<_> =
            cut.iter().map(|process| (process.host().to_owned(), Service::Coordination)).collect();
        world.state().cuts.extend(hosts.iter().cloned());
        tokio::spawn(async move {
            sleep(LEASE).await;
            cut.iter().filter_map(Process::incarnation).for_each(|one| world.end_session(&one));
            sleep(2 * LEASE).await;
            world.state().cuts.retain(|cut| !hosts.contains(cut));
        });
    }

    async fn die<T>(&self, victim: Victim) -> T {
        self.kill_victim(victim);
        pending().await
    }

    fn kill_victim(&self, victim: Victim) {
        match (&self.0.parent, victim) {
            (_, Victim::Nobody | Victim::CutOff) => {}
            (Some(worker), Victim::Worker) => worker.kill(),
            _ => self.kill(),
        }
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Refused,
    LostThere,
    LostBack,
    Late,
}

struct Way {
    fate: Fate,
    there: Duration,
    back: Duration,
    /// How long the caller of a late call waits.
    patience: Duration,
    is_deadly: bool,
}

impl Way {
    fn draw(process: &Process, service: Service) -> Way {
        let world = process.world();
        let is_cut = process.is_cut_off_from(service);
        if world.is_calm() {
            let ms = Duration::from_millis(1);
            let fate = if is_cut { Fate::Refused } else { Fate::Answered };
            return Way { fate, there: ms, back: ms, patience: ms, is_deadly: false };
        }
        let rates = world.state().rates.get(&service).copied().unwrap_or_default();
        let Rates { refused, unknown, slow, deadly, .. } = rates;
        let fate = if is_cut || world.chance(refused) {
            Fate::Refused
        } else if world.chance(unknown) {
            [Fate::LostThere, Fate::LostBack, Fate::Late][world.draw(3) as usize]
        } else {
            Fate::Answered
        };
        let most_ms = if world.chance(slow) { 3000 } else { 8 };
        let late_ms = if fate == Fate::Late { 5000 } else { 1 };
        Way {
            fate,
            there: world.draw_ms(0, most_ms) + world.draw_ms(0, late_ms),
            back: world.draw_ms(0, most_ms),
            patience: world.draw_ms(1, 100),
            is_deadly: world.chance(deadly),
        }
    }
}
