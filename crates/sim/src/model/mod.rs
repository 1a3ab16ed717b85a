//! The ownership, commit and takeover protocol as a model, small enough to be explored whole.
//!
//! ```text
//!   coordination: one record          storage: markers, data, manifests, result, history
//!        │ compare-and-set                 │ create-if-absent
//!   2 masters ◄── streams, in order ──► 2 workers, 1 slot each          1 job: 2 map tasks, 1 reduce task
//! ```
//!
//! One step is one thing that others can observe: one write of one object or record, one read that decides, one
//! message. Between any two steps any fault of the budget [`Faults`] can happen. A step does what the code does;
//! the files name the code they follow. After each step [`judge`] asks the invariants of `mapreduce_core`.
//!
//! What is left out: places ahead in a slot, recalls and stops (attempts that have become useless run to their
//! end), failures of user code, publishing, several jobs. Reads of several objects are one step, which is as
//! good as any: markers only come, and tasks do not depend on each other. Time is left out on purpose (I12):
//! whatever a clock decides can happen at any moment, or never.

mod bug;
pub mod judge;
mod link;
mod master;
mod owner;
mod progress;
mod state;
mod worker;
mod world;

use std::fmt;

use mapreduce_core::{AttemptId, JobPhase};
use stateright::{Model, Property};

pub use bug::Bug;
pub use link::LinkStep;
pub use master::MasterStep;
pub use progress::{Dead, Explored, explore};
pub use state::State;
use state::{N_MASTERS, N_WORKERS};
pub use worker::WorkerStep;
pub use world::{Process, WorldStep};

/// How much may go wrong in one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Deaths of masters, workers and executors.
    pub crashes: u8,
    /// Sessions of the job's owners that end while their process lives on and does not know it.
    pub zombie_owners: u8,
    /// Sessions of workers that end so.
    pub zombie_workers: u8,
    /// Writes whose outcome their sender does not hear.
    pub unknowns: u8,
    /// Streams that break between two living processes.
    pub cuts: u8,
    /// Times that a new owner's patience with silent workers ends.
    pub silences: u8,
    /// Requests to cancel the job.
    pub cancels: u8,
}

impl Faults {
    /// Whether nothing but processes' deaths can happen: then detection is perfect, and so is the promise.
    pub fn only_crashes(&self) -> bool {
        *self == Faults { crashes: self.crashes, cancels: self.cancels, ..Faults::default() }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Faults { crashes, zombie_owners, zombie_workers, unknowns, cuts, silences, cancels } = self;
        write!(
            f,
            "crash {crashes} owner {zombie_owners} worker {zombie_workers} unknown {unknowns} cut {cuts} silence {silences} cancel {cancels}"
        )
    }
}

/// The model: what may go wrong, and which mistake the protocol makes, if any.
#[derive(Debug, Clone, Copy, Default)]
pub struct Protocol {
    /// The faults of one run.
    pub faults: Faults,
    /// A job that has ended is cleared at some time.
    pub clears: bool,
    /// The mistake.
    pub bug: Option<Bug>,
}

/// One step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Of a master.
    Master(usize, MasterStep),
    /// Of a worker.
    Worker(usize, WorkerStep),
    /// On the stream between a master and a worker.
    Link(usize, usize, LinkStep),
    /// Of the world around them.
    World(WorldStep),
}

impl Action {
    /// Whether this need not happen: a fault, or somebody's wish. All else happens sooner or later.
    pub fn is_optional(&self) -> bool {
        match self {
            Action::Master(_, step) => matches!(
                step,
                MasterStep::TakeUnknown
                    | MasterStep::ForgetTake
                    | MasterStep::LoadImpatiently
                    | MasterStep::SealUnknown
                    | MasterStep::DecideUnknown
                    | MasterStep::UpdateUnknown
            ),
            Action::Worker(_, step) => matches!(step, WorkerStep::CommitUnknown | WorkerStep::GiveUp),
            Action::Link(_, _, step) => matches!(step, LinkStep::Cut),
            Action::World(step) => !matches!(step, WorldStep::Notice(_) | WorldStep::Start(_)),
        }
    }
}

impl Protocol {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::initial(self.faults)]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        if s.broken.is_some() {
            return;
        }
        for m in 0..N_MASTERS {
            gather(actions, |out| master::enabled(self, s, m, out), |step| Action::Master(m, step));
            for w in 0..N_WORKERS {
                gather(actions, |out| link::enabled(s, m, w, out), |step| Action::Link(m, w, step));
            }
        }
        for w in 0..N_WORKERS {
            gather(actions, |out| worker::enabled(s, w, out), |step| Action::Worker(w, step));
        }
        gather(actions, |out| world::enabled(self, s, out), Action::World);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = last.clone();
        match action {
            Action::Master(m, step) => self.master_steps(&mut next, m, step),
            Action::Worker(w, step) => self.worker_steps(&mut next, w, step),
            Action::Link(m, w, step) => self.link_steps(&mut next, m, w, step),
            Action::World(step) => self.world_steps(&mut next, step),
        }
        judge::step(last, &mut next);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = always();
        properties.push(Property::sometimes("the job succeeds", |_, s: &State| {
            s.record.phase == JobPhase::Succeeded
        }));
        properties
    }
}

fn gather<Step>(
    actions: &mut Vec<Action>,
    enabled: impl FnOnce(&mut Vec<Step>),
    action: impl Fn(Step) -> Action,
) {
    let mut steps = Vec::new();
    enabled(&mut steps);
    actions.extend(steps.into_iter().map(action));
}

/// One property an invariant: no step breaks it.
fn always() -> Vec<Property<Protocol>> {
    macro_rules! never_broken {
        ($($name:expr),*) => { vec![$(Property::always($name, |_, s: &State| s.broken != Some($name))),*] };
    }
    use judge::{ADOPTED, AUDITED, FINISHED, ONE_RESULT, OWNED, SEALED, UNDAMAGED};
    never_broken![
        "I1", "I2", "I4", "I5", "I7", "I8", "I9", "I10", "I11", OWNED, AUDITED, SEALED, ADOPTED, FINISHED,
        ONE_RESULT, UNDAMAGED
    ]
}
