//! Parquet: rows, as Arrow IPC streams of about [`BATCH_BYTES`] each.
//!
//! A range holds the row groups whose middle it holds, so that each is read once wherever the cuts are.

mod pages;

use std::{
    fmt::Display,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use arrow_array::RecordBatch;
use mapreduce_core::{Compression, FileRange, InputFile};
use parquet::{
    arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    },
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};

use self::pages::Pages;
use super::{BATCH_BYTES, file::OpenFile};
use crate::{Batch, FormatError, Position, table};

/// So many rows at most in a batch, however small they are.
const ROWS_MAX: u64 = 64 << 10;

/// Reads the row groups of a range.
pub(super) struct ParquetReader {
    file: Arc<OpenFile>,
    metadata: ArrowReaderMetadata,
    /// Row groups still to be read, the next one last.
    groups: Vec<usize>,
    current: Option<Group>,
    max: u32,
}

/// A row group that is being read.
struct Group {
    /// Where it begins.
    offset: u64,
    /// How many of its rows are still to come.
    rows_left: u64,
    pages: Pages,
    reader: ParquetRecordBatchReader,
}

impl ParquetReader {
    pub(super) fn open(file: &InputFile, range: FileRange, max: u32) -> Result<Self, FormatError> {
        if file.compression != Compression::None {
            return Err(FormatError::unsuitable(&file.url, "Parquet can't be read compressed: unpack it"));
        }
        let open = OpenFile::open(file)?;
        let pages = Pages::new(open.clone(), &[]);
        let metadata =
            guarded(&open, &pages, 0, || ArrowReaderMetadata::load(&pages, ArrowReaderOptions::new()))?;
        check_groups(&open, metadata.metadata())?;
        let end = range.offset.saturating_add(range.length);
        let is_ours = |group: &RowGroupMetaData| (range.offset..end).contains(&middle(group));
        let groups = metadata.metadata().row_groups().iter().enumerate().rev();
        let groups = groups.filter(|(_, group)| is_ours(group)).map(|(index, _)| index).collect();
        Ok(ParquetReader { file: open, metadata, groups, current: None, max })
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, FormatError> {
        loop {
            if let Some(group) = &mut self.current {
                let offset = group.offset;
                match guarded(&self.file, &group.pages, offset, || group.reader.next().transpose())? {
                    Some(rows) => {
                        group.rows_left = group.rows_left.saturating_sub(rows.num_rows() as u64);
                        return self.batch(offset, &rows).map(Some);
                    }
                    None if group.rows_left > 0 => {
                        let why = format!("{} rows are missing from the row group", group.rows_left);
                        return Err(FormatError::damaged(&self.file.url, offset, why));
                    }
                    None => {}
                }
            }
            let Some(group) = self.groups.pop() else {
                self.file.check_unchanged()?;
                return Ok(None);
            };
            self.current = Some(self.open_group(group)?);
        }
    }

    fn open_group(&self, index: usize) -> Result<Group, FormatError> {
        let group = self.metadata.metadata().row_group(index);
        let offset = begin(group);
        let rows_left = group.num_rows().max(0).cast_unsigned();
        let row_bytes = (group.total_byte_size().max(0).cast_unsigned() / rows_left.max(1)).max(1);
        let batch_rows = (BATCH_BYTES as u64 / row_bytes).clamp(1, ROWS_MAX) as usize;
        let pages = Pages::new(self.file.clone(), group.columns());
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(pages.clone(), self.metadata.clone())
                .with_row_groups(vec![index])
                .with_batch_size(batch_rows);
        let reader = guarded(&self.file, &pages, offset, || builder.build())?;
        Ok(Group { offset, rows_left, pages, reader })
    }

    /// The rows as one record.
    fn batch(&self, offset: u64, rows: &RecordBatch) -> Result<Batch, FormatError> {
        let bytes = table::encode(rows)
            .map_err(|error| FormatError::unsuitable(&self.file.url, error.to_string()))?;
        if bytes.len() > self.max as usize {
            let position = Position { url: self.file.url.clone(), offset };
            return Err(FormatError::TooLong { position, max: self.max });
        }
        let mut batch = Batch::of_one(self.file.url.clone(), bytes, offset);
        batch.is_arrow = true;
        Ok(batch)
    }
}

/// What `read`, a call of the library, gives. The library panics at some damage; to us that is damage.
fn guarded<T, E: Display>(
    file: &OpenFile,
    pages: &Pages,
    offset: u64,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, FormatError> {
    let read = panic::catch_unwind(AssertUnwindSafe(read));
    if let Some(unreadable) = pages.failure() {
        return Err(unreadable);
    }
    match read {
        Ok(read) => read.map_err(|error| FormatError::damaged(&file.url, offset, error)),
        Err(_) => Err(FormatError::damaged(&file.url, offset, "the Parquet reader can make nothing of it")),
    }
}

/// Whether the row groups are in the file, and all of its rows in them: else some would be in nobody's range.
fn check_groups(file: &OpenFile, metadata: &ParquetMetaData) -> Result<(), FormatError> {
    let groups = metadata.row_groups();
    let rows = groups.iter().fold(0, |rows: i64, group| rows.saturating_add(group.num_rows()));
    if rows == metadata.file_metadata().num_rows() && groups.iter().all(|group| middle(group) < file.length) {
        return Ok(());
    }
    Err(FormatError::damaged(&file.url, 0, "the description at the file's end contradicts itself"))
}

/// Where a row group's first page is.
///
/// Signed in the format; what is negative is damage that the library notices when it reads.
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
