//! Side inputs, as Python reads them: what `mapreduce.broadcast` sends.

use std::os::fd::{IntoRawFd, RawFd};

use mapreduce_executor::SideInputs;
use pyo3::prelude::*;

use crate::objects::StorageError;

/// The digest that names the side input with this content.
#[pyfunction]
pub fn digest(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// Opens the side inputs of the job that this process serves.
#[pyclass(frozen, module = "mapreduce._native")]
pub struct SideInputOpener(pub SideInputs);

#[pymethods]
impl SideInputOpener {
    /// A file descriptor, the caller's to close, at the beginning of the content. An error is the job's, whatever the
    /// caller makes of it.
    fn __call__(&self, py: Python<'_>, name: &str) -> PyResult<RawFd> {
        let opened = py.detach(|| self.0.open(name));
        Ok(opened.map_err(|error| StorageError::new_err(error.to_string()))?.into_raw_fd())
    }
}
