//! Running one attempt at a task, from what storage says about the job to the commit.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use mapreduce_core::{
    AttemptId, Clock, Failure, FailureKind, Incarnation, JobId, JobSpec, Persisted, Plan, Stage, TaskId,
};
use mapreduce_storage::{
    Commit, FileRef, Manifest, Marker, StorageError, Store, commit, delete_attempt, marker, paths, put_file,
    read, read_bytes, splits::read_split,
};
use object_store::path::Path;
use tokio::runtime::Runtime;

use crate::{
    UserCode, UserFailure,
    map::MapSink,
    reduce::Merge,
    shuffle::{FileWriter, fetch_partition},
};

/// Map outputs that are fetched at one time.
const FETCHES_AT_ONCE: usize = 16;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// This try at it.
    pub attempt: AttemptId,
    /// The worker whose slot this is.
    pub worker: Incarnation,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its marker is the task's.
    Committed,
    /// The task had a marker of another attempt.
    Superseded,
    /// It did not come to a commit, or nobody knows whether it did.
    Failed(Box<Failure>),
}

/// Makes user code of the bytes of a job's code object.
pub type Load = dyn FnMut(&JobSpec, &[u8]) -> Result<Box<dyn UserCode>, UserFailure>;

/// Runs attempts, one after another. What it read of a job serves the job's next task, too.
pub struct Executor {
    store: Store,
    runtime: Runtime,
    clock: Arc<dyn Clock>,
    load: Box<Load>,
    job: Option<Job>,
}

struct Job {
    id: JobId,
    plan: Plan,
    code: Box<dyn UserCode>,
    /// Once a reduce task has asked for it.
    maps: Option<Maps>,
}

/// The manifest of the map stage, and its digest.
struct Maps {
    manifest: Manifest,
    digest: String,
}

/// What an attempt made, before it is durable.
struct Output {
    file: Bytes,
    input_manifest: Option<String>,
    records_in: u64,
    records_out: u64,
}

#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the user's code failed")]
    User(UserFailure),
}

impl From<UserFailure> for TaskError {
    fn from(failure: UserFailure) -> Self {
        TaskError::User(failure)
    }
}

impl Executor {
    /// An executor of the jobs in `store`. It does its I/O on `runtime`, and calls user code outside of it.
    pub fn new(store: Store, runtime: Runtime, clock: Arc<dyn Clock>, load: Box<Load>) -> Self {
        Executor { store, runtime, clock, load, job: None }
    }

    /// Runs one attempt to its end.
    pub fn run_task(&mut self, assignment: &Assignment) -> Outcome {
        self.try_task(assignment).unwrap_or_else(|error| {
            let failure = match error {
                TaskError::User(failure) => failure,
                TaskError::Storage(error) => UserFailure::new(error.failure_kind(), error.to_string()),
            };
            let Assignment { task, attempt, worker, .. } = assignment.clone();
            Outcome::Failed(Box::new(failure.into_failure(task, attempt, worker, self.clock.unix_ms())))
        })
    }

    fn try_task(&mut self, assignment: &Assignment) -> Result<Outcome, TaskError> {
        let started_at_ms = self.clock.unix_ms();
        let &Assignment { job, task, attempt, ref worker } = assignment;
        if let Some(marker) = self.runtime.block_on(marker(&self.store, job, task))? {
            let mine = marker.attempt == attempt;
            return Ok(if mine { Outcome::Committed } else { Outcome::Superseded });
        }
        let mut opened = match self.job.take() {
            Some(opened) if opened.id == job => opened,
            _ => self.open_job(job)?,
        };
        let output = match task.stage {
            Stage::Map => self.map(&mut opened, task),
            Stage::Reduce => self.reduce(&mut opened, task),
        };
        self.job = Some(opened);
        let output = output?;
        let file = self.write(assignment, output.file)?;
        let marker = Marker {
            task,
            attempt,
            worker: worker.clone(),
            files: vec![file],
            input_manifest: output.input_manifest,
            records_in: output.records_in,
            records_out: output.records_out,
            started_at_ms,
            ended_at_ms: self.clock.unix_ms(),
        };
        match self.runtime.block_on(commit(&self.store, job, &marker))? {
            Commit::Won => Ok(Outcome::Committed),
            Commit::Lost(_) => {
                self.runtime.block_on(delete_attempt(&self.store, job, task, attempt))?;
                Ok(Outcome::Superseded)
            }
        }
    }

