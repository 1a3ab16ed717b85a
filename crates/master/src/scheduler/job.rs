//! One owned job, as a state machine.
//!
//! ```text
//!  taken ──► Awaiting ──► Loading ──► Running(map) ──► Sealing(map) ──► Running(reduce) ──► Sealing(reduce)
//!            answers of   storage                                                                │
//!            workers      is read      any step ──► Ending ◄─────────────────────────────────────┘
//! ```
//!
//! The order of the first two steps matters: an attempt that no worker names has ended or never began, so its
//! marker, if it made one, is visible to the read that follows.

mod takeover;

use std::collections::{BTreeMap, BTreeSet};

use mapreduce_core::{
    AttemptEnd, AttemptId, CodeRef, Epoch, Failure, Incarnation, JobId, Settings, Stage, TaskId,
    failure::FailureClass,
};

use super::{Action, Actions, Ending, Outcome, fatal};

/// An attempt and its task.
pub(super) type Answer = (TaskId, AttemptId);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Awaiting,
    Loading,
    Running(Stage),
    Sealing(Stage),
    Ending,
}

#[derive(Debug, Default)]
struct Task {
    winner: Option<AttemptId>,
    /// Attempts this owner launched.
    n_launched: u32,
    /// Attempts that run now, whoever launched them.
    n_running: u32,
    /// Not to be launched before an answer about it has come: its marker is being read, or it is paused.
    held: bool,
    /// An attempt was lost, which may yet commit: its worker may live where nobody hears it, and an executor outlives
    /// its worker for a moment. So the marker is read once more when there is a slot for the task.
    may_commit: bool,
    failures: Vec<Failure>,
}

#[derive(Debug)]
pub(super) struct JobState {
    job: JobId,
    epoch: Epoch,
    step: Step,
    /// Workers that may run something of the job and have not said.
    awaited: BTreeSet<Incarnation>,
    /// Known as soon as storage was read.
    /// Who submitted the job, and what to run.
    code: Option<(String, CodeRef)>,
    settings: Settings,
    n_partitions: u32,
    /// The tasks of the running stage.
    tasks: Vec<Task>,
    /// Those of them that can be launched.
    waiting: BTreeSet<u32>,
    n_uncommitted: usize,
    /// What runs where.
    running: BTreeMap<Incarnation, BTreeSet<Answer>>,
    /// Those of them that may not have begun, since something ran before them in their slot.
    ahead: BTreeMap<Incarnation, BTreeSet<Answer>>,
    /// Attempts whose worker was lost and whose end is being looked for in storage.
    doubtful: BTreeSet<Answer>,
    /// What came in while storage was being read.
    early_reports: Vec<(Incarnation, TaskId, AttemptId, Outcome)>,
    lost_early: Vec<Incarnation>,
}

impl JobState {
    pub(super) fn new(job: JobId, epoch: Epoch, awaited: Vec<Incarnation>, out: &mut Actions) -> JobState {
        let mut state = JobState {
            job,
            epoch,
            step: Step::Awaiting,
            awaited: awaited.into_iter().collect(),
            code: None,
            settings: Settings::default(),
            n_partitions: 0,
            tasks: Vec::new(),
            waiting: BTreeSet::new(),
            n_uncommitted: 0,
            running: BTreeMap::new(),
            ahead: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            early_reports: Vec::new(),
            lost_early: Vec::new(),
        };
        if !state.awaited.is_empty() {
            out.push(Action::BePatient { job });
        }
        state.load_if_answered(out);
        state
    }

