//! The client's side of a job's data: records and code go to storage before the job is submitted.

use std::{
    num::NonZeroU64,
    thread::sleep,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mapreduce_core::{JobId, Split};
use mapreduce_storage::{
    FileRef, StorageError as StoreError, Store, open, paths, put_file,
    splits::{self, FullObject, SplitSize, SplitWriter},
};
use object_store::path::Path;
use pyo3::{
    prelude::*,
    types::{PyList, PyTuple},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use crate::{
    objects::{self, InvalidArgumentError, SerializationError, StorageError},
    runtime::{block_on, runtime},
    values,
};

/// How often an upload makes way for other threads.
const CHECK_EVERY: Duration = Duration::from_millis(5);

/// How long to wait for room in storage before the next try: at first, and at most.
const ROOM_PAUSE_FIRST: Duration = Duration::from_millis(50);
const ROOM_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Asked now and then whether the upload is still wanted.
pub type Check<'a> = dyn Fn() -> PyResult<()> + 'a;

/// Does `write` again and again as long as storage is full, and says so: what an iterator gave, it gives but once.
pub fn patiently<T: Send>(
    py: Python<'_>,
    job: JobId,
    check: &Check<'_>,
    mut write: impl FnMut() -> Result<T, StoreError> + Send,
) -> PyResult<T> {
    let (mut pause, mut said) = (ROOM_PAUSE_FIRST, false);
    loop {
        match py.detach(&mut write) {
            Err(full @ StoreError::Full { .. }) => {
                if !std::mem::replace(&mut said, true) {
                    objects::warn(py, &format!("{job} waits to be uploaded: {full}"));
                }
                py.detach(|| sleep(pause));
                check()?;
                pause = (pause * 2).min(ROOM_PAUSE_MAX);
            }
            done => return done.map_err(storage_error),
        }
    }
}

/// An upload of code that goes on by itself.
pub struct Uploading {
    job: JobId,
    store: Store,
    path: Path,
    bytes: Bytes,
    upload: JoinHandle<Result<FileRef, StoreError>>,
}

impl Uploading {
    /// Returns when what is uploaded is durable.
    pub fn wait(self, py: Python<'_>, check: &Check<'_>) -> PyResult<()> {
        let Uploading { job, store, path, bytes, upload } = self;
        let runtime = runtime(py)?;
        match block_on(py, || upload)?.map_err(|e| StorageError::new_err(e.to_string()))? {
            Err(StoreError::Full { .. }) => {
                let again = || runtime.block_on(put_file(&store, &path, bytes.clone()));
                patiently(py, job, check, again).map(drop)
            }
            done => done.map(drop).map_err(storage_error),
        }
    }
}

/// Begins to write the pickled functions of a job. Answers their digest.
pub fn upload_code(py: Python<'_>, store: &Store, job: JobId, code: &[u8]) -> PyResult<(String, Uploading)> {
    let digest = blake3::hash(code).to_hex().to_string();
    let (store, path, bytes) = (store.clone(), paths::code(job, &digest), Bytes::copy_from_slice(code));
    let put = {
        let (store, path, bytes) = (store.clone(), path.clone(), bytes.clone());
        async move { put_file(&store, &path, bytes).await }
    };
    let upload = runtime(py)?.spawn(put);
    Ok((digest, Uploading { job, store, path, bytes, upload }))
}

/// Encodes and writes the records of a job, `split_records` to a split, or as many as suit. Of a list it takes what
/// is in it when it is called; an iterator is streamed. Other threads run while it writes, and whenever
/// `check` is called, which may end it.
pub fn upload_records(
    storage_url: &str,
    job: JobId,
    data: &Bound<'_, PyAny>,
    split_records: Option<u64>,
    check: &Check<'_>,
) -> PyResult<Vec<Split>> {
    let py = data.py();
    let storage = Uploader::open(storage_url, job)?;
    let data = match data.cast_exact::<PyList>() {
        Ok(list) => list.get_slice(0, list.len()).into_any(),
        Err(_) => data.clone(),
    };
    let known = data.is_instance_of::<PyList>() || data.is_instance_of::<PyTuple>();
    let size = match split_records {
        Some(n) => SplitSize::Exactly(NonZeroU64::new(n).ok_or_else(|| {
            InvalidArgumentError::new_err("split_records must be at least 1, or None for a number that suits")
        })?),
        None if known => SplitSize::Known(data.len()? as u64),
        None => SplitSize::Unknown,
    };
    let mut writer = SplitWriter::new(size);
    let mut encoded = Vec::new();
    let mut checked = Instant::now();
    for (n, record) in data.try_iter()?.enumerate() {
        let record = record?;
        encoded.clear();
        values::encode(&record, &mut encoded).map_err(|error| unpicklable(py, n, &record, error))?;
        if let Some(object) = writer.push(&encoded) {
            storage.put(py, object, check)?;
        }
        if checked.elapsed() >= CHECK_EVERY {
            py.detach(|| ()); // what iterates may be no Python code, which would let other threads run by itself
            check()?;
            checked = Instant::now();
        }
    }
    let (last, splits) = writer.finish();
    last.map_or(Ok(()), |object| storage.put(py, object, check))?;
    Ok(splits)
}

struct Uploader {
    runtime: Runtime,
    store: Store,
    job: JobId,
}

impl Uploader {
    fn open(url: &str, job: JobId) -> PyResult<Self> {
        let runtime = Builder::new_current_thread().build()?;
        Ok(Uploader { runtime, store: open(url).map_err(storage_error)?, job })
    }

    fn put(&self, py: Python<'_>, object: FullObject, check: &Check<'_>) -> PyResult<()> {
        patiently(py, self.job, check, || {
            self.runtime.block_on(splits::upload(&self.store, self.job, object.clone()))
        })
    }
}

fn storage_error(error: StoreError) -> PyErr {
    StorageError::new_err(error.to_string())
}

fn unpicklable(py: Python<'_>, n: usize, record: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let name = objects::type_name(record);
    let raised =
        SerializationError::new_err(format!("record {n}, a {name}, can't be pickled: {}", error.value(py)));
    raised.set_cause(py, Some(error));
    raised
}
