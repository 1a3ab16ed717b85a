//! Index and footer: where every partition is.

use mapreduce_core::REDUCE_TASKS_MAX;
use mapreduce_storage::block::{BLOCK_BYTES_MAX, decode_block, encode_block};

use super::FormatError;
use crate::varint;

pub(super) const VERSION: u32 = 2;
pub(super) const FOOTER_BYTES: usize = 16;
const MAGIC: [u8; 4] = *b"MRSF";

/// Where one partition is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub offset: u64,
    pub length: u64,
    pub n_entries: u64,
}

/// Appends index and footer to a file that holds the partitions.
pub(super) fn put_index(file: &mut Vec<u8>, places: &[Place]) {
    let mut raw = Vec::new();
    varint::put(&mut raw, places.len() as u64);
    for place in places {
        varint::put(&mut raw, place.length);
        varint::put(&mut raw, place.n_entries);
    }
    let start = file.len();
    debug_assert!(raw.len() <= BLOCK_BYTES_MAX, "three million partitions");
    #[expect(clippy::expect_used, reason = "20 bytes a partition; a plan has at most REDUCE_TASKS_MAX")]
    encode_block(&raw, file).expect("the index fits");
    let length = (file.len() - start) as u32;
    file.extend_from_slice(&footer(length, VERSION));
}

fn footer(index_length: u32, version: u32) -> [u8; FOOTER_BYTES] {
    let mut footer = [0; FOOTER_BYTES];
    footer[..4].copy_from_slice(&index_length.to_le_bytes());
    footer[4..8].copy_from_slice(&version.to_le_bytes());
    let checksum = crc32c::crc32c(&footer[..8]);
    footer[8..12].copy_from_slice(&checksum.to_le_bytes());
    footer[12..].copy_from_slice(&MAGIC);
    footer
}

/// How many bytes at the end of a file are index and footer, given the footer.
pub(super) fn tail_length(footer_bytes: &[u8]) -> Result<u64, FormatError> {
    let &[l0, l1, l2, l3, v0, v1, v2, v3, ..] = footer_bytes else { return Err(FormatError::Footer) };
    let (length, version) = (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([v0, v1, v2, v3]));
    if footer_bytes != footer(length, version) {
        return Err(FormatError::Footer);
    }
    if version != VERSION {
        return Err(FormatError::Version { found: version });
    }
    Ok(u64::from(length) + FOOTER_BYTES as u64)
}

/// The places that `index` names, in a file whose partitions take `length` bytes.
pub(super) fn parse_index(index: &[u8], length: u64) -> Result<Vec<Place>, FormatError> {
    let (raw, consumed) = decode_block(index).map_err(|_| FormatError::Index)?;
    let (mut rest, mut offset, mut places) = (raw.as_slice(), 0u64, Vec::new());
    // Nothing shrinks like an index of empty partitions: a few kilobytes can name millions.
    let n =
        varint::take(&mut rest).filter(|n| *n <= u64::from(REDUCE_TASKS_MAX)).ok_or(FormatError::Index)?;
    for _ in 0..n {
        let length = varint::take(&mut rest).ok_or(FormatError::Index)?;
        let n_entries = varint::take(&mut rest).ok_or(FormatError::Index)?;
        places.push(Place { offset, length, n_entries });
        offset = offset.checked_add(length).ok_or(FormatError::Index)?;
    }
    let whole = consumed == index.len() && rest.is_empty() && offset == length;
    if whole { Ok(places) } else { Err(FormatError::Index) }
}
