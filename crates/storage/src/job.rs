//! The records of a job that are kept one by one and read all together.

use std::collections::BTreeMap;

use mapreduce_core::{Failure, History, JobId, TaskId};

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

/// The audit, in the order of what happened.
pub async fn history(store: &Store, job: JobId) -> Result<Vec<History>, StorageError> {
    let place = |history: &History| paths::history(job, history.epoch, history.sequence);
    let mut history = object::read_all(store, &paths::history_dir(job), place).await?;
    history.sort_by_key(|history| (history.epoch, history.sequence));
    Ok(history)
}
