//! Messages between masters and workers: what each makes of the other's, and what its scheduler or agent does then.
//!
//! Messages stand behind each other, each behind its length. The choice says who is listening.

use mapreduce_core::{
    AttemptId, CodeRef, Epoch, Failure, FailureKind, Incarnation, JobId, JobPhase, Persisted, Plan, Role,
    Settings, Stage, TaskId,
};
use mapreduce_master::scheduler::{Event as MasterEvent, JobLoaded, Scheduler};
use mapreduce_rpc::control::{
    Assign, Decline, Ended, Hello, JobUpdate, Language, MasterMessage, Offer, Outcome, Query, Recall, Report,
    Running, RunningAttempt, Stop, SubmitRequest, Work, WorkerMessage, master_message::Message as FromMaster,
    worker_message::Message as FromWorker,
};
use mapreduce_worker::agent::{Agent, Event as WorkerEvent};
use prost::Message;

use crate::{check_error, seed};

const JOB: JobId = JobId(7);

/// Hands the messages to a worker or to a master.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    match choice & 3 {
        0 => to_worker(messages(bytes)),
        1 => to_master(messages(bytes)),
        2 => drop(messages::<SubmitRequest>(bytes)),
        _ => drop(messages::<JobUpdate>(bytes)),
    }
}

/// All messages up to the first that is none.
fn messages<M: Message + Default + PartialEq + std::fmt::Debug>(mut bytes: &[u8]) -> Vec<M> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let Ok(message) = M::decode_length_delimited(&mut bytes) else { break };
        assert_eq!(M::decode(message.encode_to_vec().as_slice()).as_ref(), Ok(&message));
        all.push(message);
    }
    all
}

/// A worker with two slots, whose first runs something by the time the second message comes.
fn to_worker(messages: Vec<MasterMessage>) {
    let masters = [1, 2].map(|n| Incarnation::new(Role::Master, n));
    let mut agent = Agent::new(2);
    for master in &masters {
        agent.handle(WorkerEvent::MasterAttached(master.clone()));
    }
    agent.handle(WorkerEvent::SlotReady(0));
    for (message, master) in messages.into_iter().zip(masters.iter().cycle()) {
        match mapreduce_worker::incarnation::to_event(master, message) {
            Ok(event) => drop(event.map(|event| agent.handle(event))),
            Err(status) => check_error(&status),
        }
        agent.handle(WorkerEvent::SlotReady(1));
    }
    agent.handle(WorkerEvent::Ended(0, mapreduce_worker::agent::Outcome::Stopped));
    agent.handle(WorkerEvent::Drain);
}

/// A master with a job of three splits.
fn to_master(messages: Vec<WorkerMessage>) {
    let workers = [1, 2].map(|n| Incarnation::new(Role::Worker, n));
    let mut scheduler = Scheduler::default();
    let mut handle = |event| drop(scheduler.handle(event, 1));
    for worker in &workers {
        handle(MasterEvent::Attached { worker: worker.clone(), n_slots: u32::MAX });
    }
    handle(MasterEvent::Taken { job: JOB, epoch: Epoch(1), is_new: true });
    let loaded = JobLoaded {
        phase: JobPhase::Map,
        plan: Plan { n_splits: 3, n_partitions: 2 },
        user: "ada".to_owned(),
        code: CodeRef::Python { digest: "ab12".to_owned() },
        output: None,
        settings: Settings::default(),
        winners: Default::default(),
        failures: Default::default(),
        open: Vec::new(),
    };
    handle(MasterEvent::Loaded { job: JOB, epoch: Epoch(1), loaded });
    for (message, worker) in messages.into_iter().zip(workers.iter().cycle()) {
        let Some(message) = message.message else { continue };
        match mapreduce_master::incarnation::to_event(worker, message) {
            Ok(event) => handle(event),
            Err(status) => check_error(&status),
        }
    }
    handle(MasterEvent::Detached { worker: workers[0].clone() });
    for index in 0..3 {
        let task = TaskId { stage: Stage::Map, index };
        handle(MasterEvent::MarkerRead {
            job: JOB,
            epoch: Epoch(1),
            task,
            winner: None,
            failures: Vec::new(),
            lost: Vec::new(),
        });
    }
    handle(MasterEvent::Sealed { job: JOB, epoch: Epoch(1) });
}

