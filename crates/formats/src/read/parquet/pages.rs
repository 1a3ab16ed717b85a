//! The bytes of a Parquet file, as the library asks for them: the header of a page, then the page, of each column in turn.
//! Of a store's file so many pages are fetched at one time that the way there and back is not most of it.

use std::{
    io::{self, BufReader, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use parquet::{
    errors::{ParquetError, Result},
    file::{
        metadata::ColumnChunkMetaData,
        reader::{ChunkReader, Length},
    },
};

use crate::{FormatError, read::file::OpenFile};

/// What the windows into all columns hold together, if not more is asked for at one time.
const WINDOWS_BYTES: usize = 32 << 20;
const WINDOW_BYTES_MIN: usize = 64 << 10;
const WINDOW_BYTES_MAX: usize = 4 << 20;

/// The bytes of some columns of a file. Clones share them.
#[derive(Clone)]
pub(super) struct Pages(Arc<Inner>);

struct Inner {
    file: Arc<OpenFile>,
    windows: Mutex<Vec<Window>>,
    window_bytes: usize,
    /// Why the file could not be read. The library would make words of it.
    failure: Mutex<Option<FormatError>>,
}

/// What was fetched last of a column.
struct Window {
    /// The column's bytes.
    start: u64,
    end: u64,
    offset: u64,
    bytes: Bytes,
}

impl Pages {
    /// Of a file, `columns` of which will be read.
    pub(super) fn new(file: Arc<OpenFile>, columns: &[ColumnChunkMetaData]) -> Self {
        let window = |column: &ColumnChunkMetaData| {
            // What is negative, or not in the file, is damage that the library notices when it reads.
            let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            let end = start.saturating_add(column.compressed_size());
            let [start, end] = [start, end].map(|at| at.max(0).cast_unsigned().min(file.length));
            Window { start, end, offset: start, bytes: Bytes::new() }
        };
        let windows: Vec<_> = match file.is_remote() {
            true => columns.iter().map(window).collect(),
            false => Vec::new(),
        };
        let window_bytes = (WINDOWS_BYTES / windows.len().max(1)).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        Pages(Arc::new(Inner { file, windows: Mutex::new(windows), window_bytes, failure: Mutex::default() }))
    }

    /// Why the file could not be read, if it could not.
    pub(super) fn failure(&self) -> Option<FormatError> {
        lock(&self.0.failure).take()
    }

    fn bytes(&self, offset: u64, length: usize) -> Result<Bytes> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.0.file.length) {
            return Err(ParquetError::EOF(format!("bytes behind its end are asked for, from {offset} on")));
        }
        self.0.read(offset, length).map_err(|error| {
            let said = ParquetError::General(error.to_string());
            *lock(&self.0.failure) = Some(error);
            said
        })
    }
}

impl Inner {
    fn read(&self, offset: u64, length: usize) -> Result<Bytes, FormatError> {
        let mut windows = lock(&self.windows);
        let holds = |window: &&mut Window| (window.start..window.end).contains(&offset);
        let Some(window) = windows.iter_mut().find(holds) else { return self.file.read_at(offset, length) };
        let skipped = usize::try_from(offset.wrapping_sub(window.offset)).unwrap_or(usize::MAX);
        if skipped > window.bytes.len() || window.bytes.len() - skipped < length {
            let left = usize::try_from(window.end - offset).unwrap_or(usize::MAX);
            window.bytes = self.file.read_at(offset, length.max(left.min(self.window_bytes)))?;
            window.offset = offset;
            return Ok(window.bytes.slice(..length));
        }
        Ok(window.bytes.slice(skipped..skipped + length))
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.0.file.length
    }
}

impl ChunkReader for Pages {
    type T = BufReader<PageReader>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(PageReader { pages: self.clone(), offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.bytes(start, length)
    }
}

/// The bytes from an offset on.
pub(super) struct PageReader {
    pages: Pages,
    offset: u64,
}

impl Read for PageReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.pages.len().saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let wanted = out.len().min(left);
        out[..wanted].copy_from_slice(&self.pages.bytes(self.offset, wanted)?);
        self.offset += wanted as u64;
        Ok(wanted)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
