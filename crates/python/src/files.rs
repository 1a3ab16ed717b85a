//! Files as input and output, on the client's side.

use mapreduce_core::{Compression, FileFormat, InputDescription};
use mapreduce_formats::{FormatError, SPLIT_BYTES, check_output, find, split, suitable_split_bytes};
use pyo3::{exceptions::PyValueError, prelude::*};
use serde::de::DeserializeOwned;

use crate::{objects::InvalidArgumentError, runtime::block_on};

/// The files that a job reads, as they are now.
#[pyclass(frozen, module = "mapreduce._native")]
pub struct InputFiles(pub InputDescription);

#[pymethods]
impl InputFiles {
    /// Finds them; `format` and `compression` are JSON.
    #[new]
    fn find(
        py: Python<'_>,
        patterns: Vec<String>,
        format: &str,
        compression: Option<&str>,
        split_bytes: Option<u64>,
    ) -> PyResult<InputFiles> {
        let format: FileFormat = parse(format)?;
        let compression: Option<Compression> = compression.map(parse).transpose()?;
        let found = block_on(py, || async move { find(&patterns, compression).await })?;
        let files = found.map_err(|error| refused(&error))?;
        let split_bytes = split_bytes.unwrap_or_else(|| suitable_split_bytes(&files, SPLIT_BYTES));
        let splits = split(&files, &format, split_bytes.max(1));
        Ok(InputFiles(InputDescription::Files { format, files, splits }))
    }

    /// How many files there are, how many bytes in them, and how many map tasks read them.
    fn summary(&self) -> (usize, u64, usize) {
        match &self.0 {
            InputDescription::Files { files, splits, .. } => {
                (files.len(), files.iter().map(|file| file.length).sum(), splits.len())
            }
            other => (0, 0, other.n_splits()),
        }
    }
}

/// Raises if a job may not write to `output`.
#[pyfunction]
pub fn check_output_directory(py: Python<'_>, output: &str, overwrite: bool) -> PyResult<()> {
    let output = output.to_owned();
    let checked = block_on(py, || async move { check_output(&output, overwrite).await })?;
    checked.map_err(|error| refused(&error))
}

fn parse<T: DeserializeOwned>(json: &str) -> PyResult<T> {
    serde_json::from_str(json).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn refused(error: &FormatError) -> PyErr {
    InvalidArgumentError::new_err(error.to_string())
}