fn joined<M: Message>(choice: u8, messages: &[M]) -> Vec<u8> {
    seed(choice, messages.iter().flat_map(M::encode_length_delimited_to_vec).collect::<Vec<u8>>())
}

fn said_by_worker() -> Vec<FromWorker> {
    let task = TaskId { stage: Stage::Map, index: 0 };
    let attempt = AttemptId { epoch: Epoch(1), number: 1 };
    let failure = Failure {
        task,
        attempt,
        worker: Incarnation::new(Role::Worker, 2),
        what: FailureKind::ExecutorExited { code: 1 },
        message: "gone".to_owned(),
        traceback: String::new(),
        record: None,
        pickled_exception: None,
        at_ms: 3,
    };
    let report = |task: &str, outcome: Outcome, failure| {
        let (job, attempt) = (JOB.to_string(), attempt.to_string());
        FromWorker::Report(Report { job, task: task.to_owned(), attempt, outcome: outcome.into(), failure })
    };
    vec![
        FromWorker::Offer(Offer { slot: 0, ahead: false }),
        FromWorker::Offer(Offer { slot: 1, ahead: false }),
        FromWorker::Offer(Offer { slot: 0, ahead: true }),
        report("map/1", Outcome::Failed, failure.encode()),
        report("map/0", Outcome::Committed, Vec::new()),
        report("map/2", Outcome::Returned, Vec::new()),
        FromWorker::Running(Running {
            job: JOB.to_string(),
            epoch: 1,
            attempts: vec![RunningAttempt { task: "map/1".to_owned(), attempt: "1-1".to_owned() }],
        }),
        FromWorker::Hello(Hello { worker: "worker-000000000001".to_owned(), n_slots: 2 }),
    ]
}

fn said_by_master() -> Vec<FromMaster> {
    let (job, task, attempt) = (JOB.to_string(), "map/0".to_owned(), "1-1".to_owned());
    let attempts = vec![RunningAttempt { task: task.clone(), attempt: attempt.clone() }];
    vec![
        FromMaster::Work(Work { available: true }),
        FromMaster::Query(Query { job: job.clone(), epoch: 1 }),
        FromMaster::Assign(Assign {
            slot: 0,
            job: job.clone(),
            epoch: 1,
            task,
            attempt,
            timeout_ms: 9,
            language: Language::Python.into(),
            digest: "ab12".to_owned(),
            more: true,
            user: "ada".to_owned(),
        }),
        FromMaster::Decline(Decline { slot: 1, ahead: false }),
        FromMaster::Recall(Recall { job: job.clone(), attempts: attempts.clone() }),
        FromMaster::Stop(Stop { job: job.clone(), attempts }),
        FromMaster::Ended(Ended { job }),
    ]
}

/// What each says in the course of a job.
pub fn seeds() -> Vec<Vec<u8>> {
    let from_master: Vec<_> =
        said_by_master().into_iter().map(|message| MasterMessage { message: Some(message) }).collect();
    let from_worker: Vec<_> =
        said_by_worker().into_iter().map(|message| WorkerMessage { message: Some(message) }).collect();
    let update = JobUpdate {
        job: JOB.to_string(),
        phase: "map".to_owned(),
        cancel: true,
        owner: "master-000000000001".to_owned(),
        epoch: 2,
    };
    vec![
        joined(0, &from_master),
        joined(1, &from_worker),
        joined(2, &[SubmitRequest { spec: b"mapreduce spec v3".to_vec() }]),
        joined(3, &[update]),
    ]
}
