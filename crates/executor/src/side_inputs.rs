//! Side inputs: bytes that user code reads beside its records, such as a value that was broadcast to all tasks.
//!
//! Each is an object of the job, named by its digest. A user's processes on a machine share one copy of it below the
//! scratch directory, which whoever needs it first fetches from storage; it serves other jobs with the same side input,
//! too. Copies are a cache: one that is gone or damaged is fetched again.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mapreduce_core::{JobId, JobSpec};
use mapreduce_storage::{
    LocalCopyError,
    copies::{self, CopyKind},
    copy_locally, paths,
};

use crate::{Resources, TaskError};

/// How long to wait for another process that is fetching: it may have been stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// A side input that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SideInputError(String);

/// The side inputs of one job. Clones share them.
#[derive(Debug, Clone)]
pub struct SideInputs {
    resources: Resources,
    job: JobId,
    /// By name.
    digests: Arc<BTreeMap<String, String>>,
    /// What kept one from being read: not the code's fault, whatever it makes of it.
    failed: Arc<Mutex<Option<TaskError>>>,
}

impl SideInputs {
    /// Those of the job that `spec` describes. Nothing is fetched yet.
    pub fn new(spec: &JobSpec, resources: &Resources) -> Self {
        let digests = Arc::new(spec.side_inputs.clone());
        SideInputs { resources: resources.clone(), job: spec.job, digests, failed: Arc::default() }
    }

    /// The content of a side input, to be read from its beginning.
    pub fn open(&self, name: &str) -> Result<File, SideInputError> {
        let Some(digest) = self.digests.get(name) else {
            return Err(SideInputError(format!(
                "the job has no side input {name:?}: give it one when you submit it"
            )));
        };
        self.shared_copy(digest).map_err(|error| {
            let message = error.to_string();
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            SideInputError(message)
        })
    }

    /// What kept a side input from being read since this was asked last.
    pub(crate) fn take_failure(&self) -> Option<TaskError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn shared_copy(&self, digest: &str) -> Result<File, TaskError> {
        let scratch = &self.resources.scratch;
        let refused = |error| TaskError::scratch(scratch)(error);
        let directory = copies::directory(scratch).map_err(refused)?;
        let path = copies::path(&directory, CopyKind::SideInput, digest);
        if let Some(copy) = copies::open_intact(&path, digest).map_err(refused)? {
            return Ok(copy);
        }
        // Held until this returns.
        let _turn = copies::wait_for_turn(&directory, &path, PATIENCE).map_err(refused)?;
        if let Some(copy) = copies::open_intact(&path, digest).map_err(refused)? {
            return Ok(copy);
        }
        let object = paths::side_input(self.job, digest);
        let copied = self.resources.wait(copy_locally(&self.resources.store, &object, digest, &path, 0o600));
        let copy = copied.map_err(|error| match error {
            LocalCopyError::Storage(error) => TaskError::Storage(error),
            LocalCopyError::Disk { source, .. } => refused(source),
        })?;
        // The copy is there, and the next one that comes makes room again.
        let _ = copies::make_room(&directory, &path);
        Ok(copy)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        io::Read,
        os::unix::fs::MetadataExt,
        path::{Path, PathBuf},
        thread,
    };

    use mapreduce_core::{CodeRef, Settings};
    use mapreduce_storage::{Store, put_file};
    use object_store::{
        ObjectStoreExt,
        memory::InMemory,
        throttle::{ThrottleConfig, ThrottledStore},
    };
    use tokio::runtime::Builder;

    use super::*;

    const JOB: JobId = JobId(7);

    /// A store that takes its time with what is read.
    fn store() -> Store {
        let config =
            ThrottleConfig { wait_get_per_call: Duration::from_millis(50), ..ThrottleConfig::default() };
        Arc::new(ThrottledStore::new(InMemory::new(), config))
    }

    fn digest(content: &[u8]) -> String {
        blake3::hash(content).to_hex().to_string()
    }

