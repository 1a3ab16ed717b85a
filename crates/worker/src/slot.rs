//! One slot: keeps an executor ready, runs one attempt at a time in it, and turns every way of dying into a
//! typed, durable failure.

use std::{io, sync::Arc, time::Duration};

use mapreduce_core::{Clock, Failure, FailureKind, Incarnation, JobId, Persisted};
use mapreduce_rpc::executor::{
    Exit, Exited, Finished, RunTask, finished, from_executor::Message as From, to_executor::Message as To,
};
use mapreduce_storage::{Store, paths};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::{sleep, timeout},
};

use crate::{
    WorkerOptions,
    agent::{Assignment, Event, Outcome},
    executor::Executor,
    shell::Input,
};

/// Starts of a warmed process that may fail in a row before the worker gives up.
const STARTS_MAX: u32 = 3;
/// How long to wait after an executor died of itself.
const START_PAUSE: Duration = Duration::from_millis(200);
/// Tries at writing a failure record before the attempt is reported as stopped instead.
const RECORD_TRIES_MAX: u32 = 6;

/// What the agent asks of a slot.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Assignment),
    /// End the executor of this job, which will have no more tasks.
    Leave(JobId),
    Kill,
}

/// What every slot of a worker shares.
pub(crate) struct Shared {
    pub(crate) options: WorkerOptions,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) worker: Incarnation,
    pub(crate) inputs: UnboundedSender<Input>,
}

pub(crate) struct Slot {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: UnboundedReceiver<Command>,
}

impl Slot {
    /// Serves until the worker drops the other end of `commands`.
    pub(crate) async fn serve(mut self) {
        let mut failed_starts = 0;
        loop {
            match Executor::start(&self.shared.options).await {
                Ok(executor) => {
                    failed_starts = 0;
                    if !self.use_up(executor).await {
                        return;
                    }
                }
                Err(e) if failed_starts + 1 >= STARTS_MAX => return self.send(Input::Fatal(e)),
                Err(e) => {
                    failed_starts += 1;
                    tracing::warn!(slot = self.index, "{e}");
                    sleep(START_PAUSE).await;
                }
            }
        }
    }

    fn send(&self, input: Input) {
        // Fails only when the worker is ending, and then nobody wants to know.
        let _ = self.shared.inputs.send(input);
    }

    /// Runs attempts until the executor must be replaced: then true. False when the worker is ending.
    async fn use_up(&mut self, mut executor: Executor) -> bool {
        let mut forked_for: Option<JobId> = None;
        loop {
            self.send(Input::Agent(Event::SlotReady(self.index)));
            let assignment = loop {
                tokio::select! {
                    command = self.commands.recv() => match command {
                        Some(Command::Run(assignment)) => break assignment,
                        Some(Command::Leave(job)) if forked_for == Some(job) => {
                            forked_for = None;
                            if leave(&mut executor).await.is_err() {
                                return true;
                            }
                        }
                        // What a kill was meant for has just ended.
                        Some(Command::Leave(_) | Command::Kill) => {}
                        None => return false,
                    },
                    // Idle executors don't speak: one that does has died. A task that comes in before the next
                    // one is warm waits in `commands`.
                    _ = executor.receive() => {
                        tracing::warn!(slot = self.index, "an idle executor died; starting another");
                        sleep(START_PAUSE).await;
                        return true;
                    }
                }
            };
            let other_job = forked_for.replace(assignment.job).is_some_and(|job| job != assignment.job);
            if other_job && leave(&mut executor).await.is_err() {
                self.end(Outcome::Stopped);
                return true;
            }
            let ended = tokio::select! {
                answer = attempt(&mut executor, &assignment, &self.shared.worker) => answer,
                killed = killed(&mut self.commands) => match killed {
                    Some(()) => Err(None),
                    None => return false,
                },
            };
            match ended {
                Ok(outcome) => self.end(self.settle(&assignment, outcome).await),
                Err(death) => {
                    drop(executor);
                    let outcome = match death {
                        Some(what) => self.record(&assignment, self.obituary(&assignment, what)).await,
                        None => Outcome::Stopped,
                    };
                    self.end(outcome);
                    return true;
                }
            }
        }
    }

