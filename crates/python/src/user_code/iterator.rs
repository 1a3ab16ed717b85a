//! The values of one key, one by one, for reduce functions that ask for an iterator: any number of them, in little
//! memory.

use bytes::Bytes;
use mapreduce_executor::{Runs, TaskError};
use pyo3::{exceptions::PyRuntimeError, prelude::*};

use crate::{
    objects::{StorageError, damaged},
    values,
};

/// What a reduce function gets. It can be gone through once, while the function runs.
#[pyclass(module = "mapreduce._native")]
pub struct ValueIterator {
    /// None when the function has returned.
    runs: Option<Runs>,
    /// What is left of the run that is being read, and how many values that is.
    rest: Bytes,
    left: u64,
    /// A value that stands there several times, and how often it is still to come.
    current: Option<(Py<PyAny>, u64)>,
    /// What kept the values from being read: not the user's fault, whatever the function makes of it.
    error: Option<TaskError>,
}

impl ValueIterator {
    pub fn new(runs: Runs) -> Self {
        ValueIterator { runs: Some(runs), rest: Bytes::new(), left: 0, current: None, error: None }
    }

    /// The function has returned. What went wrong on the way.
    pub fn end(&mut self) -> Option<TaskError> {
        self.runs = None;
        self.current = None;
        self.error.take()
    }

    fn next_stored(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some(runs) = &mut self.runs else {
            let why =
                "the values of a key can be read only while reduce_func runs for it: make a list of them";
            return Err(PyRuntimeError::new_err(why));
        };
        while self.rest.is_empty() {
            match runs.next_run() {
                Ok(Some(run)) if self.left == 0 => (self.rest, self.left) = (run.bytes, run.count),
                Ok(None) if self.left == 0 => return Ok(None),
                Ok(_) => return Err(damaged("fewer values than were counted")),
                Err(error) => {
                    let raised = StorageError::new_err(error.to_string());
                    self.error = Some(error);
                    return Err(raised);
                }
            }
        }
        let mut rest = self.rest.as_ref();
        let (value, n) = values::take_repeated(py, &mut rest)?;
        self.rest = self.rest.slice(self.rest.len() - rest.len()..);
        self.left =
            self.left.checked_sub(n).filter(|_| n > 0).ok_or_else(|| damaged("a number of values"))?;
        let value = value.unbind();
        self.current = (n > 1).then(|| (value.clone_ref(py), n - 1));
        Ok(Some(value))
    }
}

#[pymethods]
impl ValueIterator {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match &mut self.current {
            Some((value, n @ 1..)) => {
                *n -= 1;
                Ok(Some(value.clone_ref(py)))
            }
            _ => self.next_stored(py),
        }
    }
}
