//! The executors of one slot: the warmed process of Python and its fork, and the program of the job that was served
//! last, if that job brought one.
//!
//! Who has loaded a job's code keeps it for a moment after the job's end: the next job of the same user with the same
//! code finds it there, as the job's own next task would. Any other job finds an executor that has run nobody's code.

use std::{future::pending, io, sync::Arc, time::Duration};

use mapreduce_core::{CodeRef, Failure, FailureKind, JobId};
use mapreduce_rpc::executor::{Exit, Exited, from_executor::Message as From, to_executor::Message as To};
use tokio::time::{Instant, sleep, sleep_until};

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
/// How long code stays loaded that no job needs.
const KEPT: Duration = Duration::from_secs(1);
/// How many jobs an executor may serve, so that what their code leaks has an end.
const JOBS_MAX: u32 = 100;

pub(crate) struct Executors {
    shared: Arc<Shared>,
    /// The warmed process, if there is a Python, and what its fork has loaded.
    warmed: Option<Box<dyn Process>>,
    fork: Option<Loaded>,
    /// The program of a job that brought its own.
    own: Option<(Loaded, Box<dyn Process>)>,
}

/// The code that an executor has loaded.
struct Loaded {
    user: String,
    code: CodeRef,
    /// The job it serves, or served last.
    job: JobId,
    n_jobs: u32,
    /// Since that job has ended.
    idle_since: Option<Instant>,
}

impl Loaded {
    fn new(assignment: &Assignment) -> Loaded {
        let Assignment { job, user, code, .. } = assignment.clone();
        Loaded { user, code, job, n_jobs: 1, idle_since: None }
    }

    /// Takes the attempt's job for its own, if it may serve it.
    fn serves(&mut self, assignment: &Assignment) -> bool {
        let Assignment { job, user, code, .. } = assignment;
        if self.job != *job {
            if self.n_jobs >= JOBS_MAX || (&self.user, &self.code) != (user, code) {
                return false;
            }
            (self.job, self.n_jobs, self.idle_since) = (*job, self.n_jobs + 1, None);
        }
        true
    }

    fn leave(&mut self, job: JobId) {
        if self.job == job {
            self.idle_since = Some(Instant::now());
        }
    }

    /// When nobody needs it any more.
    fn end(&self) -> Option<Instant> {
        self.idle_since.map(|since| if self.n_jobs < JOBS_MAX { since + KEPT } else { since })
    }

    fn is_over(&self) -> bool {
        self.end().is_some_and(|end| end <= Instant::now())
    }
}

/// What happens to executors while their slot has nothing to run.
pub(crate) enum Idle {
    /// The warmed process died.
    Died,
    /// Code that is loaded has not been needed for long.
    Over,
}

impl Executors {
    pub(crate) fn new(shared: Arc<Shared>) -> Executors {
        Executors { shared, warmed: None, fork: None, own: None }
    }

