//! One slot: keeps executors ready, runs one attempt at a time in one of them, and turns every way of dying into
//! a typed, durable failure.

use std::{sync::Arc, time::Duration};

use mapreduce_core::{Clock, Failure, FailureKind, Incarnation, JobId, Persisted};
use mapreduce_rpc::executor::{
    Exited, Finished, RunTask, finished, from_executor::Message as From, to_executor::Message as To,
};
use mapreduce_storage::{Store, paths};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::{sleep, timeout},
};

use crate::{
    WorkerError, WorkerOptions,
    agent::{Assignment, Event, Outcome},
    executors::{Executors, Idle},
    incarnation::{Launcher, NotStarted, Process},
    obituary::obituary,
    program::Programs,
    shell::Input,
};

/// Tries at writing a failure record before the attempt is reported as stopped instead.
const RECORD_TRIES_MAX: u32 = 6;
/// How long a slot is left alone after the disk or the store under it failed: at first, and at most.
const TROUBLE_PAUSE_FIRST: Duration = Duration::from_millis(250);
const TROUBLE_PAUSE_MAX: Duration = Duration::from_secs(15);

/// What the agent asks of a slot.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Assignment),
    /// This job will have no more tasks.
    Leave(JobId),
    Kill,
}

/// What every slot of a worker shares.
pub(crate) struct Shared {
    pub(crate) options: WorkerOptions,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) launcher: Arc<dyn Launcher>,
    pub(crate) worker: Incarnation,
    pub(crate) inputs: UnboundedSender<Input>,
    pub(crate) programs: Programs,
}

impl Shared {
    pub(crate) async fn launch(&self, line: &[String]) -> Result<Box<dyn Process>, NotStarted> {
        self.launcher.launch(&self.options, line).await
    }
}

pub(crate) struct Slot {
    index: usize,
    shared: Arc<Shared>,
    commands: UnboundedReceiver<Command>,
    executors: Executors,
    /// Jobs that have ended while an attempt ran.
    ended: Vec<JobId>,
    /// Attempts in a row that ended because the disk or the store did not do its part.
    in_trouble: u32,
}

/// The other end of the commands is dropped: the worker is ending.
struct Ending;

impl Slot {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, commands: UnboundedReceiver<Command>) -> Slot {
        let executors = Executors::new(shared.clone());
        Slot { index, shared, commands, executors, ended: Vec::new(), in_trouble: 0 }
    }

    /// Serves until the worker drops the other end of `commands`. A slot in trouble takes no task for a while, since
    /// the next one would fail the same way, on a full disk for instance; others may fare better.
    pub(crate) async fn serve(mut self) {
        let mut was_ready = false;
        loop {
            if let Some(pause) = trouble_pause(self.in_trouble) {
                sleep(pause).await;
            }
            for job in std::mem::take(&mut self.ended) {
                self.executors.leave(job);
            }
            match self.executors.warm_up().await {
                Ok(()) => was_ready = true,
                // The machine is short of something. At the start, something is wrong with the worker.
                Err(e) if was_ready => {
                    tracing::warn!("the executor does not start: {e}");
                    self.in_trouble = self.in_trouble.saturating_add(1);
                    continue;
                }
                Err(e) => return self.send(Input::Fatal(WorkerError::Executor(e.to_string()))),
            }
            self.send(Input::Agent(Event::SlotReady(self.index)));
            let Ok(assignment) = self.next_assignment().await else { return };
            let Some(assignment) = assignment else { continue };
            match self.attempt(&assignment).await {
                Ok(outcome) => self.send(Input::Agent(Event::Ended(self.index, outcome))),
                Err(Ending) => return,
            }
        }
    }

    fn send(&self, input: Input) {
        // Fails only when the worker is ending, and then nobody wants to know.
        let _ = self.shared.inputs.send(input);
    }

    /// The next attempt to run; none if an executor died before it came.
    async fn next_assignment(&mut self) -> Result<Option<Assignment>, Ending> {
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command.ok_or(Ending)? {
                    Command::Run(assignment) => return Ok(Some(assignment)),
                    Command::Leave(job) => self.executors.leave(job),
                    Command::Kill => {} // what it was meant for has just ended
                },
                // A task that comes in before the next executor is warm waits in `commands`.
                idle = self.executors.idle() => match idle {
                    Idle::Died => return Ok(None),
                    Idle::Over => self.executors.end_idle().await,
                },
            }
        }
    }

    async fn attempt(&mut self, assignment: &Assignment) -> Result<Outcome, Ending> {
        let worker = self.shared.worker.clone();
        let started = tokio::select! {
            biased;
            started = self.executors.executor_for(assignment) => Some(started),
            killed = killed(&mut self.commands, &mut self.ended) => { killed?; None }
        };
        let executor = match started {
            Some(Ok(executor)) => executor,
            Some(Err(failure)) => return Ok(self.record(assignment, failure).await),
            None => {
                self.executors.drop_all();
                return Ok(Outcome::Stopped);
            }
        };
        let ended = tokio::select! {
            biased;
            answer = attempt(executor, assignment, &worker) => answer,
            killed = killed(&mut self.commands, &mut self.ended) => { killed?; Err(None) }
        };
        Ok(match ended {
            Ok(outcome) => self.settle(assignment, outcome).await,
            Err(death) => {
                self.executors.drop_executor(&assignment.code);
                match death {
                    Some(what) => self.record(assignment, self.obituary(assignment, what)).await,
                    None => Outcome::Stopped,
                }
            }
        })
    }

    fn obituary(&self, assignment: &Assignment, what: FailureKind) -> Failure {
        obituary(&self.shared, assignment, what)
    }

    /// What an executor that is still alive said of its attempt.
    async fn settle(&mut self, assignment: &Assignment, outcome: finished::Outcome) -> Outcome {
        match outcome {
            finished::Outcome::Committed(_) => {
                self.in_trouble = 0;
                Outcome::Committed
            }
            finished::Outcome::Superseded(_) => Outcome::Superseded,
            finished::Outcome::Failure(bytes) => {
                self.executors.has_failed(assignment.job);
                let failure = Failure::decode(&bytes).unwrap_or_else(|e| {
                    tracing::error!(task = %assignment.task, "the executor's failure can't be read: {e}");
                    self.obituary(assignment, FailureKind::BadData)
                });
                self.record(assignment, failure).await
            }
        }
    }

    /// Makes a failure durable, so that the budget it counts against survives every master. A failure that counts
    /// and can't be recorded is the store's fault and does not count; one that does not count anyway is reported all
    /// the same.
    async fn record(&mut self, assignment: &Assignment, failure: Failure) -> Outcome {
        let path = paths::failure(assignment.job, assignment.task, assignment.attempt);
        let is_trouble = failure.what == FailureKind::Storage;
        self.in_trouble = if is_trouble { self.in_trouble.saturating_add(1) } else { 0 };
        if is_trouble {
            tracing::warn!(job = %assignment.job, task = %assignment.task, attempt = %assignment.attempt,
                "the attempt is given up, and the task tried again: {}", failure.message);
        }
        for n in 0..RECORD_TRIES_MAX {
            match mapreduce_storage::create(&self.shared.store, &path, &failure).await {
                Ok(_) => return Outcome::Failed(failure.encode()),
                Err(e) => tracing::warn!(task = %assignment.task, "a failure can't be recorded: {e}"),
            }
            if is_trouble {
                return Outcome::Failed(failure.encode());
            }
            sleep(Duration::from_millis(50 << n)).await;
        }
        self.in_trouble = self.in_trouble.saturating_add(1);
        Outcome::Stopped
    }
}

