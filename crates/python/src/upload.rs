//! The client's side of a job's data: records, code and side inputs go to storage before the job is submitted.

use std::{
    io::ErrorKind,
    num::NonZeroU64,
    thread::sleep,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::join_all;
use mapreduce_core::{JobId, Split, content_bytes_max};
use mapreduce_executor::TaskError;
use mapreduce_storage::{
    FileRef, StorageError as StoreError, Store, answers_at_once,
    paths::in_job,
    put_file,
    splits::{FullObject, SplitSize, SplitWriter},
};
use object_store::path::Path;
use pyo3::{
    prelude::*,
    types::{PyList, PyTuple},
};
use tokio::task::JoinHandle;

use crate::{
    cluster::Live,
    objects::{self, InvalidArgumentError, SerializationError, StorageError},
    raise::task_error,
    runtime::{block_on, runtime},
    values,
};

/// How often an upload makes way for other threads, and after how many bytes it looks whether it is time: to look at the
/// clock costs as much as a small record.
const CHECK_EVERY: Duration = Duration::from_millis(5);
const LOOK_EVERY_BYTES: usize = 8 << 10;
/// What a record counts for beside its bytes. (An iterator may take long to give one: there each is looked after.)
const RECORD_BYTES: usize = 64;

/// How long to wait for room in storage before the next try: at first, and at most.
const ROOM_PAUSE_FIRST: Duration = Duration::from_millis(50);
const ROOM_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Asked now and then whether the upload is still wanted.
pub type Check<'a> = dyn Fn() -> PyResult<()> + 'a;

/// Does `write` again and again as long as storage or this machine's disk is full, and says so: what an iterator gave,
/// it gives but once.
pub fn patiently<T: Send>(
    py: Python<'_>,
    job: JobId,
    check: &Check<'_>,
    mut write: impl FnMut() -> Result<T, TaskError> + Send,
) -> PyResult<T> {
    let (mut pause, mut said) = (ROOM_PAUSE_FIRST, false);
    loop {
        match py.detach(&mut write) {
            Err(full) if is_full(&full) => {
                if !std::mem::replace(&mut said, true) {
                    objects::warn(py, &format!("{job} waits to be uploaded: {full}"));
                }
                py.detach(|| sleep(pause));
                check()?;
                pause = (pause * 2).min(ROOM_PAUSE_MAX);
            }
            done => return done.map_err(|error| task_error(py, job, error)),
        }
    }
}

fn is_full(error: &TaskError) -> bool {
    match error {
        TaskError::Storage(StoreError::Full { .. }) => true,
        TaskError::Scratch { source, .. } => {
            matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        }
        _ => false,
    }
}

/// Uploads that go on by themselves.
pub struct Uploading {
    job: JobId,
    store: Store,
    objects: Vec<(Path, Bytes)>,
    uploads: Vec<JoinHandle<Result<FileRef, StoreError>>>,
}

impl Uploading {
    /// Begins to write objects of a job.
    pub fn begin(
        py: Python<'_>,
        store: &Store,
        job: JobId,
        objects: impl IntoIterator<Item = (Path, Bytes)>,
    ) -> PyResult<Uploading> {
        let (runtime, objects) = (runtime(py)?, objects.into_iter().collect::<Vec<_>>());
        let begin = |(path, bytes): &(Path, Bytes)| {
            let (store, path, bytes) = (store.clone(), path.clone(), bytes.clone());
            runtime.spawn(async move { put_file(&store, &path, bytes).await })
        };
        let uploads = objects.iter().map(begin).collect();
        Ok(Uploading { job, store: store.clone(), objects, uploads })
    }

    /// Returns when nothing is under way any more, whether it is uploaded or not.
    pub fn join(self, py: Python<'_>) -> PyResult<()> {
        block_on(py, || join_all(self.uploads)).map(drop)
    }

    /// Returns when all is uploaded and durable, or could not be written.
    pub fn wait(self, py: Python<'_>, check: &Check<'_>) -> PyResult<()> {
        let Uploading { job, store, objects, uploads } = self;
        let runtime = runtime(py)?;
        let ended = block_on(py, || join_all(uploads))?;
        for ((path, bytes), uploaded) in objects.iter().zip(ended) {
            match uploaded.map_err(|e| StorageError::new_err(e.to_string()))? {
                Err(StoreError::Full { .. }) => {
                    let again = || Ok(runtime.block_on(put_file(&store, path, bytes.clone()))?);
                    patiently(py, job, check, again).map(drop)?;
                }
                done => done.map(drop).map_err(storage_error)?,
            }
        }
        Ok(())
    }
}

/// Which input of which job records are.
#[derive(Clone, Copy)]
pub struct Place {
    pub job: JobId,
    pub number: u32,
    pub n_inputs: u32,
}

impl Place {
    /// The record of this number, for a message.
    fn record(self, n: usize) -> String {
        let of = if self.n_inputs > 1 { format!(" of data[{}]", self.number) } else { String::new() };
        format!("record {n}{of}")
    }
}

/// Encodes and writes the records of an input, `split_records` to a split, or as many as suit. Of a list it takes
/// what is in it when it is called; an iterator is streamed. Other threads run while it writes, and whenever
/// `check` is called, which may end it. Answers the splits, and the object with all of them if that is too small to be
/// written.
pub fn upload_records(
    live: &Live,
    place: Place,
    data: &Bound<'_, PyAny>,
    split_records: Option<u64>,
    check: &Check<'_>,
) -> PyResult<(Vec<Split>, Option<FullObject>)> {
    let (store, coarse) = (live.client.store(), !answers_at_once(&live.urls.storage));
    let mut storage = Uploader { store, job: place.job, was_used: false, uploading: None };
    let written = write_records(&mut storage, coarse, place, data, split_records, check);
    if written.is_err() {
        storage.join(data.py())?;
    }
    written
}

fn write_records(
    storage: &mut Uploader<'_>,
    coarse: bool,
    place: Place,
    data: &Bound<'_, PyAny>,
    split_records: Option<u64>,
    check: &Check<'_>,
) -> PyResult<(Vec<Split>, Option<FullObject>)> {
    let py = data.py();
    let known = data.is_instance_of::<PyList>() || data.is_instance_of::<PyTuple>();
    let size = match split_records {
        Some(n) => SplitSize::Exactly(NonZeroU64::new(n).ok_or_else(|| {
            InvalidArgumentError::new_err("split_records must be at least 1, or None for a number that suits")
        })?),
        None if known => SplitSize::Known(data.len()? as u64),
        None => SplitSize::Unknown,
    };
    let mut writer = SplitWriter::new(place.number, size);
    if coarse {
        writer = writer.coarse();
    }
    let (mut checked, mut unlooked) = (Instant::now(), 0);
    let files = py.import("mapreduce.files")?;
    let no_records = [files.getattr("Input")?, files.getattr("EarlierResult")?];
    for (n, record) in records(data)?.enumerate() {
        let record = record?;
        if no_records.iter().any(|kind| record.get_type_ptr().cast() == kind.as_ptr()) {
            return Err(InvalidArgumentError::new_err(format!(
                "{} is an input of its own: if data is a list of inputs, give map_func a list, too, with the map \
                 function of each of them",
                place.record(n)
            )));
        }
        let mut n_bytes = 0;
        let full = writer.push_with(|out| {
            let start = out.len();
            values::encode(&record, out)?;
            n_bytes = out.len() - start;
            Ok(())
        });
        if let Some(object) = full.map_err(|error| unpicklable(place, n, &record, error))? {
            storage.put(py, object, check)?;
        }
        unlooked += RECORD_BYTES + n_bytes;
        if known && unlooked < LOOK_EVERY_BYTES {
            continue;
        }
        unlooked = 0;
        if checked.elapsed() >= CHECK_EVERY {
            py.detach(|| ()); // what iterates may be no Python code, which would let other threads run by itself
            check()?;
            checked = Instant::now();
        }
    }
    let (last, splits) = writer.finish();
    match last {
        Some(only) if !storage.was_used && only.bytes.len() as u64 <= content_bytes_max(place.n_inputs) => {
            Ok((splits, Some(only)))
        }
        last => {
            if let Some(last) = last {
                storage.put(py, last, check)?;
            }
            storage.finish(py, check).map(|()| (splits, None))
        }
    }
}

/// The records of an input, one after the other; those of a list as they are now. Each is given up as soon as it was
/// looked at: at the end of a long list it is no longer in the processor's cache.
fn records<'py>(
    data: &Bound<'py, PyAny>,
) -> PyResult<Box<dyn Iterator<Item = PyResult<Bound<'py, PyAny>>> + 'py>> {
    Ok(match data.cast_exact::<PyList>() {
        Ok(list) => Box::new(list.iter().collect::<Vec<_>>().into_iter().map(Ok)),
        Err(_) => Box::new(data.try_iter()?),
    })
}

