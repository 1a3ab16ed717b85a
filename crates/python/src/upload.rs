//! The client's side of a job's data: records and code go to storage before the job is submitted.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use mapreduce_core::{JobId, Split};
use mapreduce_storage::{
    FileRef, StorageError as StoreError, Store, open, paths, put_file,
    splits::{self, FullObject, SplitSize, SplitWriter},
};
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

/// An upload that goes on by itself.
pub struct Uploading(JoinHandle<Result<FileRef, StoreError>>);

impl Uploading {
    /// Returns when what is uploaded is durable.
    pub fn wait(self, py: Python<'_>) -> PyResult<()> {
        let uploaded = block_on(py, || self.0)?;
        uploaded.map_err(|e| StorageError::new_err(e.to_string()))?.map_err(storage_error)?;
        Ok(())
    }
}

/// Begins to write the pickled functions of a job. Answers their digest.
pub fn upload_code(py: Python<'_>, store: &Store, job: JobId, code: &[u8]) -> PyResult<(String, Uploading)> {
    let digest = blake3::hash(code).to_hex().to_string();
    let (store, path, bytes) = (store.clone(), paths::code(job, &digest), code.to_vec().into());
    let uploading = runtime(py)?.spawn(async move { put_file(&store, &path, bytes).await });
    Ok((digest, Uploading(uploading)))
}

/// Which input of which job records are.
#[derive(Clone, Copy)]
pub struct Place {
    pub job: JobId,
    pub number: u32,
    pub is_one_of_several: bool,
}

/// Encodes and writes the records of an input, `split_records` to a split, or as many as suit. Of a list it takes
/// what is in it when it is called; an iterator is streamed. Other threads run while it writes, and whenever
/// `check` is called, which may end it.
pub fn upload_records(
    storage_url: &str,
    place: Place,
    data: &Bound<'_, PyAny>,
    split_records: Option<u64>,
    check: &dyn Fn() -> PyResult<()>,
) -> PyResult<Vec<Split>> {
    let py = data.py();
    let storage = Uploader::open(storage_url, place.job)?;
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
    let mut writer = SplitWriter::new(place.number, size);
    let mut encoded = Vec::new();
    let mut checked = Instant::now();
    for (n, record) in data.try_iter()?.enumerate() {
        let record = record?;
        encoded.clear();
        values::encode(&record, &mut encoded).map_err(|error| unpicklable(place, n, &record, error))?;
        if let Some(object) = writer.push(&encoded) {
            storage.put(py, object)?;
        }
        if checked.elapsed() >= CHECK_EVERY {
            py.detach(|| ()); // what iterates may be no Python code, which would let other threads run by itself
            check()?;
            checked = Instant::now();
        }
    }
    let (last, splits) = writer.finish();
    last.map_or(Ok(()), |object| storage.put(py, object))?;
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

    fn put(&self, py: Python<'_>, object: FullObject) -> PyResult<()> {
        py.detach(|| self.runtime.block_on(splits::upload(&self.store, self.job, object)))
            .map_err(storage_error)
    }
}

fn storage_error(error: StoreError) -> PyErr {
    StorageError::new_err(error.to_string())
}

fn unpicklable(place: Place, n: usize, record: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let (py, name) = (record.py(), objects::type_name(record));
    let of = if place.is_one_of_several { format!(" of data[{}]", place.number) } else { String::new() };
    let why = format!("record {n}{of}, a {name}, can't be pickled: {}", error.value(py));
    let raised = SerializationError::new_err(why);
    raised.set_cause(py, Some(error));
    raised
}
