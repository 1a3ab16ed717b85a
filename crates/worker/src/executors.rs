//! The executors of one slot: the warmed process of Python, which forks for each job, and the program of the job
//! that was served last, if that job brought one.

use std::{future::pending, io, sync::Arc, time::Duration};

use mapreduce_core::{CodeRef, Failure, FailureKind, JobId};
use mapreduce_rpc::executor::{Exit, Exited, from_executor::Message as From, to_executor::Message as To};
use tokio::time::sleep;

use crate::{
    agent::Assignment,
    incarnation::{NotStarted, Process},
    obituary::obituary,
    slot::Shared,
};

/// The first argument of a program that is to be an executor.
pub const EXECUTOR_ARGUMENT: &str = "mapreduce-executor";

/// Starts of a warmed process that may fail in a row before the worker gives up.
const STARTS_MAX: u32 = 3;
/// How long to wait after an executor died of itself.
const START_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Executors {
    shared: Arc<Shared>,
    /// The warmed process, if there is a Python, and the job that its fork has served.
    warmed: Option<Box<dyn Process>>,
    forked_for: Option<JobId>,
    /// The program of a job that brought its own.
    own: Option<(JobId, Box<dyn Process>)>,
}

impl Executors {
    pub(crate) fn new(shared: Arc<Shared>) -> Executors {
        Executors { shared, warmed: None, forked_for: None, own: None }
    }

    /// Starts the warmed process if there is none.
    pub(crate) async fn warm_up(&mut self) -> Result<(), NotStarted> {
        let Some(python) = &self.shared.options.python else { return Ok(()) };
        let mut failed = 0;
        while self.warmed.is_none() {
            match self.shared.launch(python).await {
                Ok(executor) => (self.warmed, self.forked_for) = (Some(executor), None),
                Err(e) if failed + 1 >= STARTS_MAX => return Err(e),
                Err(e) => {
                    failed += 1;
                    tracing::warn!("the executor does not start: {e}");
                    sleep(START_PAUSE).await;
                }
            }
        }
        Ok(())
    }

    /// Ends what serves only `job`.
    pub(crate) async fn leave(&mut self, job: JobId) {
        self.own.take_if(|(of, _)| *of == job);
        if self.forked_for.take_if(|of| *of == job).is_some()
            && let Some(executor) = &mut self.warmed
            && end_fork(executor.as_mut()).await.is_err()
        {
            self.warmed = None;
        }
    }

    /// Lets go of all of them.
    pub(crate) fn drop_all(&mut self) {
        (self.warmed, self.own) = (None, None);
    }

    /// Lets go of the executor that ran this code, which has died or is to.
    pub(crate) fn drop_executor(&mut self, code: &CodeRef) {
        match code {
            CodeRef::Python { .. } => self.warmed = None,
            CodeRef::Native { .. } | CodeRef::Commands { .. } => self.own = None,
        }
    }

    /// Returns when the warmed process, which is idle and should be silent, is not: it has died. Cancel safe.
    pub(crate) async fn warmed_died(&mut self) {
        match &mut self.warmed {
            Some(executor) => drop(executor.receive().await),
            None => pending().await,
        }
        tracing::warn!("an idle executor died; starting another");
        self.warmed = None;
        sleep(START_PAUSE).await;
    }

    /// The executor that runs the job's code, ready. If this is cut short, [`Executors::drop_all`] must follow.
    pub(crate) async fn executor_for(
        &mut self,
        assignment: &Assignment,
    ) -> Result<&mut dyn Process, Failure> {
        let job = assignment.job;
        if let Some(other) = self.forked_for.filter(|other| *other != job) {
            self.leave(other).await;
        }
        if let CodeRef::Python { .. } = assignment.code {
            self.own = None;
            if let Err(e) = self.warm_up().await {
                return Err(not_started(&self.shared, assignment, e));
            }
            self.forked_for = Some(job);
            let no_python = || NotStarted {
                what: FailureKind::BadCode,
                why: "this worker has no Python: start it with --python".to_owned(),
            };
            let warmed = self.warmed.as_deref_mut().map(|process| process as &mut dyn Process);
            return warmed.ok_or_else(|| not_started(&self.shared, assignment, no_python()));
        }
        let own = match self.own.take() {
            Some((of, executor)) if of == job => executor,
            _ => self.start_own(assignment).await?,
        };
        Ok(self.own.insert((job, own)).1.as_mut())
    }

    async fn start_own(&self, assignment: &Assignment) -> Result<Box<dyn Process>, Failure> {
        let Shared { options, store, programs, .. } = &*self.shared;
        let CodeRef::Native { digest } = &assignment.code else {
            let started = self.shared.launch(&options.commands).await;
            return started.map_err(|e| not_started(&self.shared, assignment, e));
        };
        let fetched = programs.fetch(store, &options.scratch, assignment.job, digest).await;
        let program = fetched.map_err(|e| Failure {
            message: format!("the job's program can't be fetched: {e}"),
            ..obituary(&self.shared, assignment, e.failure_kind())
        })?;
        let command = [program.display().to_string(), EXECUTOR_ARGUMENT.to_owned()];
        let started = self.shared.launch(&command).await;
        started.map_err(|e| {
            // It may have been taken away, for want of room or by a cleaner: then it is fetched again.
            let what = if program.exists() { e.what } else { FailureKind::Storage };
            not_started(&self.shared, assignment, NotStarted { what, ..e })
        })
    }
}

fn not_started(shared: &Shared, assignment: &Assignment, not: NotStarted) -> Failure {
    let message = format!("the job's code can't be run: {not}");
    Failure { message, ..obituary(shared, assignment, not.what) }
}

/// Ends the fork of a warmed process, which stays.
async fn end_fork(executor: &mut dyn Process) -> io::Result<()> {
    executor.send(To::Exit(Exit {})).await?;
    match executor.receive().await? {
        From::Exited(Exited { code: 0, signal: 0 }) => Ok(()),
        other => Err(io::Error::other(format!("expected a clean exit, not {other:?}"))),
    }
}
