//! The executables of native jobs: fetched from storage once, and kept on the local disk by their digest.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use mapreduce_core::JobId;
use mapreduce_storage::{
    LocalCopyError, Store,
    copies::{self, CopyKind},
    copy_locally, paths,
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OnceCell},
    task::spawn_blocking,
};

/// The program that this process runs, whatever has become of its file; to a child that has not begun its own yet, too.
const OWN: &str = "/proc/self/exe";
/// How long another process is waited for that fetches something.
const PATIENCE: Duration = Duration::from_secs(5);

/// What this worker knows of the programs on the local disk.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    /// Looked at and found whole. What an earlier process left may be damaged.
    intact: Mutex<Vec<PathBuf>>,
    /// The digest of this process's own program, once it has been asked for; none if that can't be read.
    own: OnceCell<Option<String>>,
}

impl Programs {
    /// The program's file; its owner alone may read and run it.
    pub(crate) async fn fetch(
        &self,
        store: &Store,
        scratch: &Path,
        job: JobId,
        digest: &str,
    ) -> Result<PathBuf, LocalCopyError> {
        // A program that has started its cluster itself is what the cluster runs.
        let own = self.own.get_or_init(|| async { spawn_blocking(digest_of_own).await.ok()?.ok() });
        if own.await.as_deref() == Some(digest) {
            return Ok(OWN.into());
        }
        let refused = |source| LocalCopyError::Disk { path: scratch.display().to_string(), source };
        let directory = copies::directory(scratch).map_err(refused)?;
        let path = copies::path(&directory, CopyKind::Program, digest);
        // The slots of a worker fetch a program once.
        let mut intact = self.intact.lock().await;
        if intact.contains(&path) && path.exists() {
            return Ok(path);
        }
        let (store, digest, to) = (store.clone(), digest.to_owned(), path.clone());
        let runtime = Handle::current();
        // A program has many megabytes, and the worker's own thread has to show that it lives.
        let fetch = move || fetch_in_turn(&store, &directory, job, &digest, &to, &runtime);
        spawn_blocking(fetch).await.map_err(|e| refused(io::Error::other(e)))??;
        intact.push(path.clone());
        Ok(path)
    }
}

fn digest_of_own() -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(OWN)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Sees to it that the program is there. One process of the machine does so at a time.
fn fetch_in_turn(
    store: &Store,
    directory: &Path,
    job: JobId,
    digest: &str,
    to: &Path,
    runtime: &Handle,
) -> Result<(), LocalCopyError> {
    let refused = |source| LocalCopyError::Disk { path: directory.display().to_string(), source };
    // Held until this returns.
    let _turn = copies::wait_for_turn(directory, to, PATIENCE).map_err(refused)?;
    if copies::open_intact(to, digest).map_err(refused)?.is_none() {
        runtime.block_on(copy_locally(store, &paths::code(job, digest), digest, to, 0o700))?;
        // The program is there, and the next one that comes makes room again.
        let _ = copies::make_room(directory, to);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mapreduce_storage::{open, put_file};

    use super::*;

    #[tokio::test]
    async fn what_an_earlier_process_left_is_looked_at_once_and_fetched_if_it_is_damaged() {
        let (store, scratch) = (open("memory:///").unwrap(), tempfile::tempdir().unwrap());
        let digest = blake3::hash(b"program").to_hex().to_string();
        put_file(&store, &paths::code(JobId(1), &digest), "program".into()).await.unwrap();
        let fetched = async |programs: &Programs| {
            programs.fetch(&store, scratch.path(), JobId(1), &digest).await.unwrap()
        };
        let first = Programs::default();
        let path = fetched(&first).await;
        assert_eq!(fs::read(&path).unwrap(), b"program");

        fs::write(&path, "prog").unwrap();
        assert_eq!(fetched(&Programs::default()).await, path);
        assert_eq!(fs::read(&path).unwrap(), b"program");

        fs::remove_file(&path).unwrap();
        fetched(&first).await;
        assert_eq!(fs::read(&path).unwrap(), b"program");
    }

    #[tokio::test]
    async fn what_this_process_runs_is_not_fetched() {
        let (store, scratch) = (open("memory:///").unwrap(), tempfile::tempdir().unwrap());
        let program = fs::read(std::env::current_exe().unwrap()).unwrap();
        let digest = blake3::hash(&program).to_hex().to_string();
        let path = Programs::default().fetch(&store, scratch.path(), JobId(1), &digest).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), program);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