    /// Starts the warmed process if there is none.
    pub(crate) async fn warm_up(&mut self) -> Result<(), NotStarted> {
        let Some(python) = &self.shared.options.python else { return Ok(()) };
        let mut failed = 0;
        while self.warmed.is_none() {
            match self.shared.launch(python).await {
                Ok(executor) => (self.warmed, self.fork) = (Some(executor), None),
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

    /// The job has ended.
    pub(crate) fn leave(&mut self, job: JobId) {
        self.loaded().for_each(|loaded| loaded.leave(job));
    }

    /// Ends what has not been needed for long.
    pub(crate) async fn end_idle(&mut self) {
        self.own.take_if(|(loaded, _)| loaded.is_over());
        if self.fork.as_ref().is_some_and(Loaded::is_over) {
            self.end_fork().await;
        }
    }

    fn loaded(&mut self) -> impl Iterator<Item = &mut Loaded> {
        self.fork.iter_mut().chain(self.own.iter_mut().map(|(loaded, _)| loaded))
    }

    /// Ends the fork of the warmed process, which makes the next one.
    async fn end_fork(&mut self) {
        if self.fork.take().is_some()
            && let Some(executor) = &mut self.warmed
            && end_fork(executor.as_mut()).await.is_err()
        {
            self.warmed = None;
        }
    }

    /// An attempt of this job has failed: no other job is to find what it has left behind.
    pub(crate) fn has_failed(&mut self, job: JobId) {
        self.loaded().filter(|loaded| loaded.job == job).for_each(|loaded| loaded.n_jobs = JOBS_MAX);
    }

    /// Lets go of all of them.
    pub(crate) fn drop_all(&mut self) {
        (self.warmed, self.fork, self.own) = (None, None, None);
    }

    /// Lets go of the executor that ran this code, which has died or is to.
    pub(crate) fn drop_executor(&mut self, code: &CodeRef) {
        match code {
            CodeRef::Python { .. } => (self.warmed, self.fork) = (None, None),
            CodeRef::Native { .. } | CodeRef::Commands { .. } => self.own = None,
        }
    }

    /// Returns when the warmed process, which is idle and should be silent, is not: it has died. Or when there is
    /// something to [end](Executors::end_idle). Cancel safe.
    pub(crate) async fn idle(&mut self) -> Idle {
        let end = self.loaded().filter_map(|loaded| loaded.end()).min();
        tokio::select! {
            biased;
            () = speaks(&mut self.warmed) => {}
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return Idle::Over,
        }
        tracing::warn!("an idle executor died; starting another");
        (self.warmed, self.fork) = (None, None);
        sleep(START_PAUSE).await;
        Idle::Died
    }

    /// The executor that runs the job's code, ready. If this is cut short, [`Executors::drop_all`] must follow.
    pub(crate) async fn executor_for(
        &mut self,
        assignment: &Assignment,
    ) -> Result<&mut dyn Process, Failure> {
        if self.fork.as_mut().is_some_and(|loaded| !loaded.serves(assignment)) {
            self.end_fork().await;
        }
        if let CodeRef::Python { .. } = assignment.code {
            self.own = None;
            if let Err(e) = self.warm_up().await {
                return Err(not_started(&self.shared, assignment, e));
            }
            self.fork.get_or_insert_with(|| Loaded::new(assignment));
            let no_python = || NotStarted {
                what: FailureKind::BadCode,
                why: "this worker has no Python: start it with --python".to_owned(),
            };
            let warmed = self.warmed.as_deref_mut().map(|process| process as &mut dyn Process);
            return warmed.ok_or_else(|| not_started(&self.shared, assignment, no_python()));
        }
        let own = match self.own.take_if(|(loaded, _)| loaded.serves(assignment)) {
            Some(own) => own,
            None => {
                self.own = None;
                (Loaded::new(assignment), self.start_own(assignment).await?)
            }
        };
        Ok(self.own.insert(own).1.as_mut())
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

/// Returns when a process says something, or its end; if there is none, never.
async fn speaks(process: &mut Option<Box<dyn Process>>) {
    match process {
        Some(process) => drop(process.receive().await),
        None => pending().await,
    }
}

/// Ends the fork of a warmed process, which stays.
async fn end_fork(executor: &mut dyn Process) -> io::Result<()> {
    executor.send(To::Exit(Exit {})).await?;
    match executor.receive().await? {
        From::Exited(Exited { code: 0, signal: 0 }) => Ok(()),
        other => Err(io::Error::other(format!("expected a clean exit, not {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_core::{AttemptId, Epoch, Stage, TaskId};

    use super::*;

    fn assignment(job: u64, user: &str, digest: &str) -> Assignment {
        Assignment {
            job: JobId(job),
            epoch: Epoch(1),
            task: TaskId { stage: Stage::Map, index: 0 },
            attempt: AttemptId { epoch: Epoch(1), number: 1 },
            user: user.to_owned(),
            code: CodeRef::Python { digest: digest.to_owned() },
            timeout_ms: None,
            more: false,
        }
    }

    #[test]
    fn only_the_same_code_of_the_same_user_is_served() {
        let mut loaded = Loaded::new(&assignment(1, "ada", "ab12"));
        assert!(!loaded.serves(&assignment(2, "eve", "ab12")));
        assert!(!loaded.serves(&assignment(2, "ada", "cd34")));
        assert!(loaded.serves(&assignment(1, "ada", "ab12")));
        assert!(loaded.serves(&assignment(2, "ada", "ab12")));
        let native = CodeRef::Native { digest: "ab12".to_owned() };
        assert!(!loaded.serves(&Assignment { code: native, ..assignment(3, "ada", "ab12") }));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_over_a_while_after_the_end_of_its_last_job() {
        let mut loaded = Loaded::new(&assignment(1, "ada", "ab12"));
        loaded.leave(JobId(2));
        assert_eq!(loaded.end(), None);
        loaded.leave(JobId(1));
        assert!(!loaded.is_over());
        assert!(loaded.serves(&assignment(2, "ada", "ab12")));
        // The end of the first one is heard of late.
        loaded.leave(JobId(1));
        assert_eq!(loaded.end(), None);
        loaded.leave(JobId(2));
        sleep(KEPT).await;
        assert!(loaded.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_an_end_to_the_jobs_it_serves() {
        let mut loaded = Loaded::new(&assignment(0, "ada", "ab12"));
        let n = (1..).take_while(|job| loaded.serves(&assignment(*job, "ada", "ab12"))).count();
        assert_eq!(n as u32, JOBS_MAX - 1);
        loaded.leave(JobId(n as u64));
        assert!(loaded.is_over(), "nobody can need it");
    }
}
