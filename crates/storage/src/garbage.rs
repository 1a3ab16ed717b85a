//! Deleting what nobody may read any more (I11 is the caller's to keep).
//!
//! A process that is killed while it writes to a local directory or to HDFS leaves the hidden file it was writing, such
//! as `output#1`. The store neither lists nor deletes such files, so directories are removed as such. The
//! store's own cleaning of empty directories is not used: it would remove a directory from under an attempt
//! that is just making it.

use std::{io, path::PathBuf};

use futures::{StreamExt, TryStreamExt};
use mapreduce_core::{AttemptId, JobId, TaskId};
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt, path::Path};

use crate::{StorageError, Store, hdfs::Directories, paths};

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
    delete_object(store, &paths::attempt_output(job, task, attempt)).await
}

/// Deletes one object, if it is there.
pub(crate) async fn delete_object(store: &Store, path: &Path) -> Result<(), StorageError> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(StorageError::of(path, error)),
    }
}

/// Deletes what is below `dir`. `object` is any object that exists; it shows where the store is.
pub(crate) async fn delete_dir(store: &Store, dir: &Path, object: &Path) -> Result<(), StorageError> {
    match kept(store, object).await? {
        Kept::Locally(root) => match tokio::fs::remove_dir_all(root.join(dir.as_ref())).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let source = object_store::Error::Generic { store: "LocalFileSystem", source: error.into() };
                Err(StorageError::of(dir, source))
            }
            _ => Ok(()),
        },
        Kept::InHdfs(directories) => {
            directories.remove(dir).await.map_err(|error| StorageError::of(dir, error))
        }
        Kept::Elsewhere => delete_objects(store, dir).await.map_err(|error| StorageError::of(dir, error)),
    }
}

/// Deletes one object after the other, where directories are nothing but names.
pub(crate) async fn delete_objects(store: &Store, dir: &Path) -> object_store::Result<()> {
    let listed = store.list(Some(dir)).map_ok(|object| object.location).boxed();
    let deleted = store.delete_stream(listed).filter(|deleted| {
        // Somebody else deletes the same.
        let gone = matches!(deleted, Err(object_store::Error::NotFound { .. }));
        std::future::ready(!gone)
    });
    deleted.try_collect::<Vec<_>>().await.map(drop)
}

/// What keeps objects.
enum Kept {
    /// This directory.
    Locally(PathBuf),
    InHdfs(Directories),
    Elsewhere,
}

/// What keeps the objects of `store`, if it has `object`.
async fn kept(store: &Store, object: &Path) -> Result<Kept, StorageError> {
    let found = match store.get_opts(object, GetOptions { head: true, ..GetOptions::default() }).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(Kept::Elsewhere),
        Err(error) => return Err(StorageError::of(object, error)),
    };
    if let Some(directories) = found.extensions.get::<Directories>() {
        return Ok(Kept::InHdfs(directories.clone()));
    }
    Ok(match found.payload {
        GetResultPayload::File(_, path) => path
            .ancestors()
            .nth(object.parts_count())
            .map_or(Kept::Elsewhere, |root| Kept::Locally(root.to_owned())),
        GetResultPayload::Stream(_) => Kept::Elsewhere,
    })
}