/// How long to wait after so many attempts in a row that were given up for want of a disk or store. None is not the same
/// as no time, which takes the timer a millisecond.
fn trouble_pause(in_trouble: u32) -> Option<Duration> {
    let before = in_trouble.checked_sub(1)?;
    Some(TROUBLE_PAUSE_MAX.min(TROUBLE_PAUSE_FIRST * (1 << before.min(16))))
}

/// Returns when a kill is asked for; meanwhile keeps what can only be done afterwards.
async fn killed(commands: &mut UnboundedReceiver<Command>, ended: &mut Vec<JobId>) -> Result<(), Ending> {
    loop {
        match commands.recv().await.ok_or(Ending)? {
            Command::Kill => return Ok(()),
            Command::Leave(job) => ended.push(job),
            // For an idle slot, which this is not.
            Command::Run(_) => {}
        }
    }
}

/// Runs one attempt. An error is the executor's death, and how it died.
async fn attempt(
    executor: &mut dyn Process,
    assignment: &Assignment,
    worker: &Incarnation,
) -> Result<finished::Outcome, Option<FailureKind>> {
    let run = RunTask {
        job: assignment.job.to_string(),
        task: assignment.task.to_string(),
        attempt: assignment.attempt.to_string(),
        worker: worker.to_string(),
    };
    let answer = async {
        executor.send(To::Run(run)).await?;
        executor.receive().await
    };
    let answer = match assignment.timeout_ms {
        Some(limit_ms) => timeout(Duration::from_millis(limit_ms), answer)
            .await
            .map_err(|_| Some(FailureKind::TimedOut { limit_ms }))?,
        None => answer.await,
    };
    match answer {
        Ok(From::Finished(Finished { attempt, outcome: Some(outcome) }))
            if attempt == assignment.attempt.to_string() =>
        {
            Ok(outcome)
        }
        Ok(From::Exited(Exited { code, signal: 0 })) => Err(Some(FailureKind::ExecutorExited { code })),
        Ok(From::Exited(Exited { signal, .. })) => Err(Some(FailureKind::ExecutorKilled { signal })),
        // The process at the other end is gone.
        Ok(_) | Err(_) => Err(Some(executor.cause_of_death().await)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_in_trouble_waits_longer_each_time_and_never_for_long() {
        let pauses: Vec<_> = (0..100).map(trouble_pause).collect();
        assert_eq!(pauses[..3], [None, Some(TROUBLE_PAUSE_FIRST), Some(TROUBLE_PAUSE_FIRST * 2)]);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[99], Some(TROUBLE_PAUSE_MAX));
        assert_eq!(trouble_pause(u32::MAX), Some(TROUBLE_PAUSE_MAX));
    }
}
