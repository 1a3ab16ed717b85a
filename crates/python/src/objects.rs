//! The parts of the package that are written in Python and that the glue calls, and the errors it raises.

use std::collections::BTreeMap;

use mapreduce_core::JobId;
use mapreduce_executor::{SideInputs, UserFailure};
use pyo3::{
    import_exception,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyList, PyString},
};

use crate::side_inputs::SideInputOpener;

import_exception!(mapreduce.errors, InvalidArgumentError);
import_exception!(mapreduce.errors, KeyEncodingError);
import_exception!(mapreduce.errors, SerializationError);
import_exception!(mapreduce.errors, StorageError);

/// Calls a function of a module, which is looked up once.
macro_rules! call {
    ($py:expr, $module:literal, $name:literal, $arguments:expr) => {{
        static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let look_up = || PyResult::Ok($py.import($module)?.getattr($name)?.unbind());
        FUNCTION.get_or_try_init($py, look_up)?.bind($py).call1($arguments)
    }};
}

/// A pickle that every process of the job can load.
pub fn pickle<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(call!(object.py(), "mapreduce._pickle", "dumps", (object,))?.cast_into()?)
}

/// The object that was pickled.
pub fn unpickle<'py>(pickled: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    call!(pickled.py(), "pickle", "loads", (pickled,))
}

/// What a key that is not plain is equal to; see `_keys.canonical`.
pub fn canonical_key<'py>(key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    call!(key.py(), "mapreduce._keys", "canonical", (key,))
}

/// What is in a code object.
#[derive(FromPyObject)]
pub struct Code<'py> {
    /// One for each input.
    pub map: Vec<Bound<'py, PyAny>>,
    pub combine: Option<Bound<'py, PyAny>>,
    pub reduce: Bound<'py, PyAny>,
    pub partition: Option<Bound<'py, PyAny>>,
    /// The reduce function wants an iterator of values instead of a list.
    pub streams: bool,
    /// For each input, whether the map function wants tables as Arrow's batches instead of rows.
    pub arrow: Vec<bool>,
}

/// Loads a code object, whose broadcasts are among the side inputs.
pub fn load_code<'py>(py: Python<'py>, code: &[u8], side_inputs: &SideInputs) -> PyResult<Code<'py>> {
    let opener = SideInputOpener(side_inputs.clone());
    call!(py, "mapreduce._code", "load", (PyBytes::new(py, code), opener))?.extract()
}

/// What the user is told of an exception: its class; its last line; the user's frames, if there are any; and the
/// pickle of it in base64, if it can be pickled.
pub type Description = (String, String, String, Option<String>);

/// What the user is told of an exception.
pub fn describe(py: Python<'_>, error: &PyErr) -> PyResult<Description> {
    // As a value, because that one carries the traceback; a mere `value` does not before Python 3.12.
    call!(py, "mapreduce._failures", "describe", (error.clone_ref(py).into_value(py),))?.extract()
}

/// What a job raises that fails with this, in no task.
pub fn job_failed(py: Python<'_>, job: JobId, failure: &UserFailure) -> PyResult<PyErr> {
    let kind = serde_json::to_value(&failure.what).unwrap_or_default();
    let described = serde_json::json!({
        "task": null, "attempt": null, "worker": null, "kind": kind["kind"],
        "message": failure.message, "traceback": failure.traceback, "record": failure.record,
        "pickled_exception": failure.pickled_exception,
    });
    let described = parse_json(py, &described.to_string())?;
    let raised = call!(py, "mapreduce.errors", "from_failure", (described, job.to_string()))?;
    Ok(PyErr::from_value(raised))
}

/// What user code has counted since this was asked last.
pub fn take_counters(py: Python<'_>) -> PyResult<BTreeMap<String, i64>> {
    call!(py, "mapreduce.counters", "_take", ())?.extract()
}

/// What JSON text means.
pub fn parse_json<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    call!(py, "json", "loads", (text,))
}

/// The rows of a table, an Arrow IPC stream.
pub fn table_rows<'py>(py: Python<'py>, table: &[u8], arrow: bool) -> PyResult<Bound<'py, PyList>> {
    Ok(call!(py, "mapreduce._records", "table_rows", (PyBytes::new(py, table), arrow))?.cast_into()?)
}

/// A result as a line of text.
pub fn text_line(key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    call!(key.py(), "mapreduce._records", "text_line", (key, value))?.extract().map(Some)
}

/// A result as a line of JSON.
pub fn json_line(key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    call!(key.py(), "mapreduce._records", "json_line", (key, value))?.extract().map(Some)
}

/// A result as the fields of a row.
pub fn csv_fields(key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    call!(key.py(), "mapreduce._records", "csv_fields", (key, value))?.extract()
}

/// Results as a table, an Arrow IPC stream.
pub fn table<'py>(
    py: Python<'py>,
    keys: Vec<Py<PyAny>>,
    values: Vec<Py<PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    Ok(call!(py, "mapreduce._records", "table", (keys, values))?.cast_into()?)
}

/// Tells the user something, by way of Python's logging. That it can't be told is no reason to fail.
pub fn warn(py: Python<'_>, text: &str) {
    let told = || PyResult::Ok(call!(py, "mapreduce._text", "warn", (text,))?.unbind());
    if let Err(error) = told() {
        error.write_unraisable(py, None);
    }
}

/// The shortened `repr` of an object.
pub fn shorten(object: &Bound<'_, PyAny>) -> PyResult<String> {
    call!(object.py(), "mapreduce._failures", "shorten", (object,))?.extract()
}

/// The name of an object's type.
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().qualname().map(|name: Bound<'_, PyString>| name.to_string()).unwrap_or_default()
}

/// For bytes that are not what was encoded.
pub fn damaged(what: &str) -> PyErr {
    StorageError::new_err(format!("stored data is damaged: {what}"))
}
