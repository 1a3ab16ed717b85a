//! Running one attempt at a task, from what storage says about the job to the commit.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryFutureExt;
use mapreduce_core::{
    AttemptId, Clock, CodeRef, Content, Failure, FailureKind, Incarnation, JobId, JobSpec, OutputDescription,
    Partitioning, Persisted, Plan, Stage, TaskId, content_bytes_max,
};
use mapreduce_storage::{
    Commit, FileRef, Manifest, Marker, StorageError, Store, commit, delete_attempt, marker, paths, read,
    read_bytes,
};
use object_store::path::Path;

use crate::{
    Records, Resources, SideInputs, TaskError, UserCode, UserFailure,
    map::{MapSink, Partitioner},
    output,
    reduce::Merge,
    shuffle::{FileWriter, Stored, fetch_partition},
};

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

/// Makes user code of the bytes of a job's code object; of a native job, whose code this program is, it gets none.
pub type Load = dyn FnMut(&JobSpec, &[u8], &SideInputs) -> Result<Box<dyn UserCode>, UserFailure>;

/// Runs attempts, one after another. What it read of a job serves the job's next task, too.
pub struct Executor {
    resources: Resources,
    clock: Arc<dyn Clock>,
    load: Box<Load>,
    job: Option<Job>,
}

struct Job {
    spec: JobSpec,
    plan: Plan,
    code: Box<dyn UserCode>,
    side_inputs: SideInputs,
    /// What the last task left, if that was a map task that went well: empty.
    sink: Option<MapSink>,
    /// Once a reduce task has asked for it.
    maps: Option<Maps>,
}

/// The manifest of the map stage, and its digest.
struct Maps {
    manifest: Manifest,
    digest: String,
}

/// What an attempt made.
struct Output {
    file: Option<FileRef>,
    input_manifest: Option<String>,
    records_in: u64,
    records_out: u64,
}

impl Executor {
    /// An executor with these means.
    pub fn new(resources: Resources, clock: Arc<dyn Clock>, load: Box<Load>) -> Self {
        Executor { resources, clock, load, job: None }
    }

    /// Runs one attempt to its end.
    pub fn run_task(&mut self, assignment: &Assignment) -> Outcome {
        self.try_task(assignment).unwrap_or_else(|error| {
            let failure = UserFailure::from(error);
            let Assignment { task, attempt, worker, .. } = assignment.clone();
            Outcome::Failed(Box::new(failure.into_failure(task, attempt, worker, self.clock.unix_ms())))
        })
    }

