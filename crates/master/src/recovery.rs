//! Reads a job's durable state into what the scheduler goes on from: the same for a job that was just
//! submitted and for one whose every process had died.

use mapreduce_core::{Epoch, JobPhase, JobRecord, JobSpec, Plan, Stage};
use mapreduce_storage::{self as storage, StorageError, paths};

use crate::{context::Context, scheduler::JobLoaded};

/// Reads spec, plan, history, markers and failures; also answers what [`HistoryEvent::Owned`] says of the history.
/// `is_new`: the job was submitted here just now, so there is nothing but the spec.
pub(crate) async fn load(
    context: &Context,
    record: &JobRecord,
    is_new: bool,
) -> Result<(JobLoaded, Vec<(Epoch, u64)>), StorageError> {
    let (store, job) = (&context.store, record.job);
    let spec = required::<JobSpec>(context, paths::spec(job)).await?;
    let plan = Plan::new(&spec);
    let mut loaded = JobLoaded {
        phase: record.phase,
        plan,
        user: spec.user,
        code: spec.code,
        output: spec.output,
        settings: spec.settings,
        winners: Default::default(),
        failures: Default::default(),
        open: Vec::new(),
    };
    if is_new {
        return Ok((loaded, Vec::new()));
    }
    // Before the markers: a commit that it tells of is then among them.
    let audit = storage::audit(store, job).await?;
    let stage = if record.phase == JobPhase::Map { Stage::Map } else { Stage::Reduce };
    loaded.winners = storage::winners(store, job, stage, audit.committed).await?;
    loaded.failures = storage::failures(store, job).await?;
    loaded.failures.retain(|task, _| task.stage == stage);
    loaded.open = audit.open.into_iter().filter(|(task, _)| task.stage == stage).collect();
    Ok((loaded, audit.last.into_iter().collect()))
}

/// The record at `path`, which has to be there.
pub(crate) async fn required<T: mapreduce_core::Persisted>(
    context: &Context,
    path: object_store::path::Path,
) -> Result<T, StorageError> {
    let found = storage::read(&context.store, &path).await?;
    found.ok_or_else(|| StorageError::NotFound { path: path.to_string() })
}
