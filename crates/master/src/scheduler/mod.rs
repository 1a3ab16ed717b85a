//! The scheduler of one master: events in, actions out. It does no I/O, reads no clock and rolls no dice,
//! so the same code runs in the master and in a simulation.
//!
//! ```text
//!              ┌─────────────────────────── Scheduler ───────────────────────────┐
//!   Event ───► │ pool: who is attached, what they offer    jobs: a JobState each │ ───► Action
//!              └─────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The shell performs the actions of one job in the order in which they were asked for. That order carries two
//! promises: a launch is in the history before its assignment is sent, and the history is complete before
//! the job's terminal record is written.

mod event;
mod job;
mod pool;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use mapreduce_core::{AttemptEnd, AttemptId, Epoch, Failure, HistoryEvent, Incarnation, JobId, TaskId};

pub use event::{Action, Ending, Event, JobLoaded, Outcome};
use job::JobState;
use pool::Pool;

/// Every job this master owns and every worker that attends it.
#[derive(Debug, Default)]
pub struct Scheduler {
    pool: Pool,
    jobs: BTreeMap<JobId, JobState>,
}

impl Scheduler {
    /// Takes in what happened at `now_ms` (for the history) and says what to do about it, in order.
    pub fn handle(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        let mut actions = Actions { now_ms, list: Vec::new() };
        let out = &mut actions;
        match event {
            // A worker whose session ended may wake up and speak before it hears that its stream was closed.
            // What it would be told, or adopted with, nobody would ever take back.
            Event::Offered { worker, .. } | Event::Answered { worker, .. }
                if !self.pool.is_attached(&worker) => {}
            Event::Attached { worker, n_slots } => self.attach(worker, n_slots, out),
            Event::Detached { worker } => self.detach(&worker, out),
            Event::Registered { workers } => self.set_registered(workers, out),
            Event::Offered { worker, slot, ahead } => self.answer_offer(worker, slot, ahead, out),
            Event::Answered { worker, job, epoch, attempts } => {
                self.at_epoch(job, epoch, |state| state.answered(&worker, &attempts, out));
            }
            Event::Reported { worker, job, task, attempt, outcome } => {
                self.with(job, |state| state.reported(&worker, task, attempt, outcome, out));
            }
            Event::Taken { job, epoch, is_new } => self.take(job, epoch, is_new, out),
            Event::PatienceOver { job, epoch } => {
                self.at_epoch(job, epoch, |state| state.stop_awaiting(out));
            }
            Event::Loaded { job, epoch, loaded } => {
                self.at_epoch(job, epoch, |state| state.load(loaded, out))
            }
            Event::MarkerRead { job, epoch, task, winner, failures, lost } => {
                self.at_epoch(job, epoch, |state| state.marker_read(task, winner, (failures, lost), out));
            }
            Event::Retry { job, epoch, task } => self.at_epoch(job, epoch, |state| state.retry(task, out)),
            Event::Sealed { job, epoch } => self.at_epoch(job, epoch, |state| state.sealed(out)),
            Event::CancelWanted { job } => self.with(job, |state| state.end(Ending::Cancelled, out)),
            Event::Gone { job, epoch } => {
                if self.jobs.get(&job).is_some_and(|state| state.epoch() == epoch) {
                    self.jobs.remove(&job);
                    for worker in self.pool.that_served_last(job) {
                        out.push(Action::Dismiss { worker, job });
                    }
                }
            }
        }
        self.invite(out);
        actions.list
    }

