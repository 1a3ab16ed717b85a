//! Checksums that fit whatever they stand beside: without them a fuzzer sees the check of the checksum and nothing else.

use mapreduce_core::Persisted;

/// Length of a block's header.
const BLOCK_HEADER: usize = 16;
/// Length of the footer of map output.
const FOOTER: usize = 16;

/// `body` behind a header of its own.
pub(crate) fn framed<T: Persisted>(body: &[u8]) -> Vec<u8> {
    named_frame(T::KIND, T::VERSION, body)
}

/// The same for records whose types are private.
pub(crate) fn named_frame(kind: &str, version: u32, body: &[u8]) -> Vec<u8> {
    let checksum = crc32c::crc32c(body);
    let header = format!("mapreduce {kind} v{version} length={} crc32c={checksum:08x}\n", body.len());
    [header.as_bytes(), body].concat()
}

/// The body of a framed record.
pub(crate) fn body(framed: &[u8]) -> &[u8] {
    let end = framed.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    &framed[end..]
}

/// Puts the checksums right of the blocks that `bytes` begin with.
pub(crate) fn repair_blocks(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some((header, after)) = rest.split_at_mut_checked(BLOCK_HEADER) {
        let stored = header[8..12].try_into().map_or(0, u32::from_le_bytes) as usize;
        let Some((payload, after)) = after.split_at_mut_checked(stored) else { return };
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[4..12]), payload);
        header[12..].copy_from_slice(&checksum.to_le_bytes());
        rest = after;
    }
}

/// Puts the checksums right of a file of map output.
pub(crate) fn repair_shuffle(file: &mut [u8]) {
    repair_blocks(file);
    if let Some(start) = file.len().checked_sub(FOOTER) {
        let checksum = crc32c::crc32c(&file[start..start + 8]);
        file[start + 8..start + 12].copy_from_slice(&checksum.to_le_bytes());
    }
}
