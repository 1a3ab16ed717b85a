//! The executables of native jobs: fetched from storage once, and kept in the scratch directory by their digest.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use mapreduce_core::JobId;
use mapreduce_storage::{StorageError, Store, paths, read_bytes};

/// Why a job's program is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the job's program can't be written to {path}: {source}")]
    Scratch { path: String, source: io::Error },
}

/// The program's file; its owner alone may read and run it.
pub(crate) async fn fetch(
    store: &Store,
    job: JobId,
    digest: &str,
    scratch: &Path,
) -> Result<PathBuf, ProgramError> {
    let file = scratch.join(format!("program-{digest}"));
    if file.exists() {
        return Ok(file);
    }
    let object = paths::code(job, digest);
    let not_found = || StorageError::NotFound { path: object.to_string() };
    let bytes = read_bytes(store, &object).await?.ok_or_else(not_found)?;
    if blake3::hash(&bytes).to_hex().as_str() != digest {
        let why = "its digest is not its name".to_owned();
        return Err(StorageError::Damaged { path: object.to_string(), why }.into());
    }
    let failed = |source| ProgramError::Scratch { path: file.display().to_string(), source };
    install(&file, &bytes).map_err(failed)?;
    Ok(file)
}

/// Under a name of its own first: another slot or worker may do the same at the same time, or die on the way.
fn install(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    let new = file.with_extension(format!("{random:016x}"));
    let mut writer = File::options().write(true).create_new(true).mode(0o700).open(&new)?;
    let written = writer.write_all(bytes);
    drop(writer);
    written.and_then(|()| fs::rename(&new, file)).inspect_err(|_| {
        // The error is the one above; what is left behind goes with the scratch directory.
        let _ = fs::remove_file(&new);
    })
}
