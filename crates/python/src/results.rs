//! The client's side of a job's result.

use std::sync::Arc;

use mapreduce_core::JobId;
use mapreduce_executor::{Resources, TaskError, results};
use mapreduce_storage::open;
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{IntoPyDict, PyList},
};
use tokio::runtime::Builder;

use crate::{
    keys,
    objects::{StorageError, damaged},
    values,
};

/// What reading a result takes beside the result.
const MEMORY_BYTES: usize = 64 << 20;

/// The result of a job that has succeeded: the list of `(key, value)`, in the order of the keys if Python has one
/// for them, else in the order of their encoding. Other threads run while it reads.
pub fn collect<'py>(py: Python<'py>, storage_url: &str, job: JobId) -> PyResult<Bound<'py, PyList>> {
    let runtime = Builder::new_current_thread().build()?;
    let store = open(storage_url).map_err(|error| storage_error(error.into()))?;
    let scratch = std::env::temp_dir();
    let resources = Resources { store, runtime: Arc::new(runtime), memory_bytes: MEMORY_BYTES, scratch };
    let mut groups = py.detach(|| results::merge(&resources, job)).map_err(storage_error)?;
    let (pairs, mut order_is_approximate) = (PyList::empty(py), false);
    while let Some(mut group) = groups.next_group().map_err(storage_error)? {
        let values = group.values.collect().map_err(storage_error)?;
        let [value] = values.as_slice() else { return Err(damaged("two results for one key")) };
        let key = keys::decode(py, &group.key, &group.hint)?;
        order_is_approximate |= keys::order_is_approximate(&group.hint);
        pairs.append((key, values::decode(py, &value.bytes)?))?;
    }
    if order_is_approximate { sorted(&pairs) } else { Ok(pairs) }
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
