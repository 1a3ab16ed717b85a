//! Rows as tables: one Arrow IPC stream of one batch, which any Arrow library reads.

use std::{ops::Range, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, builder::StringBuilder};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};

use crate::{Batch, CsvRow, FormatError};

impl Batch {
    /// The rows of CSV in `range` as a table: columns of strings, with the names that the header gives, or `f0`,
    /// `f1` and so on if there is none. An error if the records are no rows of equal width, as a reader's are. Panics
    /// if there are not so many records, as a slice does.
    pub fn csv_table(&self, range: Range<usize>) -> Result<Vec<u8>, FormatError> {
        let no_rows = || FormatError::unsuitable(&self.url, "records that are no rows of CSV of equal width");
        let no_table = |error: ArrowError| FormatError::unsuitable(&self.url, error.to_string());
        let rows: Vec<CsvRow> =
            range.map(|i| CsvRow::decode(self.get(i))).collect::<Option<_>>().ok_or_else(no_rows)?;
        let names: Vec<String> = match self.columns() {
            Some(columns) => columns.to_vec(),
            None => (0..rows.first().map_or(0, CsvRow::len)).map(|i| format!("f{i}")).collect(),
        };
        if rows.iter().any(|row| row.len() != names.len()) {
            return Err(no_rows());
        }
        let columns =
            (0..names.len()).map(|i| column(&rows, i)).collect::<Option<Vec<_>>>().ok_or_else(no_rows)?;
        let fields: Vec<Field> =
            names.into_iter().map(|name| Field::new(name, DataType::Utf8, false)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let table = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
        encode(&table.map_err(no_table)?).map_err(no_table)
    }
}

fn column(rows: &[CsvRow], i: usize) -> Option<ArrayRef> {
    // No reader lets a record grow beyond RECORD_BYTES_MAX, so a column's text is as short as its type demands.
    let bytes = rows.iter().map(|row| row.get(i).map_or(0, str::len)).sum();
    let mut column = StringBuilder::with_capacity(rows.len(), bytes);
    for row in rows {
        column.append_value(row.get(i)?);
    }
    Some(Arc::new(column.finish()))
}

/// A table as bytes.
pub(crate) fn encode(table: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), &table.schema())?;
    writer.write(table)?;
    writer.into_inner()
}
