//! One entry of a file: a key, what it was before its encoding, and some of its values.

use crate::varint;

/// An entry, somewhere in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRef<'a> {
    /// The encoded key.
    pub(crate) key: &'a [u8],
    /// The hint that the key came with.
    pub(crate) hint: &'a [u8],
    /// How many values there are.
    pub(crate) count: u64,
    /// The values, one behind the other.
    pub(crate) values: &'a [u8],
}

impl<'a> EntryRef<'a> {
    /// Appends it.
    #[inline]
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        for bytes in [self.key, self.hint] {
            varint::put(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        varint::put(out, self.count);
        varint::put(out, self.values.len() as u64);
        out.extend_from_slice(self.values);
    }

    /// The entry that `raw` begins with and its length; or how many bytes it takes at least, if there are fewer.
    #[inline]
    pub(crate) fn parse(raw: &'a [u8]) -> Result<(EntryRef<'a>, usize), usize> {
        let mut rest = raw;
        let key = take_bytes(raw, &mut rest)?;
        let hint = take_bytes(raw, &mut rest)?;
        let count = take_number(raw, &mut rest)?;
        let values = take_bytes(raw, &mut rest)?;
        Ok((EntryRef { key, hint, count, values }, raw.len() - rest.len()))
    }
}

#[inline]
fn take_number(raw: &[u8], rest: &mut &[u8]) -> Result<u64, usize> {
    varint::take(rest).ok_or(raw.len() + 1)
}

#[inline]
fn take_bytes<'a>(raw: &'a [u8], rest: &mut &'a [u8]) -> Result<&'a [u8], usize> {
    let length = usize::try_from(take_number(raw, rest)?).unwrap_or(usize::MAX);
    match rest.split_at_checked(length) {
        Some((bytes, after)) => {
            *rest = after;
            Ok(bytes)
        }
        None => Err((raw.len() - rest.len()).saturating_add(length)),
    }
}
