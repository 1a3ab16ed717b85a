//! Reading the result of a job that has succeeded.

use futures::{StreamExt, TryStreamExt};
use mapreduce_core::{JobId, Stage};
use mapreduce_storage::{Manifest, StorageError, Store, paths, read};

use crate::{reduce::Merge, shuffle::fetch_file};

/// Files that are fetched at one time.
const FETCHES_AT_ONCE: usize = 16;

/// The result, in the order of the encoded keys: groups of one encoded value each.
pub async fn merge(store: &Store, job: JobId) -> Result<Merge, StorageError> {
    let path = paths::manifest(job, Stage::Reduce);
    let manifest: Option<Manifest> = read(store, &path).await?;
    let manifest = manifest.ok_or_else(|| StorageError::NotFound { path: path.to_string() })?;
    let files = manifest.entries.iter().flat_map(|entry| &entry.files);
    let fetches = files.map(|file| fetch_file(store, job, file));
    let fetched: Vec<_> = futures::stream::iter(fetches).buffered(FETCHES_AT_ONCE).try_collect().await?;
    Merge::new(fetched.into_iter().flatten().collect())
}
