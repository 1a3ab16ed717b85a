//! Learning how far a job is: from the workers, who say what they run, and then from storage.

use std::collections::{BTreeMap, BTreeSet};

use mapreduce_core::{AttemptEnd, AttemptId, Failure, HistoryEvent, Incarnation, JobPhase, Stage, TaskId};

use super::{Answer, JobState, Step, Task};
use crate::scheduler::{Action, Actions, JobLoaded};

impl JobState {
    /// A worker said what it runs. One that attaches later than the take-over is heard as well.
    pub(in crate::scheduler) fn answered(
        &mut self,
        worker: &Incarnation,
        attempts: &[Answer],
        out: &mut Actions,
    ) {
        match self.step {
            Step::Awaiting | Step::Loading => {
                for &attempt in attempts {
                    self.running.entry(worker.clone()).or_default().insert(attempt);
                }
                self.awaited.remove(worker);
                self.load_if_answered(out);
            }
            _ => self.adopt(worker, attempts, out),
        }
    }

    /// Stops waiting for workers that are not alive any more.
    pub(in crate::scheduler) fn await_only(
        &mut self,
        may_answer: impl Fn(&Incarnation) -> bool,
        out: &mut Actions,
    ) {
        self.awaited.retain(may_answer);
        self.load_if_answered(out);
    }

    pub(in crate::scheduler) fn stop_awaiting(&mut self, out: &mut Actions) {
        self.await_only(|_| false, out);
    }

    pub(super) fn load_if_answered(&mut self, out: &mut Actions) {
        if self.step == Step::Awaiting && self.awaited.is_empty() {
            self.step = Step::Loading;
            out.push(Action::Load { job: self.job });
        }
    }

    pub(in crate::scheduler) fn load(&mut self, loaded: JobLoaded, out: &mut Actions) {
        if self.step != Step::Loading {
            return;
        }
        let JobLoaded { phase, plan, user, code, settings, winners, mut failures, open, output: _ } = loaded;
        let stage = if phase == JobPhase::Map { Stage::Map } else { Stage::Reduce };
        self.code = Some((user, code));
        self.settings = settings;
        self.record_open_ends(&open, &winners, &failures, out);
        let unended: BTreeSet<TaskId> = open.iter().map(|(task, _)| *task).collect();
        let new_task = |id: TaskId| Task {
            winner: winners.get(&id).copied(),
            may_commit: unended.contains(&id),
            failures: failures.remove(&id).unwrap_or_default(),
            ..Task::default()
        };
        self.tasks = plan.tasks(stage).map(new_task).collect();
        self.n_partitions = plan.n_partitions;
        self.step = Step::Running(stage);
        self.n_uncommitted = self.tasks.iter().filter(|task| task.winner.is_none()).count();

        for (worker, mut attempts) in std::mem::take(&mut self.running) {
            // One whose failure is in storage has ended; its worker has not said so yet.
            attempts.retain(|(task, attempt)| !self.has_failed(*task, *attempt));
            self.adopt(&worker, &attempts.into_iter().collect::<Vec<_>>(), out);
        }
        for index in 0..self.tasks.len() {
            self.requeue(index);
        }
        // Who failed for the last time may have committed before: after the markers were read.
        let fatal: Vec<_> = plan.tasks(stage).filter(|task| self.is_fatal(*task).is_some()).collect();
        for task in fatal {
            self.read_marker(task, out);
        }
        for (worker, task, attempt, outcome) in std::mem::take(&mut self.early_reports) {
            self.reported(&worker, task, attempt, outcome, out);
        }
        for worker in std::mem::take(&mut self.lost_early) {
            self.lose(&worker, out);
        }
        self.seal_if_complete(out);
    }

    /// Launches of earlier owners that have no end in the history: what storage shows is how they ended.
    fn record_open_ends(
        &self,
        open: &[Answer],
        winners: &BTreeMap<TaskId, AttemptId>,
        failures: &BTreeMap<TaskId, Vec<Failure>>,
        out: &mut Actions,
    ) {
        let runs: BTreeSet<_> = self.running.values().flatten().copied().collect();
        for &(task, attempt) in open {
            let failed = failures.get(&task).is_some_and(|all| all.iter().any(|f| f.attempt == attempt));
            if winners.get(&task) == Some(&attempt) {
                out.record_end(self.job, task, attempt, AttemptEnd::Committed);
            } else if failed {
                out.record_end(self.job, task, attempt, AttemptEnd::Failed);
            } else if !runs.contains(&(task, attempt)) {
                out.record_end(self.job, task, attempt, AttemptEnd::Lost);
            }
        }
    }

    /// Attempts that run on `worker`: those that can still matter are taken for ours, the others stopped.
    fn adopt(&mut self, worker: &Incarnation, attempts: &[Answer], out: &mut Actions) {
        let mut useless = Vec::new();
        for &(task, attempt) in attempts {
            if self.step != Step::Running(task.stage) || self.task(task).is_none_or(|t| t.winner.is_some()) {
                useless.push((task, attempt));
            } else if self.running.entry(worker.clone()).or_default().insert((task, attempt)) {
                self.waiting.remove(&task.index);
                self.doubtful.remove(&(task, attempt));
                if let Some(state) = self.task(task) {
                    state.n_running += 1;
                }
                self.ahead.entry(worker.clone()).or_default().insert((task, attempt));
                let (worker, at_ms) = (worker.clone(), out.now_ms);
                let event = HistoryEvent::Adopted { task, attempt, worker, at_ms };
                out.push(Action::Record { job: self.job, event });
            }
        }
        if !useless.is_empty() {
            out.push(Action::Stop { worker: worker.clone(), job: self.job, attempts: useless });
        }
    }
}
