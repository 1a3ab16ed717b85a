//! The client's side of a job's result.

use std::{env::temp_dir, path::PathBuf};

use mapreduce_core::{JobId, JobSpec};
use mapreduce_executor::{Resources, TaskError, reduce::Merge, results};
use mapreduce_formats::published;
use mapreduce_storage::{StorageError as StoreError, paths, read};
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{IntoPyDict, PyList},
};

use crate::{
    keys,
    objects::{InvalidArgumentError, StorageError, damaged},
    values,
};

/// What reading a result takes beside the result.
const MEMORY_BYTES: usize = 64 << 20;

/// The result of a job that has succeeded: the list of `(key, value)`, in the order of the keys if Python has one
/// for them, else in the order of their encoding. Of a job with an output, the paths or URLs of its files. Other threads run
/// while it reads. None if it takes more than `bytes_max` in storage.
pub fn collect<'py>(
    py: Python<'py>,
    storage_url: &str,
    job: JobId,
    bytes_max: Option<u64>,
) -> PyResult<Option<Bound<'py, PyList>>> {
    let resources = resources(storage_url, temp_dir())?;
    if let Some(files) = py.detach(|| output_files(&resources, job)).map_err(storage_error)? {
        return PyList::new(py, files).map(Some);
    }
    if let Some(max) = bytes_max
        && py.detach(|| results::stored_bytes(&resources, job)).map_err(storage_error)? > max
    {
        return Ok(None);
    }
    let mut results = Results::open(py, &resources, job)?;
    let pairs = PyList::empty(py);
    while let Some(pair) = results.next(py)? {
        pairs.append(pair)?;
    }
    if results.order_is_approximate { sorted(&pairs).map(Some) } else { Ok(Some(pairs)) }
}

/// The pairs of a result, one after another, in the order of their keys' encoding.
#[pyclass(module = "mapreduce._native")]
pub struct ResultIterator(Results);

impl ResultIterator {
    pub fn open(py: Python<'_>, storage_url: &str, job: JobId) -> PyResult<Self> {
        let resources = resources(storage_url, temp_dir())?;
        if py.detach(|| output_files(&resources, job)).map_err(storage_error)?.is_some() {
            let why = format!("the results of {job} are in files: result() tells which");
            return Err(InvalidArgumentError::new_err(why));
        }
        Results::open(py, &resources, job).map(ResultIterator)
    }
}

#[pymethods]
impl ResultIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Pair<'py>>> {
        self.0.next(py)
    }
}

type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

struct Results {
    groups: Merge,
    order_is_approximate: bool,
}

impl Results {
    fn open(py: Python<'_>, resources: &Resources, job: JobId) -> PyResult<Self> {
        let groups = py.detach(|| results::merge(resources, job)).map_err(storage_error)?;
        Ok(Results { groups, order_is_approximate: false })
    }

    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Pair<'py>>> {
        let Some(mut group) = self.groups.next_group().map_err(storage_error)? else { return Ok(None) };
        let values = group.values.collect().map_err(storage_error)?;
        let [value] = values.as_slice() else { return Err(damaged("two results for one key")) };
        let key = keys::decode(py, &group.key, &group.hint)?;
        self.order_is_approximate |= keys::order_is_approximate(&group.hint);
        Ok(Some((key, values::decode(py, &value.bytes)?)))
    }
}

/// For work on a job in this process; what does not fit into memory goes to `scratch`.
pub fn resources(storage_url: &str, scratch: PathBuf) -> PyResult<Resources> {
    Resources::open(storage_url, MEMORY_BYTES, scratch).map_err(|error| storage_error(error.into()))
}

/// The files of a job with an output, partition by partition.
fn output_files(resources: &Resources, job: JobId) -> Result<Option<Vec<String>>, TaskError> {
    let path = paths::spec(job);
    let spec: Option<JobSpec> = resources.wait(read(&resources.store, &path))?;
    let spec = spec.ok_or_else(|| StoreError::NotFound { path: path.to_string() })?;
    spec.output.map(|output| Ok(published(&output.url)?)).transpose()
}

/// Sorted by key; as it is, if Python can't order the keys.
fn sorted<'py>(pairs: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyList>> {
    let py = pairs.py();
    let sorted = pairs.get_slice(0, pairs.len());
    let key = py.import("operator")?.call_method1("itemgetter", (0,))?;
    match sorted.call_method("sort", (), Some(&[("key", key)].into_py_dict(py)?)) {
        Ok(_) => Ok(sorted),
        Err(error) if error.is_instance_of::<PyTypeError>(py) => Ok(pairs.clone()),
        Err(error) => Err(error),
    }
}

fn storage_error(error: TaskError) -> PyErr {
    StorageError::new_err(error.to_string())
}