    fn try_task(&mut self, assignment: &Assignment) -> Result<Outcome, TaskError> {
        let started_at_ms = self.clock.unix_ms();
        let &Assignment { job, task, attempt, ref worker } = assignment;
        if let Some(marker) = self.resources.wait(marker(self.store(), job, task))? {
            let mine = marker.attempt == attempt;
            return Ok(if mine { Outcome::Committed } else { Outcome::Superseded });
        }
        let mut opened = match self.job.take() {
            Some(opened) if opened.spec.job == job => opened,
            _ => self.open_job(job)?,
        };
        // What an attempt counted that failed counts for nothing.
        opened.code.take_counters();
        let output = match task.stage {
            Stage::Map => self.map(&mut opened, assignment),
            Stage::Reduce => self.reduce(&mut opened, assignment),
        };
        let counters = opened.code.take_counters();
        let unread = opened.side_inputs.take_failure();
        self.job = Some(opened);
        if let Some(error) = unread {
            // User code may have gone on without it, to the end. What went wrong first is what counts.
            let _ = self.delete_output(assignment);
            return Err(error);
        }
        let output = output?;
        let marker = Marker {
            task,
            attempt,
            worker: worker.clone(),
            files: output.file.into_iter().collect(),
            input_manifest: output.input_manifest,
            records_in: output.records_in,
            records_out: output.records_out,
            counters,
            started_at_ms,
            ended_at_ms: self.clock.unix_ms(),
        };
        match self.resources.wait(commit(self.store(), job, &marker)) {
            Ok(Commit::Won) => Ok(Outcome::Committed),
            Ok(Commit::Lost(_)) => {
                self.delete_output(assignment)?;
                Ok(Outcome::Superseded)
            }
            // There is no marker, for certain, and the next attempt needs the room. Again, the first error is what counts.
            Err(full @ StorageError::Full { .. }) => {
                let _ = self.delete_output(assignment);
                Err(full.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes what an attempt wrote that did not win.
    fn delete_output(&self, &Assignment { job, task, attempt, .. }: &Assignment) -> Result<(), TaskError> {
        self.resources.wait(delete_attempt(self.store(), job, task, attempt))?;
        if let (Stage::Reduce, Some(output)) = (task.stage, self.output()) {
            output::delete(output, (job, task, attempt))?;
        }
        Ok(())
    }

    /// Of the current job.
    fn output(&self) -> Option<&OutputDescription> {
        self.job.as_ref().and_then(|job| job.spec.output.as_ref())
    }

    fn store(&self) -> &Store {
        &self.resources.store
    }

    /// Reads what all tasks of the job need.
    fn open_job(&mut self, id: JobId) -> Result<Job, TaskError> {
        let store = self.store();
        let (spec, plan, code) = self.resources.wait(async {
            let (spec, plan) = tokio::try_join!(
                read_there::<JobSpec>(store, paths::spec(id)),
                read_there::<Plan>(store, paths::plan(id))
            )?;
            if let CodeRef::Native { .. } = spec.code {
                // It is this program, of which the worker knew the digest.
                return Ok((spec, plan, Bytes::new()));
            }
            let path = paths::code(id, spec.code.digest());
            let code = match spec.contents.get(&paths::below_job(&path)) {
                Some(Content(code)) => code.clone().into(),
                None => read_bytes(store, &path).await?.ok_or_else(|| not_found(&path))?,
            };
            if blake3::hash(&code).to_hex().as_str() != spec.code.digest() {
                let why = "its digest is not its name".to_owned();
                return Err(StorageError::Damaged { path: path.to_string(), why });
            }
            Ok((spec, plan, code))
        })?;
        let side_inputs = SideInputs::new(&spec, &self.resources);
        let code = (self.load)(&spec, &code, &side_inputs);
        let code = side_inputs.take_failure().map_or(code.map_err(TaskError::from), Err)?;
        if spec.settings.sort_values && code.combines() {
            let why = "values are combined before they could be sorted: leave either out";
            return Err(UserFailure::new(FailureKind::BadCode, why).into());
        }
        Ok(Job { spec, plan, code, side_inputs, sink: None, maps: None })
    }

    fn map(&self, job: &mut Job, assignment: &Assignment) -> Result<Output, TaskError> {
        let &Assignment { task, attempt, .. } = assignment;
        let JobSpec { job: id, inputs, contents, .. } = &job.spec;
        let records = Records::of(inputs, *id, task.index, contents, &self.resources)?;
        let mut records = records.ok_or_else(|| not_planned(task))?;
        let mut sink = job.sink.take().unwrap_or_else(|| {
            let sink = MapSink::new(&self.resources, partitioner(&job.spec, &job.plan));
            sink.sorting_values(job.spec.settings.sort_values)
        });
        job.code.map(&mut records, &mut sink)?;
        let records_out = sink.n_values();
        let path = paths::attempt_output(job.spec.job, task, attempt);
        let file = sink.finish(job.code.as_mut(), path, content_bytes_max(job.plan.n_splits))?;
        job.sink = Some(sink);
        Ok(Output { file: Some(file), input_manifest: None, records_in: records.n_records(), records_out })
    }

    fn reduce(&self, job: &mut Job, assignment: &Assignment) -> Result<Output, TaskError> {
        let &Assignment { task, attempt, .. } = assignment;
        // All of the memory is for merging.
        job.sink = None;
        if task.index >= job.plan.n_partitions {
            return Err(not_planned(task).into());
        }
        let maps = match job.maps.take() {
            Some(maps) => maps,
            None => self.resources.wait(Maps::read(self.store(), job.spec.job))?,
        };
        let maps = job.maps.insert(maps);
        let input_manifest = Some(maps.digest.clone());
        let id = job.spec.job;
        let groups = maps.open(&self.resources, id, task.index)?;
        let mut groups = groups.sorting_values(job.spec.settings.sort_values);
        if let Some(output) = &job.spec.output {
            let attempt = (id, task, attempt);
            let (file, records_out) = output::write(output, attempt, &mut groups, job.code.as_mut())?;
            return Ok(Output { file, input_manifest, records_in: groups.n_values(), records_out });
        }
        let (path, most) =
            (paths::attempt_output(id, task, attempt), content_bytes_max(job.plan.n_partitions));
        let mut file = FileWriter::new(Stored::new(&self.resources, path, most));
        let (mut records_out, mut value) = (0, Vec::new());
        while let Some(group) = groups.next_group()? {
            let (key, hint) = (group.key.clone(), group.hint.clone());
            value.clear();
            let n = job.code.reduce(group, &mut value)?;
            if n > 0 {
                file.push(&key, &hint, n, &value)?;
            }
            records_out += n;
        }
        file.end_partition()?;
        let (file, records_in) = (file.finish()?.finish()?, groups.n_values());
        Ok(Output { file: Some(file), input_manifest, records_in, records_out })
    }
}

impl Maps {
    async fn read(store: &Store, job: JobId) -> Result<Maps, StorageError> {
        let manifest: Manifest = read_there(store, paths::manifest(job, Stage::Map)).await?;
        let digest = manifest.digest();
        Ok(Maps { manifest, digest })
    }

    /// One partition of all map outputs.
    fn open(&self, resources: &Resources, job: JobId, partition: u32) -> Result<Merge, TaskError> {
        let files: Vec<_> = self.manifest.entries.iter().flat_map(|entry| &entry.files).collect();
        Merge::fetching(&files, resources, |file, part_bytes| {
            fetch_partition(resources, job, file, partition, part_bytes).map_ok(Some)
        })
    }
}

fn partitioner(spec: &JobSpec, plan: &Plan) -> Partitioner {
    match &spec.settings.partitioning {
        Partitioning::Hash => Partitioner::Hash { n_partitions: plan.n_partitions },
        Partitioning::Range { boundaries } => Partitioner::Range { boundaries: boundaries.clone() },
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
