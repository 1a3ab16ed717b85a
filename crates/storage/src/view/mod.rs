//! What people see of a job: a fold over its durable records, the same ones that recovery reads. So it shows
//! every task's state with no master alive, and nobody has to keep a state for it.

mod attempts;
mod tasks;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::TryStreamExt;
use mapreduce_core::{Failure, History, Incarnation, JobId, JobRecord, Plan, Stage, TaskId};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde::Serialize;

pub use self::{
    attempts::{AttemptView, Outcome, attempts},
    tasks::{JobView, TaskState, TaskView, job_view},
};
use crate::{Marker, StorageError, Store, failures, history, markers, paths, read};

/// What is durable about a job's tasks.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// None until the first owner has written it.
    pub plan: Option<Plan>,
    /// The markers of both stages.
    pub markers: BTreeMap<TaskId, Marker>,
    /// The failed attempts of every task that has any.
    pub failures: BTreeMap<TaskId, Vec<Failure>>,
    /// The audit, in order.
    pub history: Vec<History>,
}

/// Reads what is durable about a job's tasks. The order matters: the history is read before what it speaks
/// of, so whatever it says has ended has its marker or failure among these facts.
pub async fn facts(store: &Store, job: JobId) -> Result<Facts, StorageError> {
    let history = history(store, job).await?;
    let (failures, map, reduce, plan) = futures::try_join!(
        failures(store, job),
        markers(store, job, Stage::Map),
        markers(store, job, Stage::Reduce),
        async { read(store, &paths::plan(job)).await },
    )?;
    Ok(Facts { plan, markers: map.into_iter().chain(reduce).collect(), failures, history })
}

/// The job as it is now. `live` are the incarnations of masters and workers that are alive.
pub async fn load(
    store: &Store,
    record: JobRecord,
    live: &BTreeSet<Incarnation>,
) -> Result<JobView, StorageError> {
    let facts = facts(store, record.job).await?;
    Ok(job_view(record, &facts, live))
}

/// Every attempt of the job, in the order of launches.
pub async fn load_attempts(store: &Store, job: JobId) -> Result<Vec<AttemptView>, StorageError> {
    let facts = facts(store, job).await?;
    Ok(attempts(&facts.history, &facts.markers, &facts.failures))
}

/// One object of a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TreeEntry {
    /// Where it is.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
}

/// Every object below `prefix`, sorted by path; all of them if it is empty.
pub async fn tree(store: &Store, prefix: &str) -> Result<Vec<TreeEntry>, StorageError> {
    let prefix = parse(prefix)?;
    let listed = store
        .list(Some(&prefix))
        .map_ok(|object| TreeEntry { path: object.location.to_string(), size: object.size });
    let mut entries: Vec<TreeEntry> =
        listed.try_collect().await.map_err(|error| StorageError::of(&prefix, error))?;
    entries.sort();
    Ok(entries)
}

/// What the object at `path` holds.
pub async fn object(store: &Store, path: &str) -> Result<Bytes, StorageError> {
    let path = parse(path)?;
    let found = async { store.get(&path).await?.bytes().await };
    found.await.map_err(|error| StorageError::of(&path, error))
}

fn parse(path: &str) -> Result<Path, StorageError> {
    let invalid = |source| StorageError::Unavailable { path: path.to_owned(), source };
    Path::parse(path).map_err(|error| invalid(error.into()))
}
