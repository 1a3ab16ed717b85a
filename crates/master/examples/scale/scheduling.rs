//! The scheduler alone, with workers that are no more than a list of what each has been given. What ends next is drawn;
//! workers are lost one by one and half of them at once, and some tasks fail.

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    time::Duration,
};

use mapreduce_core::{
    AttemptId, CodeRef, Epoch, Failure, FailureKind, Incarnation, JobId, JobPhase, Plan, Role, Settings,
    TaskId,
};
use mapreduce_master::scheduler::{Action, Ending, Event, JobLoaded, Outcome, Scheduler};

use crate::{cpu, heap};

const JOB: JobId = JobId(1);
const EPOCH: Epoch = Epoch(1);
/// One in so many attempts fails.
const FAILS: usize = 1000;
/// One worker is lost while so many attempts end.
const WORKER_LOST: usize = 1000;

type Attempt = (TaskId, AttemptId);

/// What a run took.
pub struct Measured {
    /// The processor's time, with that of the simulated workers: others on the machine don't lengthen it.
    pub cpu: Duration,
    /// The most memory at any time, with that of the simulated workers.
    pub bytes: usize,
    /// Attempts launched: more than tasks, because of those that were lost or failed.
    pub n_launched: usize,
}

/// Runs a job of `n_tasks` map tasks, and a hundredth of that in reduce tasks, with `n_workers` workers of one slot.
pub fn run(n_workers: usize, n_tasks: u32) -> Result<Measured, Box<dyn Error>> {
    let (before, cpu) = (heap::mark(), cpu::of_process()?);
    let mut world = World::new(n_workers);
    world.tell(Event::Taken { job: JOB, epoch: EPOCH, is_new: true });
    let plan = Plan { n_splits: n_tasks, n_partitions: (n_tasks / 100).max(1) };
    world.tell(Event::Loaded { job: JOB, epoch: EPOCH, loaded: loaded(plan) });
    let half = n_tasks as usize / 2;
    let mut n_ended = 0;
    while world.ending.is_none() {
        if let Some(event) = world.inbox.pop_front() {
            world.tell(event);
            continue;
        }
        n_ended += 1;
        match n_ended {
            _ if n_ended == half => (0..n_workers / 2).for_each(|_| world.lose_worker()),
            _ if n_ended % WORKER_LOST == 0 => world.lose_worker(),
            _ => world.end_attempt(n_ended % FAILS == 1)?,
        }
    }
    match world.ending {
        Some(Ending::Succeeded) => {}
        other => return Err(format!("the job should have succeeded: {other:?}").into()),
    }
    let cpu = cpu::of_process()?.saturating_sub(cpu);
    Ok(Measured { cpu, bytes: heap::most_since(before), n_launched: world.n_launched })
}

fn loaded(plan: Plan) -> JobLoaded {
    JobLoaded {
        phase: JobPhase::Map,
        plan,
        user: "ada".to_owned(),
        code: CodeRef::Python { digest: "ab12".to_owned() },
        output: None,
        settings: Settings::default(),
        winners: BTreeMap::new(),
        failures: BTreeMap::new(),
        open: Vec::new(),
    }
}

/// A worker of one slot: what runs there, and what waits behind it.
#[derive(Default)]
struct Worker {
    attempts: VecDeque<Attempt>,
    more: bool,
}

struct World {
    scheduler: Scheduler,
    random: fastrand::Rng,
    workers: BTreeMap<Incarnation, Worker>,
    /// Those that run something, in no order; some may be there twice, or be idle or lost by now.
    busy: Vec<Incarnation>,
    n_workers_ever: u64,
    /// What the workers and the stores have to say, in order.
    inbox: VecDeque<Event>,
    failures: BTreeMap<TaskId, Vec<Failure>>,
    n_launched: usize,
    ending: Option<Ending>,
}

impl World {
    fn new(n_workers: usize) -> World {
        let mut world = World {
            scheduler: Scheduler::default(),
            random: fastrand::Rng::with_seed(1),
            workers: BTreeMap::new(),
            busy: Vec::new(),
            n_workers_ever: 0,
            inbox: VecDeque::new(),
            failures: BTreeMap::new(),
            n_launched: 0,
            ending: None,
        };
        (0..n_workers).for_each(|_| world.add_worker());
        world
    }

