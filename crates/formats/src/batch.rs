//! Records as they come out of a file: many in one buffer, with their places.

use std::{fmt, sync::Arc};

/// A place in a file. Written `file:///x:1234`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub url: Arc<str>,
    /// Bytes from its beginning: of the stored file if it is not compressed, else of what it holds.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.url, self.offset)
    }
}

/// Some records of one file, in one buffer.
#[derive(Debug, Clone)]
pub struct Batch {
    pub(crate) url: Arc<str>,
    /// Shared with the reader, which uses the buffer again when the batch is gone.
    pub(crate) bytes: Arc<Vec<u8>>,
    /// Start and end of every record in `bytes`.
    pub(crate) records: Vec<(u32, u32)>,
    pub(crate) places: Places,
    pub(crate) columns: Option<Arc<[String]>>,
    pub(crate) is_arrow: bool,
}

/// Where in the file the records of a batch begin.
#[derive(Debug, Clone)]
pub(crate) enum Places {
    /// The buffer is a stretch of the file that begins here.
    Stretch(u64),
    /// The buffer was made from the file, whose records begin here.
    Each(Vec<u64>),
}

impl Batch {
    /// A batch of plain records.
    pub(crate) fn new(
        url: Arc<str>,
        bytes: impl Into<Arc<Vec<u8>>>,
        records: Vec<(u32, u32)>,
        places: Places,
    ) -> Self {
        Batch { url, bytes: bytes.into(), records, places, columns: None, is_arrow: false }
    }

    /// A batch of one record: all the bytes.
    pub(crate) fn of_one(url: Arc<str>, bytes: Vec<u8>, offset: u64) -> Self {
        // Readers let no record grow beyond RECORD_BYTES_MAX, which fits.
        let end = bytes.len() as u32;
        Batch::new(url, bytes, vec![(0, end)], Places::Each(vec![offset]))
    }

    /// Records that a client uploaded: `bytes`, and the start and end of each; the first is record `first` of
    /// the input, and that is how positions count.
    pub fn of_uploaded(url: Arc<str>, first: u64, (bytes, records): (Vec<u8>, Vec<(u32, u32)>)) -> Self {
        // Wherever the counting begins: that comes from a specification.
        let places = Places::Each((0..records.len() as u64).map(|i| first.saturating_add(i)).collect());
        Batch::new(url, bytes, records, places)
    }

    /// How many records there are; never 0 in what a reader hands out.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The `i`th record. Panics if there are not so many, as a slice does.
    pub fn get(&self, i: usize) -> &[u8] {
        let (start, end) = self.records[i];
        &self.bytes[start as usize..end as usize]
    }

    /// The records, in the file's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.records.iter().map(|&(start, end)| &self.bytes[start as usize..end as usize])
    }

    /// Where the `i`th record begins. Panics if there are not so many, as a slice does.
    pub fn position(&self, i: usize) -> Position {
        let offset = match &self.places {
            Places::Stretch(offset) => offset + u64::from(self.records[i].0),
            Places::Each(offsets) => offsets[i],
        };
        Position { url: self.url.clone(), offset }
    }

    /// The file that the records are from.
    pub fn url(&self) -> &Arc<str> {
        &self.url
    }

    /// The names that the header of a CSV file gives its fields.
    pub fn columns(&self) -> Option<&Arc<[String]>> {
        self.columns.as_ref()
    }

    /// Whether the batch is rows of a table: then it has one record, and that is an Arrow IPC stream.
    pub fn is_arrow(&self) -> bool {
        self.is_arrow
    }
}
