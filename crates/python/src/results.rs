//! The client's side of a job's result.

use mapreduce_core::JobId;
use mapreduce_executor::results;
use mapreduce_storage::{StorageError as StoreError, open};
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

/// The result of a job that has succeeded: the list of `(key, value)`, in the order of the keys if Python has one
/// for them, else in the order of their encoding. Other threads run while it reads.
pub fn collect<'py>(py: Python<'py>, storage_url: &str, job: JobId) -> PyResult<Bound<'py, PyList>> {
    let runtime = Builder::new_current_thread().build()?;
    let store = open(storage_url).map_err(storage_error)?;
    let mut groups = py.detach(|| runtime.block_on(results::merge(&store, job))).map_err(storage_error)?;
    let (pairs, mut order_is_approximate) = (PyList::empty(py), false);
    while let Some(group) = groups.next_group().map_err(storage_error)? {
        let [value] = group.values.as_slice() else { return Err(damaged("two results for one key")) };
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

fn storage_error(error: StoreError) -> PyErr {
    StorageError::new_err(error.to_string())
}