    fn add_worker(&mut self) {
        self.n_workers_ever += 1;
        // Spread over all ids, as real ones are.
        let id = self.n_workers_ever.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        let worker = Incarnation::new(Role::Worker, id);
        self.workers.insert(worker.clone(), Worker::default());
        self.tell(Event::Attached { worker, n_slots: 1 });
    }

    fn tell(&mut self, event: Event) {
        for action in self.scheduler.handle(event, 7) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Invite { worker } => self.offer(worker),
            Action::Launch { worker, task, attempt, more, .. } => {
                self.n_launched += 1;
                let Some(state) = self.workers.get_mut(&worker) else { return };
                state.attempts.push_back((task, attempt));
                state.more = more;
                if state.attempts.len() == 1 {
                    self.begin(worker);
                }
            }
            Action::Query { worker, job, epoch } => {
                self.inbox.push_back(Event::Answered { worker, job, epoch, attempts: Vec::new() });
            }
            Action::Recall { worker, attempts, .. } => {
                let Some(state) = self.workers.get_mut(&worker) else { return };
                // What is first has begun.
                if let Some(waiting) = state.attempts.get(1).copied().filter(|a| attempts.contains(a)) {
                    state.attempts.truncate(1);
                    self.report(worker, waiting, Outcome::Returned);
                }
            }
            Action::ReadMarker { task, lost, .. } => {
                let failures = self.failures.get(&task).cloned().unwrap_or_default();
                let (job, epoch) = (JOB, EPOCH);
                self.inbox.push_back(Event::MarkerRead { job, epoch, task, winner: None, failures, lost });
            }
            Action::Seal { .. } => self.inbox.push_back(Event::Sealed { job: JOB, epoch: EPOCH }),
            Action::End { ending, .. } => self.ending = Some(ending),
            _ => {}
        }
    }

    /// Offers the slot, if it is free.
    fn offer(&mut self, worker: Incarnation) {
        if self.workers.get(&worker).is_some_and(|state| state.attempts.is_empty()) {
            self.inbox.push_back(Event::Offered { worker, slot: 0, ahead: false });
        }
    }

    /// The first attempt begins; the place behind it is offered if it is welcome.
    fn begin(&mut self, worker: Incarnation) {
        self.busy.push(worker.clone());
        if self.workers.get(&worker).is_some_and(|state| state.more && state.attempts.len() == 1) {
            self.inbox.push_back(Event::Offered { worker, slot: 0, ahead: true });
        }
    }

    fn report(&mut self, worker: Incarnation, (task, attempt): Attempt, outcome: Outcome) {
        self.inbox.push_back(Event::Reported { worker, job: JOB, task, attempt, outcome });
    }

    /// What runs on some worker ends, and what waits there begins.
    fn end_attempt(&mut self, fails: bool) -> Result<(), String> {
        loop {
            if self.busy.is_empty() {
                return Err("nothing runs, and the job has not ended".to_owned());
            }
            let worker = self.busy.swap_remove(self.random.usize(..self.busy.len()));
            let Some(state) = self.workers.get_mut(&worker) else { continue };
            let Some(ended) = state.attempts.pop_front() else { continue };
            let next = state.attempts.front().is_some();
            let outcome = if fails { self.failure(&worker, ended) } else { Outcome::Committed };
            self.report(worker.clone(), ended, outcome);
            if next {
                self.begin(worker)
            } else {
                self.offer(worker)
            }
            return Ok(());
        }
    }

    fn failure(&mut self, worker: &Incarnation, (task, attempt): Attempt) -> Outcome {
        let failure = Failure {
            task,
            attempt,
            worker: worker.clone(),
            what: FailureKind::OutOfMemory,
            message: "it took too much".to_owned(),
            traceback: String::new(),
            record: None,
            pickled_exception: None,
            at_ms: 7,
        };
        self.failures.entry(task).or_default().push(failure.clone());
        Outcome::Failed(Box::new(failure))
    }

    /// Some worker dies, and another comes.
    fn lose_worker(&mut self) {
        let id = self.random.u64(..1 << 48);
        let from = Incarnation::new(Role::Worker, id);
        let found = self.workers.range(from..).next().or(self.workers.iter().next());
        let Some(worker) = found.map(|(worker, _)| worker.clone()) else { return };
        self.workers.remove(&worker);
        self.tell(Event::Detached { worker });
        self.add_worker();
    }
}
