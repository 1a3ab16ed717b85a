//! From a URL to a store.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{Builder, ScopedJoinHandle},
};

use mapreduce_core::JobId;
use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory};
use url::Url;

use crate::{StorageError, cloud, hdfs::Hdfs, paths, unsynced::Unsynced};

/// An object store, shared.
pub type Store = Arc<dyn ObjectStore>;

/// At the end of a `file` URL: what is written survives every process, and the machine only if it happens to. For what
/// goes with the processes that use it anyway.
const UNSYNCED: &str = "sync=no";

/// What a URL may be.
const URLS: &str = "give file:///absolute/directory, hdfs://host:port/directory, s3://, gs:// or az://bucket/path, or memory:///";

/// Opens the store that `url` names: `file:///absolute/directory`, made with mode 0700 if absent,
/// `hdfs://host:port/directory`, made likewise at the first write, `s3://bucket/path`, `gs://bucket/path` or
/// `az://container/path`, or `memory:///`, which is new and empty at every call and ends with its last handle.
///
/// A local directory is synced at every write, unless the URL ends with `?sync=no`. Nothing is sent to a remote store yet.
/// The keys of buckets, and what else their stores want to know, come from the environment variables of each
/// (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, ...); of S3 also from
/// `?auth=/absolute/file`, which holds the key's id and the key with a colon between, and `?endpoint=http://host:port`.
pub fn open(url: &str) -> Result<Store, StorageError> {
    let wrong = |why: String| StorageError::Url { url: url.to_owned(), why };
    let parsed = Url::parse(url).map_err(|error| wrong(format!("{error}; {URLS}")))?;
    match parsed.scheme() {
        "memory" => Ok(Arc::new(InMemory::new())),
        "file" => {
            let directory =
                parsed.to_file_path().map_err(|()| wrong("it names no local directory".to_owned()))?;
            create_durably(&directory).map_err(|error| wrong(format!("{}: {error}", directory.display())))?;
            let store = LocalFileSystem::new_with_prefix(&directory).map_err(|e| wrong(e.to_string()))?;
            match parsed.query() {
                None => Ok(Arc::new(store.with_fsync(true))),
                Some(UNSYNCED) => Ok(Arc::new(Unsynced::new(store))),
                Some(other) => Err(wrong(format!("?{other} is no option of it; there is ?{UNSYNCED}"))),
            }
        }
        "hdfs" => Ok(Arc::new(Hdfs::open(&parsed).map_err(wrong)?)),
        "s3" | "gs" | "az" => cloud::open(&parsed).map_err(wrong),
        scheme => Err(wrong(format!("{scheme} is not supported; {URLS}"))),
    }
}

/// Whether the store that `url` names does its work on the thread that asks, if there is no event loop around: then
/// nothing is gained by one.
pub fn answers_at_once(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "file" | "memory"))
}

/// Makes the directories of a job that is about to be uploaded, if `url` names a local directory: all of them
/// with a sync for each level. Left to the first object in each, every one of them costs several. Where nothing is synced,
/// only those that will be needed.
pub fn make_job_dirs(url: &str, job: JobId) -> Result<(), StorageError> {
    let Some(url) = Url::parse(url).ok().filter(|url| url.scheme() == "file") else { return Ok(()) };
    let Ok(root) = url.to_file_path() else { return Ok(()) };
    let make = || {
        let is_synced = url.query() != Some(UNSYNCED);
        for dir in paths::record_dirs(job).chain(paths::data_dirs(job).filter(|_| is_synced)) {
            fs::create_dir_all(root.join(dir.as_ref()))?;
        }
        if !is_synced {
            return Ok(());
        }
        let changed = paths::dirs_of_dirs(job).into_iter().map(|dir| root.join(dir.as_ref()));
        // The first job makes the directory of all jobs.
        sync_all(changed.chain([root.clone()]).collect())
    };
    make().map_err(|source: io::Error| {
        let dir = paths::job_dir(job);
        let source = Box::new(source);
        StorageError::of(&dir, object_store::Error::Generic { store: "LocalFileSystem", source })
    })
}

/// Syncs directories, all at the same time: the disk does that about as fast as one.
fn sync_all(directories: Vec<PathBuf>) -> io::Result<()> {
    std::thread::scope(|scope| {
        let sync = |directory: PathBuf| {
            Builder::new().spawn_scoped(scope, move || fs::File::open(directory)?.sync_all())
        };
        let syncs: Vec<_> = directories.into_iter().map(sync).collect();
        let join = |sync: io::Result<ScopedJoinHandle<'_, io::Result<()>>>| {
            sync?.join().unwrap_or_else(|_| Err(io::Error::other("a sync panicked")))
        };
        syncs.into_iter().try_for_each(join)
    })
}

/// Makes `directory` and its missing parents, and syncs every directory that got a new entry, as the store
/// does below it.
fn create_durably(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let existing = directory.ancestors().find(|ancestor| ancestor.is_dir());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for parent in directory.ancestors().skip(1) {
        fs::File::open(parent)?.sync_all()?;
        if Some(parent) == existing {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use mapreduce_core::{AttemptId, Epoch, Stage, TaskId};

    use super::*;

    #[test]
    fn an_absent_directory_is_made_for_its_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("a b/#1/storage");
        let url = Url::from_file_path(&directory).unwrap();
        open(url.as_str()).unwrap();
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        open(url.as_str()).unwrap();
        open(&format!("{url}?{UNSYNCED}")).unwrap();
    }

    #[test]
    fn the_directories_of_a_job_are_those_that_its_objects_make() {
        let scratch = tempfile::tempdir().unwrap();
        let url = Url::from_file_path(scratch.path()).unwrap();
        make_job_dirs(url.as_str(), JobId(7)).unwrap();
        let (job, task) = (JobId(7), TaskId { stage: Stage::Reduce, index: 3 });
        let objects = [
            paths::spec(job),
            paths::code(job, "ab12"),
            paths::input(job, 0, 0),
            paths::history(job, Epoch(1), 0),
            paths::manifest(job, Stage::Map),
            paths::marker(job, task),
            paths::attempt_output(job, task, AttemptId { epoch: Epoch(1), number: 1 }),
        ];
        for object in objects {
            assert!(scratch.path().join(object.as_ref()).parent().unwrap().is_dir(), "{object}");
        }
        make_job_dirs(url.as_str(), job).unwrap();
        make_job_dirs("memory:///", job).unwrap();
    }

    #[test]
    fn a_url_that_is_no_store_says_what_would_be() {
        let option =
            Url::from_file_path(tempfile::tempdir().unwrap().path()).unwrap().to_string() + "?sync=maybe";
        for url in ["ftp://host/x", "storage", "file://elsewhere/x", "/tmp", "hdfs://namenode/x", &option] {
            let error = open(url).unwrap_err().to_string();
            assert!(error.contains(url), "{error}");
        }
        assert!(open("ftp://host/x").unwrap_err().to_string().contains("file:///absolute/directory"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let url = Url::from_file_path(file.path()).unwrap();
        assert!(matches!(open(url.as_str()), Err(StorageError::Url { .. })));
    }
}
