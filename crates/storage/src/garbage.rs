//! Deleting what nobody may read any more (I11 is the caller's to keep).
//!
//! A process that is killed while it writes to a local directory leaves the hidden file it was writing, such
//! as `output#1`. The store neither lists nor deletes such files, so directories are removed as such. The
//! store's own cleaning of empty directories is not used: it would remove a directory from under an attempt
//! that is just making it.

use std::{io, path::PathBuf};

use futures::{StreamExt, TryStreamExt};
use mapreduce_core::{AttemptId, JobId, TaskId};
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, path::Path};

use crate::{StorageError, Store, paths};

/// Deletes everything about a job. Repeat it if it was interrupted.
pub async fn delete_job(store: &Store, job: JobId) -> Result<(), StorageError> {
    let dir = paths::job_dir(job);
    let any = store.list(Some(&dir)).next().await;
    match any.transpose().map_err(|error| StorageError::of(&dir, error))? {
        Some(object) => delete_dir(store, &dir, &object.location).await,
        None => Ok(()),
    }
}

/// Deletes what an attempt wrote.
pub async fn delete_attempt(
    store: &Store,
    job: JobId,
    task: TaskId,
    attempt: AttemptId,
) -> Result<(), StorageError> {
    let path = paths::attempt_output(job, task, attempt);
    match store.delete(&path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(StorageError::of(&path, error)),
    }
}

/// Deletes what is below `dir`. `object` is any object that exists; it shows where the store is.
async fn delete_dir(store: &Store, dir: &Path, object: &Path) -> Result<(), StorageError> {
    if let Some(root) = local_root(store, object).await? {
        return match tokio::fs::remove_dir_all(root.join(dir.as_ref())).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let source = object_store::Error::Generic { store: "LocalFileSystem", source: error.into() };
                Err(StorageError::of(dir, source))
            }
            _ => Ok(()),
        };
    }
    let listed = store.list(Some(dir)).map_ok(|object| object.location).boxed();
    let deleted = store.delete_stream(listed).filter(|deleted| {
        // Somebody else deletes the same.
        let gone = matches!(deleted, Err(object_store::Error::NotFound { .. }));
        std::future::ready(!gone)
    });
    deleted.try_collect::<Vec<_>>().await.map(drop).map_err(|error| StorageError::of(dir, error))
}

/// The directory that `store` keeps its objects in, if it is a local one and has `object`.
async fn local_root(store: &Store, object: &Path) -> Result<Option<PathBuf>, StorageError> {
    match store.get(object).await {
        Ok(found) => Ok(match found.payload {
            GetResultPayload::File(_, path) => {
                path.ancestors().nth(object.parts_count()).map(std::path::Path::to_owned)
            }
            GetResultPayload::Stream(_) => None,
        }),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(StorageError::of(object, error)),
    }
}
