//! The records of a job that are kept one by one and read all together.

use std::collections::BTreeMap;

use futures::{TryStreamExt, stream};
use mapreduce_core::{Audit, Failure, History, JobId, TaskId};

use crate::{StorageError, Store, object, paths};

/// The failed attempts of every task that has any, in the order of attempts.
pub async fn failures(store: &Store, job: JobId) -> Result<BTreeMap<TaskId, Vec<Failure>>, StorageError> {
    let mut by_task: BTreeMap<TaskId, Vec<Failure>> = BTreeMap::new();
    for failure in read_failures(store, job, None).await? {
        by_task.entry(failure.task).or_default().push(failure);
    }
    Ok(by_task)
}

/// The failed attempts of one task, in their order.
pub async fn task_failures(store: &Store, job: JobId, task: TaskId) -> Result<Vec<Failure>, StorageError> {
    read_failures(store, job, Some(task)).await
}

async fn read_failures(
    store: &Store,
    job: JobId,
    task: Option<TaskId>,
) -> Result<Vec<Failure>, StorageError> {
    let place = |failure: &Failure| paths::failure(job, failure.task, failure.attempt);
    let mut failures = object::read_all(store, &paths::failures_dir(job, task), place).await?;
    failures.sort_by_key(|failure| failure.attempt);
    Ok(failures)
}

/// The history, in the order of what happened.
pub async fn history(store: &Store, job: JobId) -> Result<Vec<History>, StorageError> {
    let mut history = Vec::new();
    each_history(store, job, |object| history.push(object)).await?;
    Ok(history)
}

/// What the history tells, without holding all of it.
pub async fn audit(store: &Store, job: JobId) -> Result<Audit, StorageError> {
    let mut audit = Audit::default();
    each_history(store, job, |object| audit.read(&object)).await?;
    Ok(audit)
}

async fn each_history(store: &Store, job: JobId, take: impl FnMut(History)) -> Result<(), StorageError> {
    let dir = paths::history_dir(job);
    let mut objects: Vec<_> = object::list(store, &dir).try_collect().await?;
    objects.sort_unstable(); // the order of names is that of what happened
    let place = |history: &History| paths::history(job, history.epoch, history.sequence);
    object::read_each(store, stream::iter(objects.into_iter().map(Ok)), place, take).await
}
