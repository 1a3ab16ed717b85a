//! What clients ask for. Every master answers every call, whoever owns the job.

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use mapreduce_coordination::{
    CoordinationError, Version,
    records::{self, RecordError},
};
use mapreduce_core::{
    Epoch, InputDescription, JobId, JobPhase, JobRecord, JobSpec, MAP_TASKS_MAX, Persisted, Plan,
    REDUCE_TASKS_MAX,
};
use mapreduce_rpc::{
    control::{
        CancelRequest, ClearReply, ClearRequest, JobUpdate, LoginReply, LoginRequest, ReserveReply,
        ReserveRequest, SubmitReply, SubmitRequest, WatchRequest, jobs_server::Jobs,
    },
    parse,
};
use mapreduce_storage::{self as storage, Created, StorageError, paths};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{Caller, Guard};
use crate::{
    context::{Context, Input},
    incarnation::Handle,
};

pub(super) struct Service {
    pub(super) handle: Handle,
    pub(super) guard: Arc<Guard>,
}

#[tonic::async_trait]
impl Jobs for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<JobUpdate, Status>> + Send>>;

    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginReply>, Status> {
        let caller = self.guard.user(request.metadata()).await?;
        Ok(Response::new(LoginReply { role: caller.role.name().into() }))
    }

    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveReply>, Status> {
        self.guard.user(request.metadata()).await?;
        let job = records::next_job_id(self.handle.0.coordinator.as_ref()).await.map_err(record_status)?;
        Ok(Response::new(ReserveReply { job: job.to_string() }))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let caller = self.guard.user(request.metadata()).await?;
        let spec = JobSpec::decode(&request.into_inner().spec)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        check(&spec, &caller)?;
        // A task of its own: a client that hangs up must not leave a job that nobody was told of.
        let submitted = tokio::spawn(self.handle.clone().submit(spec));
        submitted.await.map_err(|e| Status::internal(e.to_string()))??;
        Ok(Response::new(SubmitReply {}))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.guard.user(request.metadata()).await?;
        let job = parse(&request.into_inner().job)?;
        let (record, _) = self.record(job).await?;
        let (updates, receiver) = mpsc::channel(4);
        tokio::spawn(watch(self.handle.0.clone(), record, updates));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<JobUpdate>, Status> {
        let caller = self.guard.user(request.metadata()).await?;
        let job = parse(&request.into_inner().job)?;
        loop {
            let (record, version) = self.record(job).await?;
            if record.phase.is_terminal() || record.phase == JobPhase::Publish || record.cancel {
                return Ok(Response::new(to_update(&record)));
            }
            if !caller.may_change(&record.user) {
                let who = &record.user;
                return Err(Status::permission_denied(format!(
                    "{job} is {who}'s; only {who} or an admin may cancel it"
                )));
            }
            let wanted = JobRecord { cancel: true, ..record.clone() };
            match records::update_job(self.handle.0.coordinator.as_ref(), &(record, version), &wanted).await {
                Ok(_) => return Ok(Response::new(to_update(&wanted))),
                Err(RecordError::Coordination(CoordinationError::Conflict { .. })) => {}
                Err(e) => return Err(record_status(e)),
            }
        }
    }

    async fn clear(&self, request: Request<ClearRequest>) -> Result<Response<ClearReply>, Status> {
        let caller = self.guard.user(request.metadata()).await?;
        let asked = request.into_inner().jobs;
        let asked: Vec<JobId> = asked.iter().map(|job| parse(job)).collect::<Result<_, _>>()?;
        let all = records::jobs(self.handle.0.coordinator.as_ref()).await.map_err(record_status)?;
        let read = self.read_by_live_jobs(&all).await?;
        let mut cleared = Vec::new();
        for (record, version) in all {
            let named = asked.contains(&record.job);
            if asked.is_empty() || named {
                let free = record.phase.is_terminal() && !read.contains(&record.job);
                if free && caller.may_change(&record.user) {
                    self.clear_job(record.job, version).await?;
                    cleared.push(record.job.to_string());
                } else if named {
                    let why = format!(
                        "{} has not ended, is read by another job, or is another user's: nothing of it was removed",
                        record.job
                    );
                    return Err(Status::failed_precondition(why));
                }
            }
        }
        Ok(Response::new(ClearReply { jobs: cleared }))
    }
}

impl Service {
    async fn record(&self, job: JobId) -> Result<(JobRecord, Version), Status> {
        let found = records::job(self.handle.0.coordinator.as_ref(), job).await.map_err(record_status)?;
        found.ok_or_else(|| Status::not_found(format!("there is no {job} in this cluster")))
    }

    /// Jobs whose results jobs that have not ended read (invariant I11).
    async fn read_by_live_jobs(&self, all: &[(JobRecord, Version)]) -> Result<BTreeSet<JobId>, Status> {
        let mut read = BTreeSet::new();
        for (record, _) in all.iter().filter(|(record, _)| !record.phase.is_terminal()) {
            let spec = storage::read::<JobSpec>(&self.handle.0.store, &paths::spec(record.job)).await;
            read.extend(spec.map_err(storage_status)?.iter().flat_map(sources));
        }
        Ok(read)
    }