    /// The jobs this master owns, with their epochs.
    pub fn owned(&self) -> impl Iterator<Item = (JobId, Epoch)> + '_ {
        self.jobs.iter().map(|(job, state)| (*job, state.epoch()))
    }

    fn with(&mut self, job: JobId, then: impl FnOnce(&mut JobState)) {
        if let Some(state) = self.jobs.get_mut(&job) {
            then(state);
        }
    }

    /// Replies to something an earlier ownership of the job asked for are dropped here.
    fn at_epoch(&mut self, job: JobId, epoch: Epoch, then: impl FnOnce(&mut JobState)) {
        self.with(job, |state| {
            if state.epoch() == epoch {
                then(state);
            }
        });
    }

    fn attach(&mut self, worker: Incarnation, n_slots: u32, out: &mut Actions) {
        self.pool.attach(worker.clone(), n_slots);
        for state in self.jobs.values() {
            out.push(Action::Query { worker: worker.clone(), job: state.job(), epoch: state.epoch() });
        }
    }

    fn detach(&mut self, worker: &Incarnation, out: &mut Actions) {
        if self.pool.detach(worker) {
            for state in self.jobs.values_mut() {
                state.lose(worker, out);
            }
        }
    }

    fn set_registered(&mut self, workers: Vec<Incarnation>, out: &mut Actions) {
        self.pool.set_registered(workers);
        for state in self.jobs.values_mut() {
            state.await_only(|worker| self.pool.may_answer(worker), out);
        }
    }

    /// A job just taken from a dead owner asks every worker that may know something; a new one has no past.
    fn take(&mut self, job: JobId, epoch: Epoch, is_new: bool, out: &mut Actions) {
        let awaited = if is_new { Vec::new() } else { self.pool.may_answer_all() };
        for worker in awaited.iter().filter(|worker| self.pool.is_attached(worker)) {
            out.push(Action::Query { worker: worker.clone(), job, epoch });
        }
        self.jobs.insert(job, JobState::new(job, epoch, awaited, out));
    }

    /// The offered slot goes to the job that the fewest workers serve; among equals to the one this worker
    /// served last, whose executor is warm. A place ahead is taken only if that job has many more tasks than there are
    /// slots: they are not missed where a slot becomes free. A slot that would stay free gets what waits elsewhere.
    fn answer_offer(&mut self, worker: Incarnation, slot: u32, ahead: bool, out: &mut Actions) {
        let (n_slots, last) = (self.pool.n_slots(), self.pool.last_job(&worker));
        let eligible = self.jobs.values_mut().filter(|state| state.wants(&worker));
        let first = eligible.min_by_key(|state| (state.n_running(), Some(state.job()) != last, state.job()));
        if let Some(state) = first.filter(|state| !ahead || state.has_more_than(n_slots))
            && state.launch(&worker, slot, ahead, n_slots, out)
        {
            let job = state.job();
            return self.pool.set_last_job(&worker, job);
        }
        if !ahead {
            for state in self.jobs.values_mut().filter(|state| state.may_have(&worker)) {
                state.recall(out);
            }
            self.pool.set_declined(&worker);
        }
        out.push(Action::Decline { worker, slot, ahead });
    }

    /// Tells workers that were declined, and those that are new, as soon as there is something for them. Called at every
    /// event, of which there are several a task: it must not cost more when there are more workers.
    fn invite(&mut self, out: &mut Actions) {
        let uninvited = self.pool.uninvited();
        if uninvited.is_empty() {
            return;
        }
        let mut invited = BTreeSet::new();
        for state in self.jobs.values().filter(|state| state.has_waiting()) {
            match state.only_workers() {
                None => invited.clone_from(uninvited),
                Some(workers) => {
                    invited.extend(workers.filter(|worker| uninvited.contains(*worker)).cloned())
                }
            }
        }
        for worker in invited {
            self.pool.set_invited(&worker);
            out.push(Action::Invite { worker });
        }
    }
}

/// The actions of one event, and the time at which it happened.
#[derive(Debug)]
struct Actions {
    now_ms: u64,
    list: Vec<Action>,
}

impl Actions {
    fn push(&mut self, action: Action) {
        self.list.push(action);
    }

    fn record_end(&mut self, job: JobId, task: TaskId, attempt: AttemptId, end: AttemptEnd) {
        let at_ms = self.now_ms;
        self.push(Action::Record { job, event: HistoryEvent::Ended { task, attempt, end, at_ms } });
    }
}

/// The first failure that ends the job, if any does: deterministic, or the last of a task's budget.
fn fatal(failures: &[Failure], max_attempts: u32, retry_exceptions: bool) -> Option<&Failure> {
    use mapreduce_core::failure::FailureClass;
    let mut counted = 0;
    failures.iter().find(|failure| match failure.what.class(retry_exceptions) {
        FailureClass::Deterministic => true,
        FailureClass::Counted => {
            counted += 1;
            counted >= max_attempts
        }
        FailureClass::Uncounted => false,
    })
}
