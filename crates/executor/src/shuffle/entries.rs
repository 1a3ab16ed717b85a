//! Reading the entries of one partition.

use bytes::Bytes;
use mapreduce_storage::{
    StorageError,
    block::{BlockError, decode_block},
};

use super::{FormatError, source::Source};
use crate::{TaskError, Values, varint};

/// A key, some of its values, and what the key was before its encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The encoded key.
    pub key: Bytes,
    /// The hint that the key came with.
    pub hint: Bytes,
    /// The values.
    pub values: Values,
}

/// The entries of one partition, in the order of their keys. A few blocks of it are in memory at any time, and
/// one entry.
#[derive(Debug)]
pub struct Entries {
    path: String,
    partition: u32,
    /// Bytes that are not decoded yet, and where more come from.
    stored: Bytes,
    source: Source,
    /// Decoded bytes that are not read yet.
    raw: Bytes,
    left: u64,
    last_key: Option<Bytes>,
}

impl Entries {
    pub(super) fn new(path: String, partition: u32, stored: Bytes, source: Source, n_entries: u64) -> Self {
        Entries { path, partition, stored, source, raw: Bytes::new(), left: n_entries, last_key: None }
    }

    /// The file they are read from.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The next entry; none after the last.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TaskError> {
        if self.left == 0 {
            if self.stored.is_empty() && self.raw.is_empty() && self.source.is_at_end() {
                return Ok(None);
            }
            return Err(self.damaged("bytes follow the last entry"));
        }
        let entry = loop {
            match parse(&self.raw) {
                Ok((entry, consumed)) => {
                    self.raw = self.raw.slice(consumed..);
                    break entry;
                }
                Err(at_least) => self.decode_until(at_least)?,
            }
        };
        self.left -= 1;
        if self.last_key.as_ref().is_some_and(|last| *last > entry.key) {
            return Err(self.damaged("its keys descend"));
        }
        self.last_key = Some(entry.key.clone());
        Ok(Some(entry))
    }

    /// Decodes blocks until `length` bytes are there.
    fn decode_until(&mut self, length: usize) -> Result<(), TaskError> {
        let mut raw = self.raw.to_vec();
        while raw.len() < length {
            let block = self.next_block()?;
            if raw.is_empty() {
                raw = block;
            } else {
                raw.extend_from_slice(&block);
            }
        }
        self.raw = raw.into();
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

/// The entry that `raw` begins with and its length; or how many bytes it takes at least, if there are fewer.
fn parse(raw: &Bytes) -> Result<(Entry, usize), usize> {
    let mut at = 0;
    let key = take_bytes(raw, &mut at)?;
    let hint = take_bytes(raw, &mut at)?;
    let count = take_number(raw, &mut at)?;
    let bytes = take_bytes(raw, &mut at)?;
    Ok((Entry { key, hint, values: Values { count, bytes } }, at))
}

fn take_number(raw: &Bytes, at: &mut usize) -> Result<u64, usize> {
    let mut rest = &raw[*at..];
    let number = varint::take(&mut rest).ok_or(raw.len() + 1)?;
    *at = raw.len() - rest.len();
    Ok(number)
}

fn take_bytes(raw: &Bytes, at: &mut usize) -> Result<Bytes, usize> {
    let length = take_number(raw, at)?;
    let end = usize::try_from(length).ok().and_then(|length| at.checked_add(length)).unwrap_or(usize::MAX);
    if end > raw.len() {
        return Err(end);
    }
    Ok(raw.slice(std::mem::replace(at, end)..end))
}