    /// Objects first: what is cut short can be repeated as long as the record is there.
    async fn clear_job(&self, job: JobId, version: Version) -> Result<(), Status> {
        storage::delete_job(&self.handle.0.store, job).await.map_err(storage_status)?;
        match records::delete_job(self.handle.0.coordinator.as_ref(), job, version).await {
            Ok(()) | Err(RecordError::Coordination(CoordinationError::Conflict { .. })) => Ok(()),
            Err(e) => Err(record_status(e)),
        }
    }
}

/// The jobs whose results this one reads.
fn sources(spec: &JobSpec) -> impl Iterator<Item = JobId> {
    spec.inputs.iter().filter_map(|input| match input {
        InputDescription::Result { of, .. } => Some(*of),
        _ => None,
    })
}

/// What no job can have.
fn check(spec: &JobSpec, caller: &Caller) -> Result<(), Status> {
    let settings = &spec.settings;
    let Plan { n_splits, n_partitions } = Plan::new(spec);
    let wrong = if spec.user != caller.name {
        Some(format!("the spec names {:?} as its user, the caller is {:?}", spec.user, caller.name))
    } else if settings.requested_n_workers == Some(0) {
        Some("requested_n_workers must be at least 1".to_owned())
    } else if settings.n_partitions == Some(0) {
        Some("n_partitions must be at least 1".to_owned())
    } else if settings.max_attempts == 0 {
        Some("max_attempts must be at least 1".to_owned())
    } else if n_splits > MAP_TASKS_MAX {
        Some(format!("a job has at most {MAP_TASKS_MAX} splits, not {}: make them larger", spec.n_splits()))
    } else if n_partitions > REDUCE_TASKS_MAX {
        Some(format!("a job has at most {REDUCE_TASKS_MAX} partitions, not {n_partitions}: ask for fewer"))
    } else {
        None
    };
    wrong.map_or(Ok(()), |why| Err(Status::invalid_argument(why)))
}

impl Handle {
    /// Takes a job on whose input and code are in storage. The same again changes nothing.
    pub async fn submit(self, spec: JobSpec) -> Result<(), Status> {
        let Handle(context) = self;
        let job = spec.job;
        let record = async |job| records::job(context.coordinator.as_ref(), job).await.map_err(record_status);
        for of in sources(&spec) {
            // What was submitted before may have ended, and what it read may have gone since.
            if record(of).await?.is_none() && record(job).await?.is_none() {
                return Err(Status::failed_precondition(format!(
                    "{of}, whose result {job} reads, was cleared"
                )));
            }
        }
        let created = storage::create(&context.store, &paths::spec(job), &spec).await;
        if let Created::Other(_) = created.map_err(storage_status)? {
            return Err(Status::already_exists(format!(
                "{job} was submitted before with another specification"
            )));
        }
        let record = JobRecord {
            job,
            user: spec.user,
            owner: Some(context.me.clone()),
            epoch: Epoch(1),
            phase: JobPhase::Map,
            cancel: false,
            requested_n_workers: spec.settings.requested_n_workers,
            submitted_at_ms: spec.submitted_at_ms,
        };
        match records::create_job(context.coordinator.as_ref(), &record).await {
            Ok(version) => {
                context.tell(Input::Taken { record, version, is_new: true });
                Ok(())
            }
            // Submitted before, with the same spec: it runs, or has run, already.
            Err(RecordError::Coordination(CoordinationError::AlreadyExists { .. })) => Ok(()),
            Err(e) => Err(record_status(e)),
        }
    }
}

/// Sends the record now and at every change that a client can see, until the job has ended.
async fn watch(context: Context, mut record: JobRecord, updates: mpsc::Sender<Result<JobUpdate, Status>>) {
    let mut changes = context.coordinator.watch(records::JOBS);
    if updates.send(Ok(to_update(&record))).await.is_err() {
        return;
    }
    while !record.phase.is_terminal() {
        changes.borrow_and_update();
        let update = match records::job(context.coordinator.as_ref(), record.job).await {
            Ok(Some((now, _))) if now == record => {
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = updates.closed() => return,
                }
                continue;
            }
            Ok(Some((now, _))) => {
                record = now;
                Ok(to_update(&record))
            }
            Ok(None) => Err(Status::not_found(format!("{} was cleared", record.job))),
            Err(e) => Err(record_status(e)),
        };
        let failed = update.is_err();
        if updates.send(update).await.is_err() || failed {
            return;
        }
    }
}

fn to_update(record: &JobRecord) -> JobUpdate {
    JobUpdate {
        job: record.job.to_string(),
        phase: record.phase.name().to_owned(),
        cancel: record.cancel,
        owner: record.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
        epoch: record.epoch.0,
    }
}

fn record_status(error: RecordError) -> Status {
    match error {
        RecordError::Coordination(e) => Status::unavailable(e.to_string()),
        e => Status::internal(e.to_string()),
    }
}

fn storage_status(error: StorageError) -> Status {
    Status::unavailable(error.to_string())
}