    /// The side inputs of a process of its own, by the names "0", "1", ...
    fn side_inputs(store: &Store, scratch: &Path, contents: &[&[u8]]) -> SideInputs {
        let runtime = Arc::new(Builder::new_current_thread().enable_all().build().unwrap());
        let resources = Resources::waiting_in(runtime, store.clone(), 1, scratch.to_owned());
        let spec = JobSpec {
            job: JOB,
            user: "ada".to_owned(),
            code: CodeRef::Native { digest: String::new() },
            inputs: vec![],
            side_inputs: (0..).zip(contents).map(|(n, content)| (format!("{n}"), digest(content))).collect(),
            contents: BTreeMap::new(),
            output: None,
            settings: Settings::default(),
            submitted_at_ms: 0,
        };
        SideInputs::new(&spec, &resources)
    }

    fn put(side: &SideInputs, content: &[u8]) {
        let path = paths::side_input(JOB, &digest(content));
        side.resources.wait(put_file(&side.resources.store, &path, content.to_vec().into())).unwrap();
    }

    fn read(side: &SideInputs, name: &str) -> Vec<u8> {
        let mut content = Vec::new();
        side.open(name).unwrap().read_to_end(&mut content).unwrap();
        content
    }

    fn directory(scratch: &Path) -> PathBuf {
        copies::directory(scratch).unwrap()
    }

    #[test]
    fn processes_that_need_the_same_at_the_same_time_fetch_it_once() {
        let (store, scratch) = (store(), tempfile::tempdir().unwrap());
        put(&side_inputs(&store, scratch.path(), &[]), b"content");
        let files: Vec<File> = thread::scope(|scope| {
            let open = || side_inputs(&store, scratch.path(), &[b"content"]).open("0").unwrap();
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            opening.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let inodes: BTreeSet<u64> = files.iter().map(|file| file.metadata().unwrap().ino()).collect();
        assert_eq!(inodes.len(), 1);
    }

    #[test]
    fn a_copy_serves_other_jobs_and_is_fetched_again_if_it_is_damaged() {
        let (store, scratch) = (store(), tempfile::tempdir().unwrap());
        let side = side_inputs(&store, scratch.path(), &[b"content", b""]);
        put(&side, b"content");
        put(&side, b"");
        assert_eq!((read(&side, "0"), read(&side, "1")), (b"content".to_vec(), vec![]));
        let copy = copies::path(&directory(scratch.path()), CopyKind::SideInput, &digest(b"content"));
        assert_eq!(copy.metadata().unwrap().mode() & 0o777, 0o600);

        fs::write(&copy, "damaged").unwrap();
        assert_eq!(read(&side, "0"), b"content");
        side.resources.wait(store.delete(&paths::side_input(JOB, &digest(b"content")))).unwrap();
        assert_eq!(read(&side_inputs(&store, scratch.path(), &[b"content"]), "0"), b"content");
    }

    #[test]
    fn what_can_not_be_read_is_told_and_remembered() {
        let (store, scratch) = (store(), tempfile::tempdir().unwrap());
        let side = side_inputs(&store, scratch.path(), &[b"absent", b"damaged"]);
        let path = paths::side_input(JOB, &digest(b"damaged"));
        side.resources.wait(store.put(&path, "other".into())).unwrap();
        for (name, why) in [("0", "is not in storage"), ("1", "its digest is not its name")] {
            let error = side.open(name).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            let failure = side.clone().take_failure().unwrap();
            assert!(matches!(failure, TaskError::Storage(_)), "{failure}");
        }
        // The code's own mistake is its own to handle.
        assert!(side.open("2").unwrap_err().to_string().contains("no side input \"2\""));
        assert!(side.take_failure().is_none());
        let left = fs::read_dir(directory(scratch.path())).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["mapreduce.lock"]);
    }

    #[test]
    fn what_can_not_make_room_keeps_nobody_from_reading() {
        let (store, scratch) = (store(), tempfile::tempdir().unwrap());
        let side = side_inputs(&store, scratch.path(), &[b"content"]);
        put(&side, b"content");
        // The older is no file, and can't be removed as one.
        let directory = directory(scratch.path());
        let [older, large] =
            [b"older", b"large"].map(|name| copies::path(&directory, CopyKind::SideInput, &digest(name)));
        fs::create_dir(older).unwrap();
        File::create(&large).unwrap().set_len((1 << 30) + 1).unwrap();
        assert_eq!(read(&side, "0"), b"content");
        assert!(!large.exists());
    }
}
