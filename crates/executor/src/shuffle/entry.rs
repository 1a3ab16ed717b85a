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

    /// The entry that `raw` begins with and its length.
    #[inline]
    pub(crate) fn parse(raw: &'a [u8]) -> Result<(EntryRef<'a>, usize), NoEntry> {
        let mut rest = raw;
        let key = take_bytes(raw, &mut rest)?;
        let hint = take_bytes(raw, &mut rest)?;
        let count = take_number(raw, &mut rest)?;
        let values = take_bytes(raw, &mut rest)?;
        Ok((EntryRef { key, hint, count, values }, raw.len() - rest.len()))
    }
}

/// Why some bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoEntry {
    /// It takes at least so many bytes, and there are fewer.
    Short(usize),
    /// More bytes would make it none either.
    Malformed,
}

#[inline]
fn take_number(raw: &[u8], rest: &mut &[u8]) -> Result<u64, NoEntry> {
    varint::take(rest).ok_or(match rest.len() {
        varint::BYTES_MAX.. => NoEntry::Malformed,
        _ => NoEntry::Short(raw.len() + 1),
    })
}

#[inline]
fn take_bytes<'a>(raw: &'a [u8], rest: &mut &'a [u8]) -> Result<&'a [u8], NoEntry> {
    let length = usize::try_from(take_number(raw, rest)?).map_err(|_| NoEntry::Malformed)?;
    match rest.split_at_checked(length) {
        Some((bytes, after)) => {
            *rest = after;
            Ok(bytes)
        }
        None => Err(NoEntry::Short((raw.len() - rest.len()).saturating_add(length))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_more_bytes_can_mend_is_short_and_what_they_cannot_is_malformed() {
        let mut raw = Vec::new();
        EntryRef { key: b"key", hint: b"", count: 1 << 40, values: &[7; 200] }.put(&mut raw);
        for cut in 0..raw.len() {
            match EntryRef::parse(&raw[..cut]) {
                Err(NoEntry::Short(at_least)) => assert!((cut + 1..=raw.len()).contains(&at_least)),
                other => panic!("{cut} bytes are {other:?}"),
            }
        }
        let no_number = [0xff; varint::BYTES_MAX];
        for good in 0..4 {
            // The key, the hint and the count of no entry, each of length or value 0.
            let damaged = [&[0].repeat(good)[..], &no_number, &[0; 9]].concat();
            assert_eq!(EntryRef::parse(&damaged), Err(NoEntry::Malformed), "after {good} numbers");
        }
    }
}
