//! Parquet: rows, as Arrow IPC streams of about [`BATCH_BYTES`] each.
//!
//! A range holds the row groups whose middle it holds, so that each is read once wherever the cuts are.

use std::{fmt::Display, sync::Arc};

use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use mapreduce_core::{Compression, FileRange, InputFile};
use parquet::{
    arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    },
    file::metadata::RowGroupMetaData,
};

use super::{BATCH_BYTES, input::OpenFile};
use crate::{Batch, FormatError, Position};

/// So many rows at most in a batch, however small they are.
const ROWS_MAX: u64 = 64 << 10;

/// Reads the row groups of a range.
pub(super) struct ParquetReader {
    file: Arc<OpenFile>,
    metadata: ArrowReaderMetadata,
    /// Row groups still to be read, the next one last.
    groups: Vec<usize>,
    /// Where the current row group begins, and its rows.
    current: Option<(u64, ParquetRecordBatchReader)>,
    max: u32,
}

impl ParquetReader {
    pub(super) fn open(file: &InputFile, range: FileRange, max: u32) -> Result<Self, FormatError> {
        if file.compression != Compression::None {
            return Err(FormatError::unsuitable(&file.url, "Parquet can't be read compressed: unpack it"));
        }
        let open = OpenFile::open(file)?;
        let metadata = ArrowReaderMetadata::load(&open.file, ArrowReaderOptions::new())
            .map_err(|error| FormatError::damaged(&open.url, 0, error))?;
        let end = range.offset.saturating_add(range.length);
        let is_ours = |group: &RowGroupMetaData| (range.offset..end).contains(&middle(group));
        let groups = metadata.metadata().row_groups().iter().enumerate().rev();
        let groups = groups.filter(|(_, group)| is_ours(group)).map(|(index, _)| index).collect();
        Ok(ParquetReader { file: open, metadata, groups, current: None, max })
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, FormatError> {
        loop {
            if let Some((offset, reader)) = &mut self.current {
                let offset = *offset;
                if let Some(rows) = reader.next() {
                    let rows = rows.map_err(|error| self.damaged(offset, error))?;
                    return self.batch(offset, &rows).map(Some);
                }
            }
            let Some(group) = self.groups.pop() else {
                self.file.check_unchanged()?;
                return Ok(None);
            };
            self.current = Some(self.open_group(group)?);
        }
    }

    fn open_group(&self, index: usize) -> Result<(u64, ParquetRecordBatchReader), FormatError> {
        let group = self.metadata.metadata().row_group(index);
        let offset = begin(group);
        let rows = group.num_rows().max(1).cast_unsigned();
        let row_bytes = (group.total_byte_size().max(0).cast_unsigned() / rows).max(1);
        let batch_rows = (BATCH_BYTES as u64 / row_bytes).clamp(1, ROWS_MAX) as usize;
        let file = self.file.file.try_clone().map_err(|error| self.file.refused(error))?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![index])
            .with_batch_size(batch_rows)
            .build()
            .map_err(|error| self.damaged(offset, error))?;
        Ok((offset, reader))
    }

    /// The rows as one record.
    fn batch(&self, offset: u64, rows: &RecordBatch) -> Result<Batch, FormatError> {
        let mut bytes = Vec::new();
        let write = |bytes: &mut Vec<u8>| {
            let mut writer = StreamWriter::try_new(bytes, &rows.schema())?;
            writer.write(rows)?;
            writer.finish()
        };
        write(&mut bytes).map_err(|error| FormatError::unsuitable(&self.file.url, error.to_string()))?;
        if bytes.len() > self.max as usize {
            let position = Position { url: self.file.url.clone(), offset };
            return Err(FormatError::TooLong { position, max: self.max });
        }
        let mut batch = Batch::of_one(self.file.url.clone(), bytes, offset);
        batch.is_arrow = true;
        Ok(batch)
    }

    fn damaged(&self, offset: u64, error: impl Display) -> FormatError {
        FormatError::damaged(&self.file.url, offset, error)
    }
}

/// Where a row group's first page is.
fn begin(group: &RowGroupMetaData) -> u64 {
    let page = |offset: i64| u64::try_from(offset).unwrap_or(0);
    let begins = group.columns().iter().map(|column| {
        column.dictionary_page_offset().map_or(u64::MAX, page).min(page(column.data_page_offset()))
    });
    begins.min().unwrap_or(0)
}

fn middle(group: &RowGroupMetaData) -> u64 {
    begin(group).saturating_add(group.compressed_size().max(0).cast_unsigned() / 2)
}