    fn write(&self, assignment: &Assignment, file: Bytes) -> Result<FileRef, StorageError> {
        let path = paths::attempt_output(assignment.job, assignment.task, assignment.attempt);
        self.runtime.block_on(put_file(&self.store, &path, file))
    }

    /// Reads what all tasks of the job need.
    fn open_job(&mut self, id: JobId) -> Result<Job, TaskError> {
        let store = &self.store;
        let (spec, plan, code) = self.runtime.block_on(async {
            let (spec, plan) = tokio::try_join!(
                read_there::<JobSpec>(store, paths::spec(id)),
                read_there::<Plan>(store, paths::plan(id))
            )?;
            let path = paths::code(id, spec.code.digest());
            let code = read_bytes(store, &path).await?.ok_or_else(|| not_found(&path))?;
            if blake3::hash(&code).to_hex().as_str() != spec.code.digest() {
                let why = "its digest is not its name".to_owned();
                return Err(StorageError::Damaged { path: path.to_string(), why });
            }
            Ok((spec, plan, code))
        })?;
        let code = (self.load)(&spec, &code)?;
        Ok(Job { id, plan, code, maps: None })
    }

    fn map(&self, job: &mut Job, task: TaskId) -> Result<Output, TaskError> {
        let split = job.plan.splits.get(task.index as usize).ok_or_else(|| not_planned(task))?;
        let records = self.runtime.block_on(read_split(&self.store, job.id, split))?;
        let mut sink = MapSink::new(job.plan.n_partitions);
        job.code.map(&mut records.iter(), &mut sink)?;
        let records_out = sink.n_values();
        Ok(Output { file: sink.into_file(), input_manifest: None, records_in: split.records, records_out })
    }

    fn reduce(&self, job: &mut Job, task: TaskId) -> Result<Output, TaskError> {
        if task.index >= job.plan.n_partitions {
            return Err(not_planned(task).into());
        }
        let maps = match job.maps.take() {
            Some(maps) => maps,
            None => self.runtime.block_on(Maps::read(&self.store, job.id))?,
        };
        let Maps { manifest, digest } = job.maps.insert(maps);
        let files = manifest.entries.iter().flat_map(|entry| &entry.files);
        let fetches = files.map(|file| fetch_partition(&self.store, job.id, file, task.index));
        let fetched = futures::stream::iter(fetches).buffered(FETCHES_AT_ONCE).try_collect();
        let mut groups = Merge::new(self.runtime.block_on(fetched)?)?;
        let mut file = FileWriter::new();
        let (mut records_in, mut records_out, mut value) = (0, 0, Vec::new());
        while let Some(group) = groups.next_group()? {
            value.clear();
            job.code.reduce(&group, &mut value)?;
            file.push(&group.key, &group.hint, 1, &value);
            records_in += group.n_values();
            records_out += 1;
        }
        file.end_partition();
        let input_manifest = Some(digest.clone());
        Ok(Output { file: file.finish(), input_manifest, records_in, records_out })
    }
}

impl Maps {
    async fn read(store: &Store, job: JobId) -> Result<Maps, StorageError> {
        let manifest: Manifest = read_there(store, paths::manifest(job, Stage::Map)).await?;
        let digest = manifest.digest();
        Ok(Maps { manifest, digest })
    }
}

fn not_planned(task: TaskId) -> UserFailure {
    UserFailure::new(FailureKind::BadData, format!("the job's plan has no task {task}"))
}

fn not_found(path: &Path) -> StorageError {
    StorageError::NotFound { path: path.to_string() }
}

/// The record at `path`, which must be there.
async fn read_there<T: Persisted>(store: &Store, path: Path) -> Result<T, StorageError> {
    read(store, &path).await?.ok_or_else(|| not_found(&path))
}
