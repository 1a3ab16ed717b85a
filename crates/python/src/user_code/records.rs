//! Records as Python's objects, and results as records of files.

use std::ops::Range;

use mapreduce_core::{FailureKind, FileFormat, InputDescription};
use mapreduce_executor::{TaskError, UserFailure, pair};
use mapreduce_formats::{Batch, CsvRow, encode_csv_row};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString},
};

use super::failure;
use crate::{
    keys,
    objects::{self, damaged},
    values,
};

/// Results that become one batch of a Parquet file.
const TABLE_ROWS: usize = 10_000;

/// What one record of the input is in Python.
#[derive(Debug, Clone, Copy)]
pub enum Decoder {
    /// An object that the client encoded.
    Object,
    /// A tuple of a key and a value of an earlier job's result.
    Pair,
    /// A `str`.
    Text,
    /// `bytes`.
    Bytes,
    /// What `json.loads` makes of it.
    Json,
    /// A dict by the names of the header, or a list of `str`.
    Csv,
    /// Many rows of CSV: one `pyarrow.RecordBatch`.
    CsvTable,
    /// A tuple of the file's URL and its content.
    WholeFile,
    /// Many records: dicts, or one `pyarrow.RecordBatch`.
    Table { arrow: bool },
}

impl Decoder {
    pub fn new(input: &InputDescription, arrow: bool) -> Self {
        use mapreduce_core::InvalidText;
        match input {
            InputDescription::Uploaded { .. } => Decoder::Object,
            InputDescription::Result { .. } => Decoder::Pair,
            InputDescription::Files { format, .. } => match format {
                FileFormat::Text { invalid: InvalidText::Bytes } | FileFormat::FixedLength { .. } => {
                    Decoder::Bytes
                }
                FileFormat::Text { .. } => Decoder::Text,
                FileFormat::JsonLines => Decoder::Json,
                FileFormat::Csv { .. } if arrow => Decoder::CsvTable,
                FileFormat::Csv { .. } => Decoder::Csv,
                FileFormat::WholeFiles => Decoder::WholeFile,
                FileFormat::Parquet => Decoder::Table { arrow },
            },
        }
    }

    /// Whether a batch is one table, so that what Python gets are not its records.
    pub fn is_table(self) -> bool {
        matches!(self, Decoder::Table { .. } | Decoder::CsvTable)
    }

    /// The records of a batch in `range`.
    pub fn list<'py>(
        self,
        py: Python<'py>,
        batch: &Batch,
        range: Range<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        match self {
            Decoder::Table { arrow } => objects::table_rows(py, batch.get(range.start), arrow),
            Decoder::CsvTable => {
                let table = batch.csv_table(range).map_err(|error| damaged(&error.to_string()))?;
                objects::table_rows(py, &table, true)
            }
            _ => {
                let decoded: PyResult<Vec<_>> = range.map(|i| self.decode(py, batch, i)).collect();
                PyList::new(py, decoded?)
            }
        }
    }

    fn decode<'py>(self, py: Python<'py>, batch: &Batch, i: usize) -> PyResult<Bound<'py, PyAny>> {
        let record = batch.get(i);
        Ok(match self {
            Decoder::Object => values::decode(py, record)?,
            Decoder::Pair => {
                let [key, hint, value] = pair(record).ok_or_else(|| damaged("a pair"))?;
                let key = keys::decode(py, &record[key], &record[hint])?;
                (key, values::decode(py, &record[value])?).into_pyobject(py)?.into_any()
            }
            Decoder::Text => PyString::from_bytes(py, record).map_err(|_| not_utf8())?.into_any(),
            Decoder::Bytes => PyBytes::new(py, record).into_any(),
            Decoder::Json => objects::parse_json(py, text(record)?)?,
            Decoder::Csv => row(py, record, batch.columns().map(|columns| columns.as_ref()))?,
            Decoder::WholeFile => {
                (batch.url().as_ref(), PyBytes::new(py, record)).into_pyobject(py)?.into_any()
            }
            Decoder::Table { .. } | Decoder::CsvTable => {
                return Err(damaged("a table where a record should be"));
            }
        })
    }
}

/// The reader has checked it.
fn text(record: &[u8]) -> PyResult<&str> {
    std::str::from_utf8(record).map_err(|_| not_utf8())
}

fn not_utf8() -> PyErr {
    damaged("text that is not UTF-8")
}

fn row<'py>(py: Python<'py>, record: &[u8], columns: Option<&[String]>) -> PyResult<Bound<'py, PyAny>> {
    let row = CsvRow::decode(record).ok_or_else(|| damaged("a row of CSV"))?;
    let Some(columns) = columns else {
        return Ok(PyList::new(py, row.fields().collect::<Vec<_>>())?.into_any());
    };
    let dict = PyDict::new(py);
    for (name, field) in columns.iter().zip(row.fields()) {
        dict.set_item(name, field)?;
    }
    Ok(dict.into_any())
}

/// Where a job's results become records of files.
pub struct Encoder<'a> {
    format: &'a FileFormat,
    write: &'a mut dyn FnMut(&[u8]) -> Result<(), TaskError>,
    buffer: Vec<u8>,
    /// Keys and values that wait to become a table.
    rows: Vec<(Py<PyAny>, Py<PyAny>)>,
}

impl<'a> Encoder<'a> {
    pub fn new(format: &'a FileFormat, write: &'a mut dyn FnMut(&[u8]) -> Result<(), TaskError>) -> Self {
        Encoder { format, write, buffer: Vec::new(), rows: Vec::new() }
    }

    /// Writes one result.
    pub fn push(&mut self, key: &Bound<'_, PyAny>, value: Bound<'_, PyAny>) -> Result<(), TaskError> {
        let py = key.py();
        let encoded = match self.format {
            FileFormat::Text { .. } => objects::text_line(key, &value),
            FileFormat::JsonLines => objects::json_line(key, &value),
            FileFormat::Csv { .. } => objects::csv_fields(key, &value).map(|fields| {
                self.buffer.clear();
                encode_csv_row(fields.iter().map(String::as_str), &mut self.buffer);
                None
            }),
            FileFormat::Parquet => {
                self.rows.push((key.clone().unbind(), value.unbind()));
                return if self.rows.len() >= TABLE_ROWS { self.flush(py) } else { Ok(()) };
            }
            FileFormat::WholeFiles | FileFormat::FixedLength { .. } => {
                let why = "results can be written as text, JSON Lines, CSV and Parquet";
                return Err(UserFailure::new(FailureKind::BadValue, why).into());
            }
        };
        match encoded.map_err(|error| unwritable(py, &error))? {
            Some(line) => (self.write)(line.as_bytes()),
            None => (self.write)(&self.buffer),
        }
    }

    /// Writes what waits.
    pub fn flush(&mut self, py: Python<'_>) -> Result<(), TaskError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let (keys, values): (Vec<_>, Vec<_>) = std::mem::take(&mut self.rows).into_iter().unzip();
        let table = objects::table(py, keys, values).map_err(|error| unwritable(py, &error))?;
        (self.write)(table.as_bytes())
    }
}

fn unwritable(py: Python<'_>, error: &PyErr) -> UserFailure {
    failure::raised(py, error, FailureKind::BadValue, "a result can't be written in the output's format")
}
