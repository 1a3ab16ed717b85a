//! Reading the entries of one partition.

use std::ops::Range;

use bytes::Bytes;
use mapreduce_storage::{
    StorageError,
    block::{BlockError, decode_block},
};

use super::{EntryRef, FormatError, entry::NoEntry, source::Source};
use crate::{TaskError, Values, keys};

/// The entries of one partition, in the order of their keys. It stands at one of them; before the first
/// [`Entries::advance`], and after the last, at none. A few blocks of the partition are in memory at any time.
#[derive(Debug)]
pub struct Entries {
    path: String,
    partition: u32,
    /// Bytes that are not decoded yet, and where more come from.
    stored: Bytes,
    source: Source,
    /// Decoded bytes, and where the entry after the current one begins in them.
    raw: Bytes,
    next: usize,
    /// Entries after the current one.
    left: u64,
    /// Where in `raw` the current entry's parts are.
    key: Range<usize>,
    hint: Range<usize>,
    values: Range<usize>,
    count: u64,
    /// The first bytes of its key, which decide most comparisons.
    prefix: u64,
    is_at_entry: bool,
}

impl Entries {
    pub(super) fn new(path: String, partition: u32, stored: Bytes, source: Source, n_entries: u64) -> Self {
        Entries {
            path,
            partition,
            stored,
            source,
            raw: Bytes::new(),
            next: 0,
            left: n_entries,
            key: 0..0,
            hint: 0..0,
            values: 0..0,
            count: 0,
            prefix: 0,
            is_at_entry: false,
        }
    }

    /// The file they are read from.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The current entry's encoded key.
    pub fn key(&self) -> &[u8] {
        &self.raw[self.key.clone()]
    }

    /// The hint that the key came with.
    pub fn hint(&self) -> &[u8] {
        &self.raw[self.hint.clone()]
    }

    /// Its values.
    pub fn values(&self) -> Values {
        Values { count: self.count, bytes: self.raw.slice(self.values.clone()) }
    }

    /// Key and hint, to be kept. Most hints are empty: counting who shares such a one would be a waste.
    pub(crate) fn key_and_hint(&self) -> (Bytes, Bytes) {
        let hint = if self.hint.is_empty() { Bytes::new() } else { self.raw.slice(self.hint.clone()) };
        (self.raw.slice(self.key.clone()), hint)
    }

    /// The key's [prefix](keys::prefix).
    pub(crate) fn prefix(&self) -> u64 {
        self.prefix
    }

    /// Goes on to the next entry; false after the last.
    pub fn advance(&mut self) -> Result<bool, TaskError> {
        if self.left == 0 {
            self.is_at_entry = false;
            (self.key, self.hint, self.values) = (0..0, 0..0, 0..0);
            (self.count, self.prefix) = (0, 0);
            if self.stored.is_empty() && self.next == self.raw.len() && self.source.is_at_end() {
                return Ok(false);
            }
            return Err(self.damaged("bytes follow the last entry"));
        }
        // The last key, if its bytes are about to go.
        let mut last_key = None;
        let length = loop {
            match EntryRef::parse(&self.raw[self.next..]) {
                Ok((entry, length)) => {
                    let prefix = keys::prefix(entry.key);
                    let last = last_key.as_deref().unwrap_or(&self.raw[self.key.clone()]);
                    if self.is_at_entry && (prefix, entry.key) < (self.prefix, last) {
                        return Err(self.damaged("its keys descend"));
                    }
                    let start = self.raw.as_ptr() as usize;
                    let place = |bytes: &[u8]| {
                        let at = bytes.as_ptr() as usize - start;
                        at..at + bytes.len()
                    };
                    let (key, hint, values) = (place(entry.key), place(entry.hint), place(entry.values));
                    (self.count, self.prefix) = (entry.count, prefix);
                    (self.key, self.hint, self.values) = (key, hint, values);
                    break length;
                }
                Err(NoEntry::Malformed) => return Err(self.damaged("a length or count in them is no number")),
                Err(NoEntry::Short(at_least)) => {
                    last_key.get_or_insert_with(|| self.key().to_vec());
                    self.decode_until(at_least)?;
                }
            }
        };
        (self.next, self.left, self.is_at_entry) = (self.next + length, self.left - 1, true);
        Ok(true)
    }

    /// Decodes blocks until `length` bytes are there from the next entry on.
    fn decode_until(&mut self, length: usize) -> Result<(), TaskError> {
        let mut raw = self.raw[self.next..].to_vec();
        while raw.len() < length {
            let block = self.next_block()?;
            if raw.is_empty() {
                raw = block;
            } else {
                raw.extend_from_slice(&block);
            }
        }
        (self.raw, self.next) = (raw.into(), 0);
        (self.key, self.hint, self.values) = (0..0, 0..0, 0..0);
        Ok(())
    }

    fn next_block(&mut self) -> Result<Vec<u8>, TaskError> {
        loop {
            let missing = match decode_block(&self.stored) {
                Ok((block, _)) if block.is_empty() => return Err(self.damaged("an empty block")),
                Ok((block, consumed)) => {
                    self.stored = self.stored.slice(consumed..);
                    return Ok(block);
                }
                Err(BlockError::Truncated { found, expected }) if !self.source.is_at_end() => {
                    expected - found
                }
                Err(_) if self.stored.is_empty() => return Err(self.damaged("they end within an entry")),
                Err(error) => {
                    return Err(self.wrong(&FormatError::Block { partition: self.partition, error }));
                }
            };
            let more = self.source.read(missing)?;
            self.stored = if self.stored.is_empty() {
                more
            } else {
                [self.stored.as_ref(), more.as_ref()].concat().into()
            };
        }
    }

    fn damaged(&self, why: &'static str) -> TaskError {
        self.wrong(&FormatError::Entries { partition: self.partition, why })
    }

    fn wrong(&self, error: &FormatError) -> TaskError {
        StorageError::Damaged { path: self.path.clone(), why: error.to_string() }.into()
    }
}
