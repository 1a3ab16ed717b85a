//! Reading the entries of one partition.

use bytes::Bytes;
use mapreduce_storage::block::decode_block;

use super::FormatError;
use crate::{Group, Values, varint};

/// The entries of one partition, in the order of their keys. Blocks are decoded when they are needed.
#[derive(Debug, Clone)]
pub struct Entries {
    path: String,
    partition: u32,
    /// Blocks that are not decoded yet.
    stored: Bytes,
    /// Decoded bytes that are not read yet.
    raw: Bytes,
    left: u64,
    last_key: Option<Bytes>,
}

impl Entries {
    pub(super) fn new(path: String, partition: u32, stored: Bytes, n_entries: u64) -> Self {
        Entries { path, partition, stored, raw: Bytes::new(), left: n_entries, last_key: None }
    }

    /// The file they are read from.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The next entry; none after the last.
    pub fn next_entry(&mut self) -> Result<Option<Group>, FormatError> {
        if self.left == 0 {
            if self.stored.is_empty() && self.raw.is_empty() {
                return Ok(None);
            }
            return Err(self.damaged("bytes follow the last entry"));
        }
        let entry = loop {
            match parse(&self.raw) {
                Ok((group, consumed)) => {
                    self.raw = self.raw.slice(consumed..);
                    break group;
                }
                Err(at_least) => self.decode_until(at_least)?,
            }
        };
        self.left -= 1;
        if self.last_key.as_ref().is_some_and(|last| *last >= entry.key) {
            return Err(self.damaged("its keys do not ascend"));
        }
        self.last_key = Some(entry.key.clone());
        Ok(Some(entry))
    }

    /// Decodes blocks until `length` bytes are there.
    fn decode_until(&mut self, length: usize) -> Result<(), FormatError> {
        let mut raw = self.raw.to_vec();
        while raw.len() < length {
            if self.stored.is_empty() {
                return Err(self.damaged("they end within an entry"));
            }
            let partition = self.partition;
            let (block, consumed) =
                decode_block(&self.stored).map_err(|error| FormatError::Block { partition, error })?;
            self.stored = self.stored.slice(consumed..);
            if block.is_empty() {
                return Err(self.damaged("an empty block"));
            }
            if raw.is_empty() {
                raw = block;
            } else {
                raw.extend_from_slice(&block);
            }
        }
        self.raw = raw.into();
        Ok(())
    }

    fn damaged(&self, why: &'static str) -> FormatError {
        FormatError::Entries { partition: self.partition, why }
    }
}

/// The entry that `raw` begins with and its length; or how many bytes it takes at least, if there are fewer.
fn parse(raw: &Bytes) -> Result<(Group, usize), usize> {
    let mut at = 0;
    let key = take_bytes(raw, &mut at)?;
    let hint = take_bytes(raw, &mut at)?;
    let count = take_number(raw, &mut at)?;
    let bytes = take_bytes(raw, &mut at)?;
    Ok((Group { key, hint, values: vec![Values { count, bytes }] }, at))
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