    pub(super) fn job(&self) -> JobId {
        self.job
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn n_running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn has_waiting(&self) -> bool {
        matches!(self.step, Step::Running(_)) && !self.waiting.is_empty()
    }

    /// Whether more tasks wait than `n`.
    pub(super) fn has_more_than(&self, n: usize) -> bool {
        self.waiting.len() > n
    }

    /// Whether `worker` may have one of the job's tasks: there is one, and it may have it.
    pub(super) fn wants(&self, worker: &Incarnation) -> bool {
        self.has_waiting() && self.may_have(worker)
    }

    /// Whether the cap on workers allows this one.
    pub(super) fn may_have(&self, worker: &Incarnation) -> bool {
        self.only_workers().is_none() || self.running.contains_key(worker)
    }

    /// The workers that may have tasks of the job, if the cap allows no others.
    pub(super) fn only_workers(&self) -> Option<impl Iterator<Item = &Incarnation>> {
        let cap = self.settings.requested_n_workers.map_or(usize::MAX, |n| n as usize);
        (self.running.len() >= cap).then(|| self.running.keys())
    }

    // ---- running

    /// Launches the next waiting task in `slot`, or ahead in it, and says whether there was one; the caller has asked
    /// [`JobState::wants`].
    pub(super) fn launch(
        &mut self,
        worker: &Incarnation,
        slot: u32,
        ahead: bool,
        n_slots: usize,
        out: &mut Actions,
    ) -> bool {
        let Some(task) = self.next(out) else { return false };
        let Some((user, code)) = self.code.clone() else { return false };
        let Some(state) = self.task(task) else { return false };
        state.n_launched += 1;
        state.n_running += 1;
        let number = state.n_launched;
        let attempt = AttemptId { epoch: self.epoch, number };
        self.running.entry(worker.clone()).or_default().insert((task, attempt));
        if ahead {
            self.ahead.entry(worker.clone()).or_default().insert((task, attempt));
        }
        out.push(Action::Launch {
            worker: worker.clone(),
            slot,
            job: self.job,
            epoch: self.epoch,
            task,
            attempt,
            user,
            code,
            timeout_ms: self.settings.task_timeout_ms,
            more: self.has_more_than(n_slots),
            at_ms: out.now_ms,
        });
        true
    }

    /// The first task that waits, or the second, if the marker of the first must be read before. If both must be read
    /// there is none: of many tasks of lost workers, no more are asked after than there are slots for soon.
    fn next(&mut self, out: &mut Actions) -> Option<TaskId> {
        let Step::Running(stage) = self.step else { return None };
        for _ in 0..2 {
            let task = TaskId { stage, index: self.waiting.pop_first()? };
            let may_commit = self.task(task).is_some_and(|state| std::mem::take(&mut state.may_commit));
            if !may_commit {
                return Some(task);
            }
            self.read_marker(task, out);
        }
        None
    }

    /// A slot is free and no task waits: what has not begun where it was launched could begin there.
    pub(super) fn recall(&mut self, out: &mut Actions) {
        for (worker, attempts) in std::mem::take(&mut self.ahead) {
            let attempts: Vec<_> = attempts.into_iter().collect();
            if attempts.is_empty() {
                continue; // all of them have ended
            }
            out.push(Action::Recall { worker, job: self.job, attempts });
        }
    }

    pub(super) fn reported(
        &mut self,
        worker: &Incarnation,
        task: TaskId,
        attempt: AttemptId,
        outcome: Outcome,
        out: &mut Actions,
    ) {
        if matches!(self.step, Step::Awaiting | Step::Loading) {
            self.early_reports.push((worker.clone(), task, attempt, outcome));
            return;
        }
        if !self.forget(worker, task, attempt) {
            return;
        }
        let end = match &outcome {
            Outcome::Committed => AttemptEnd::Committed,
            Outcome::Superseded => AttemptEnd::Superseded,
            Outcome::Failed(_) => AttemptEnd::Failed,
            Outcome::Stopped | Outcome::Refused | Outcome::Returned => AttemptEnd::Stopped,
        };
        out.record_end(self.job, task, attempt, end);
        if self.step != Step::Running(task.stage) || self.task(task).is_none_or(|t| t.winner.is_some()) {
            return;
        }
        match outcome {
            Outcome::Committed => self.commit(task, attempt, out),
            // A stopped executor may have committed with its last breath.
            Outcome::Superseded | Outcome::Stopped => self.read_marker(task, out),
            Outcome::Failed(failure) => self.fail(task, *failure, out),
            Outcome::Refused => self.pause(task, out),
            Outcome::Returned => self.requeue(task.index as usize),
        }
    }

    /// A worker is gone, and what it ran with it; the tasks may be committed all the same.
    pub(super) fn lose(&mut self, worker: &Incarnation, out: &mut Actions) {
        self.awaited.remove(worker);
        self.ahead.remove(worker);
        match self.step {
            // Storage has not been read yet: what the worker committed will be seen.
            Step::Awaiting => {
                self.running.remove(worker);
                self.load_if_answered(out);
            }
            // Storage is being read: the worker may have committed just after.
            Step::Loading => self.lost_early.push(worker.clone()),
            _ => {
                for (task, attempt) in self.running.remove(worker).unwrap_or_default() {
                    self.doubt(task, attempt, out);
                }
            }
        }
    }

    fn doubt(&mut self, task: TaskId, attempt: AttemptId, out: &mut Actions) {
        let is_current = self.step == Step::Running(task.stage);
        match self.task(task) {
            Some(state) if is_current && state.winner.is_none() => {
                state.n_running = state.n_running.saturating_sub(1);
                state.may_commit = true;
                self.doubtful.insert((task, attempt));
                self.read_marker(task, out);
            }
            _ => out.record_end(self.job, task, attempt, AttemptEnd::Lost),
        }
    }

    /// What storage shows of a task, and so of attempts whose worker was lost. Any of them may have failed durably and
    /// not have said so, be it after another was launched: the next owner would count that, so this one does.
    pub(super) fn marker_read(
        &mut self,
        task: TaskId,
        winner: Option<AttemptId>,
        (failures, lost): (Vec<Failure>, Vec<AttemptId>),
        out: &mut Actions,
    ) {
        let mut winner_recorded = false;
        for attempt in lost {
            if !self.doubtful.remove(&(task, attempt)) {
                continue; // its worker has come back
            }
            let end = match winner {
                Some(winner) if winner == attempt => AttemptEnd::Committed,
                _ if failures.iter().any(|failure| failure.attempt == attempt) => AttemptEnd::Failed,
                _ => AttemptEnd::Lost,
            };
            winner_recorded |= end == AttemptEnd::Committed;
            out.record_end(self.job, task, attempt, end);
        }
        failures.into_iter().for_each(|failure| self.count(task, failure));
        let is_current = self.step == Step::Running(task.stage);
        let is_asked_after = self.doubtful_of(task).next().is_some();
        let Some(state) = self.task(task).filter(|state| is_current && state.winner.is_none()) else {
            return;
        };
        state.held = is_asked_after;
        match winner {
            Some(attempt) => {
                if !winner_recorded {
                    out.record_end(self.job, task, attempt, AttemptEnd::Committed);
                }
                self.commit(task, attempt, out);
            }
            None => {
                self.requeue(task.index as usize);
                self.fail_if_fatal(task, out);
            }
        }
    }

    /// The pause of a task is over. What the store did before it, only the marker tells.
    pub(super) fn retry(&mut self, task: TaskId, out: &mut Actions) {
        if self.task(task).is_some_and(|state| state.winner.is_none()) {
            self.read_marker(task, out);
        }
    }

    fn commit(&mut self, task: TaskId, attempt: AttemptId, out: &mut Actions) {
        let Some(state) = self.task(task) else { return };
        state.winner = Some(attempt);
        let others_run = state.n_running > 0;
        self.n_uncommitted -= 1;
        self.waiting.remove(&task.index);
        if others_run {
            self.stop_late(task, out);
        }
        self.seal_if_complete(out);
    }

    /// Stops what still runs of a committed task, wherever: rare, so nobody keeps a list of where each task runs.
    fn stop_late(&self, task: TaskId, out: &mut Actions) {
        for (worker, attempts) in &self.running {
            let late: Vec<_> = attempts.iter().filter(|(t, _)| *t == task).copied().collect();
            if !late.is_empty() {
                out.push(Action::Stop { worker: worker.clone(), job: self.job, attempts: late });
            }
        }
    }

    fn fail(&mut self, task: TaskId, failure: Failure, out: &mut Actions) {
        let class = failure.what.class(self.settings.retry_exceptions);
        self.count(task, failure);
        match class {
            FailureClass::Deterministic => self.fail_if_fatal(task, out),
            // An executor that died may have committed before; the budget is looked at after its marker.
            FailureClass::Counted => self.read_marker(task, out),
            FailureClass::Uncounted => self.pause(task, out),
        }
    }

    /// Each attempt fails once, however often that is heard of.
    fn count(&mut self, task: TaskId, failure: Failure) {
        if !self.has_failed(task, failure.attempt)
            && let Some(state) = self.task(task)
        {
            state.failures.push(failure);
        }
    }

    /// Ends the job if the task has failed for good; not while its marker is still to be read.
    fn fail_if_fatal(&mut self, task: TaskId, out: &mut Actions) {
        if self.task(task).is_none_or(|state| state.held) {
            return;
        }
        if let Some(failure) = self.is_fatal(task).cloned() {
            self.end(Ending::Failed(Box::new(failure)), out);
        }
    }

    /// The failure that ends the job, if the task is not committed and has one.
    fn is_fatal(&self, task: TaskId) -> Option<&Failure> {
        let state = self.tasks.get(task.index as usize).filter(|state| state.winner.is_none())?;
        fatal(&state.failures, self.settings.max_attempts, self.settings.retry_exceptions)
    }

    fn has_failed(&self, task: TaskId, attempt: AttemptId) -> bool {
        let state = self.tasks.get(task.index as usize).filter(|_| self.step == Step::Running(task.stage));
        state.is_some_and(|state| state.failures.iter().any(|failure| failure.attempt == attempt))
    }

    fn read_marker(&mut self, task: TaskId, out: &mut Actions) {
        if let Some(state) = self.task(task) {
            state.held = true;
            self.waiting.remove(&task.index);
            let lost = self.doubtful_of(task).collect();
            out.push(Action::ReadMarker { job: self.job, task, lost });
        }
    }

    fn pause(&mut self, task: TaskId, out: &mut Actions) {
        if let Some(state) = self.task(task) {
            state.held = true;
            out.push(Action::RetryLater { job: self.job, task });
        }
    }

    // ---- stages and the end

    fn seal_if_complete(&mut self, out: &mut Actions) {
        if let Step::Running(stage) = self.step
            && self.n_uncommitted == 0
        {
            self.step = Step::Sealing(stage);
            out.push(Action::Seal { job: self.job, stage });
        }
    }

    pub(super) fn sealed(&mut self, out: &mut Actions) {
        match self.step {
            Step::Sealing(Stage::Map) => {
                let n_tasks = self.n_partitions;
                self.tasks = (0..n_tasks).map(|_| Task::default()).collect();
                self.waiting = (0..n_tasks).collect();
                self.n_uncommitted = self.tasks.len();
                self.step = Step::Running(Stage::Reduce);
                self.seal_if_complete(out);
            }
            Step::Sealing(Stage::Reduce) => self.end(Ending::Succeeded, out),
            _ => {}
        }
    }

    /// Stops what runs, closes the history and ends the job.
    pub(super) fn end(&mut self, ending: Ending, out: &mut Actions) {
        if self.step == Step::Ending {
            return;
        }
        self.step = Step::Ending;
        self.waiting.clear();
        self.ahead.clear();
        for (worker, attempts) in std::mem::take(&mut self.running) {
            for &(task, attempt) in &attempts {
                out.record_end(self.job, task, attempt, AttemptEnd::Stopped);
            }
            let attempts = attempts.into_iter().collect();
            out.push(Action::Stop { worker, job: self.job, attempts });
        }
        for (task, attempt) in std::mem::take(&mut self.doubtful) {
            out.record_end(self.job, task, attempt, AttemptEnd::Lost);
        }
        out.push(Action::End { job: self.job, ending });
    }

    // ---- small helpers

    /// The attempts at a task whose end is being looked for.
    fn doubtful_of(&self, task: TaskId) -> impl Iterator<Item = AttemptId> + '_ {
        let first = AttemptId { epoch: Epoch(0), number: 0 };
        self.doubtful
            .range((task, first)..)
            .take_while(move |(of, _)| *of == task)
            .map(|(_, attempt)| *attempt)
    }

    /// The task, if it is one of the running stage.
    fn task(&mut self, task: TaskId) -> Option<&mut Task> {
        match self.step {
            Step::Running(stage) if stage == task.stage => self.tasks.get_mut(task.index as usize),
            _ => None,
        }
    }

    /// The attempt does not run any more. Whether it was known to.
    fn forget(&mut self, worker: &Incarnation, task: TaskId, attempt: AttemptId) -> bool {
        let Some(attempts) = self.running.get_mut(worker) else { return false };
        let known = attempts.remove(&(task, attempt));
        if attempts.is_empty() {
            self.running.remove(worker);
            self.ahead.remove(worker);
        } else if let Some(ahead) = self.ahead.get_mut(worker) {
            ahead.remove(&(task, attempt));
        }
        if known && let Some(state) = self.task(task) {
            state.n_running = state.n_running.saturating_sub(1);
        }
        known
    }

    /// Makes a task launchable, unless it is done, runs, or must wait for an answer.
    fn requeue(&mut self, index: usize) {
        if let Some(task) = self.tasks.get(index)
            && task.winner.is_none()
            && task.n_running == 0
            && !task.held
            && let Ok(index) = u32::try_from(index)
        {
            self.waiting.insert(index);
        }
    }
}