    fn end(&self, outcome: Outcome) {
        self.send(Input::Agent(Event::Ended(self.index, outcome)));
    }

    /// What an executor that is still alive said of its attempt.
    async fn settle(&self, assignment: &Assignment, outcome: finished::Outcome) -> Outcome {
        match outcome {
            finished::Outcome::Committed(_) => Outcome::Committed,
            finished::Outcome::Superseded(_) => Outcome::Superseded,
            finished::Outcome::Failure(bytes) => match Failure::decode(&bytes) {
                Ok(failure) => self.record(assignment, failure).await,
                Err(e) => {
                    tracing::error!(task = %assignment.task, "the executor's failure can't be read: {e}");
                    self.record(assignment, self.obituary(assignment, FailureKind::BadData)).await
                }
            },
        }
    }

    fn obituary(&self, assignment: &Assignment, what: FailureKind) -> Failure {
        Failure {
            task: assignment.task,
            attempt: assignment.attempt,
            worker: self.shared.worker.clone(),
            message: describe(&what),
            what,
            traceback: String::new(),
            record: None,
            pickled_exception: None,
            at_ms: self.shared.clock.unix_ms(),
        }
    }

    /// Makes a failure durable, so that the budget it counts against survives every master. A failure that
    /// can't be recorded is the store's fault and does not count.
    async fn record(&self, assignment: &Assignment, failure: Failure) -> Outcome {
        let path = paths::failure(assignment.job, assignment.task, assignment.attempt);
        for n in 0..RECORD_TRIES_MAX {
            match mapreduce_storage::create(&self.shared.store, &path, &failure).await {
                Ok(_) => return Outcome::Failed(failure.encode()),
                Err(e) => tracing::warn!(task = %assignment.task, "a failure can't be recorded: {e}"),
            }
            sleep(Duration::from_millis(50 << n)).await;
        }
        Outcome::Stopped
    }
}

/// Returns when a kill is asked for; none when the worker is ending.
async fn killed(commands: &mut UnboundedReceiver<Command>) -> Option<()> {
    loop {
        match commands.recv().await? {
            Command::Kill => return Some(()),
            // For an idle slot, which this is not.
            Command::Leave(_) | Command::Run(_) => {}
        }
    }
}

/// Runs one attempt. An error is the executor's death, and how it died.
async fn attempt(
    executor: &mut Executor,
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
        // The warmed process went with its executor: the whole group was killed.
        Ok(_) | Err(_) => Err(Some(FailureKind::ExecutorKilled { signal: 9 })),
    }
}

/// Ends the executor of another job; the warmed process stays.
async fn leave(executor: &mut Executor) -> io::Result<()> {
    executor.send(To::Exit(Exit {})).await?;
    match executor.receive().await? {
        From::Exited(Exited { code: 0, signal: 0 }) => Ok(()),
        other => Err(io::Error::other(format!("expected a clean exit, not {other:?}"))),
    }
}

fn describe(what: &FailureKind) -> String {
    match what {
        FailureKind::ExecutorExited { code } => format!(
            "the executor process exited with code {code} while it ran user code: look for os._exit or a library that ends the process"
        ),
        FailureKind::ExecutorKilled { signal: 9 } => {
            "the executor process was killed (SIGKILL) while it ran user code: \
            most likely the machine ran out of memory"
                .into()
        }
        FailureKind::ExecutorKilled { signal } => {
            let name = match signal {
                4 => "SIGILL",
                6 => "SIGABRT",
                7 => "SIGBUS",
                8 => "SIGFPE",
                11 => "SIGSEGV",
                15 => "SIGTERM",
                _ => "a signal",
            };
            format!(
                "the executor process was killed by {name} ({signal}) while it ran user code: \
                 look for a crash in a native library"
            )
        }
        FailureKind::TimedOut { limit_ms } => {
            format!(
                "the task took longer than its limit of {limit_ms} ms: raise task_timeout or make the splits smaller"
            )
        }
        other => format!("{other:?}"),
    }
}