/// Writes objects one after the other, each while the next one is made.
struct Uploader<'a> {
    store: &'a Store,
    job: JobId,
    was_used: bool,
    uploading: Option<Uploading>,
}

impl Uploader<'_> {
    fn put(&mut self, py: Python<'_>, object: FullObject, check: &Check<'_>) -> PyResult<()> {
        self.was_used = true;
        self.finish(py, check)?;
        let objects = [(in_job(self.job, &object.name), object.bytes)];
        self.uploading = Some(Uploading::begin(py, self.store, self.job, objects)?);
        Ok(())
    }

    /// Returns when all is written.
    fn finish(&mut self, py: Python<'_>, check: &Check<'_>) -> PyResult<()> {
        self.uploading.take().map_or(Ok(()), |uploading| uploading.wait(py, check))
    }

    /// Returns when nothing is under way any more.
    fn join(&mut self, py: Python<'_>) -> PyResult<()> {
        self.uploading.take().map_or(Ok(()), |uploading| uploading.join(py))
    }
}

fn storage_error(error: StoreError) -> PyErr {
    StorageError::new_err(error.to_string())
}

fn unpicklable(place: Place, n: usize, record: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let (py, name) = (record.py(), objects::type_name(record));
    let why = format!("{}, a {name}, can't be pickled: {}", place.record(n), error.value(py));
    let raised = SerializationError::new_err(why);
    raised.set_cause(py, Some(error));
    raised
}
