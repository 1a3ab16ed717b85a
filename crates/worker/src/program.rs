//! The executables of native jobs: fetched from storage once, and kept in the scratch directory by their digest.

use std::path::{Path, PathBuf};

use mapreduce_core::JobId;
use mapreduce_storage::{LocalCopyError, Store, copy_locally, paths};

/// The program's file; its owner alone may read and run it.
pub(crate) async fn fetch(
    store: &Store,
    job: JobId,
    digest: &str,
    scratch: &Path,
) -> Result<PathBuf, LocalCopyError> {
    let file = scratch.join(format!("program-{digest}"));
    if !file.exists() {
        copy_locally(store, &paths::code(job, digest), digest, &file, 0o700).await?;
    }
    Ok(file)
}
