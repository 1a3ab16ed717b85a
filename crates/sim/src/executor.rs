//! Executors of the simulation: the real one, as a coroutine, behind the messages that a worker exchanges with its
//! processes.

use std::{io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use mapreduce_core::{FailureKind, JobSpec, Persisted};
use mapreduce_executor::{
    Assignment, Executor, Outcome, Resources, SideInputs, Suspend, UserCode, UserFailure,
};
use mapreduce_rpc::{
    executor::{
        Committed, Exit, Exited, Finished, RunTask, Superseded, finished, from_executor::Message as From,
        to_executor::Message as To,
    },
    parse,
};
use mapreduce_worker::{
    WorkerOptions,
    incarnation::{Launcher, NotStarted, Process as ExecutorProcess},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::spawn_local,
};

use crate::{
    coroutine::{Running, Suspender},
    disk::SimStore,
    laws,
    process::Process,
    user_code::{Behaviour, Code, Current},
};

/// Buffers of one executor. The pairs of a task fit, so that nothing spills to the real disk.
const MEMORY_BYTES: usize = 64 << 10;

/// Starts the coroutines, which are bound to the thread of the simulation.
pub(crate) type Spawner = UnboundedSender<Start>;

/// An executor to be started.
pub(crate) struct Start {
    process: Process,
    told: UnboundedReceiver<To>,
    says: UnboundedSender<From>,
}

/// Runs executors, as they are asked for, until nobody is left to ask.
pub(crate) async fn spawn_all(mut starts: UnboundedReceiver<Start>) {
    while let Some(start) = starts.recv().await {
        spawn_local(async move {
            let process = start.process.clone();
            let body = move |suspender| serve(start, suspender);
            tokio::select! {
                biased;
                () = process.death() => {}
                () = Running::new(body) => process.kill(),
            }
        });
    }
}

/// How a worker of the simulation starts executors.
pub(crate) struct SimLauncher {
    pub(crate) worker: Process,
    pub(crate) spawner: Spawner,
}

#[async_trait]
impl Launcher for SimLauncher {
    async fn launch(&self, _: &WorkerOptions, _: &[String]) -> Result<Box<dyn ExecutorProcess>, NotStarted> {
        self.worker.gate().await;
        let world = self.worker.world();
        let name = format!("{}/{:08x}", self.worker.name(), world.draw(1 << 32));
        let process = Process::start(world, self.worker.host(), name, (Some(self.worker.clone()), None));
        let (tell, told) = unbounded_channel();
        let (says, said) = unbounded_channel();
        let _ = self.spawner.send(Start { process: process.clone(), told, says }); // ends with the simulation
        Ok(Box::new(SimExecutor { process, tell, said }))
    }
}

/// A worker's end of an executor.
struct SimExecutor {
    process: Process,
    tell: UnboundedSender<To>,
    said: UnboundedReceiver<From>,
}

impl Drop for SimExecutor {
    fn drop(&mut self) {
        self.process.kill();
    }
}

#[async_trait]
impl ExecutorProcess for SimExecutor {
    async fn send(&mut self, message: To) -> io::Result<()> {
        self.tell.send(message).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn receive(&mut self) -> io::Result<From> {
        let said = self.said.recv().await;
        if let Some(worker) = self.process.parent() {
            worker.gate().await;
        }
        said.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn cause_of_death(&mut self) -> FailureKind {
        self.process.kill();
        FailureKind::ExecutorKilled { signal: 9 }
    }
}

/// The body of an executor's coroutine.
fn serve(Start { process, mut told, says }: Start, suspender: Arc<Suspender>) {
    let by: Arc<dyn Suspend> = suspender;
    let resources = Resources::suspending(SimStore::of(&process), by, MEMORY_BYTES, PathBuf::from("/tmp"));
    let current = Current::default();
    let mut executor = executor(&process, &resources, &current);
    while let Some(message) = resources.wait(told.recv()) {
        resources.wait(process.gate());
        let answer = match message {
            To::Run(task) => run(&process, &mut executor, &current, task),
            To::Exit(Exit {}) => Some(From::Exited(Exited { code: 0, signal: 0 })),
        };
        let Some(answer) = answer else { return };
        resources.wait(process.gate());
        let _ = says.send(answer); // the worker may be gone
    }
}

fn executor(process: &Process, resources: &Resources, current: &Current) -> Executor {
    let (own, means, now) = (process.clone(), resources.clone(), current.clone());
    let load = move |_: &JobSpec, code: &[u8], _: &SideInputs| {
        let behaviour: Behaviour = serde_json::from_slice(code)
            .map_err(|e| UserFailure::new(FailureKind::BadCode, e.to_string()))?;
        let code = Code { behaviour, process: own.clone(), resources: means.clone(), current: now.clone() };
        Ok(Box::new(code) as Box<dyn UserCode>)
    };
    Executor::new(resources.clone(), process.clock(), Box::new(load))
}

/// None if the assignment is none: a process that is told nonsense ends.
fn run(process: &Process, executor: &mut Executor, current: &Current, run: RunTask) -> Option<From> {
    let assignment = Assignment {
        job: parse(&run.job).ok()?,
        task: parse(&run.task).ok()?,
        attempt: parse(&run.attempt).ok()?,
        worker: parse(&run.worker).ok()?,
    };
    let Assignment { job, task, attempt, .. } = assignment;
    laws::begins(process, job, task, attempt);
    *current.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((job, task, attempt));
    let outcome = executor.run_task(&assignment);
    process.world().note(process.name(), format_args!("{job} {task} {attempt} {}", describe(&outcome)));
    let outcome = match outcome {
        Outcome::Committed => finished::Outcome::Committed(Committed {}),
        Outcome::Superseded => finished::Outcome::Superseded(Superseded {}),
        Outcome::Failed(failure) => finished::Outcome::Failure(failure.encode()),
    };
    Some(From::Finished(Finished { attempt: run.attempt, outcome: Some(outcome) }))
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(failure) => format!("failed: {}", failure.message),
        other => format!("{other:?}"),
    }
}
