//! Blocks: the frame around bulk data, in splits and in map output alike. A block is compressed where that
//! helps, and any change to it is noticed.
//!
//! ```text
//! "MRB1" | raw length: u32 | stored length: u32 | crc32c: u32 | stored bytes         (little endian)
//! ```
//!
//! The checksum covers both lengths and the stored bytes. The stored bytes are LZ4 if there are fewer of them
//! than raw ones, else they are the raw ones.

const MAGIC: [u8; 4] = *b"MRB1";
/// LZ4 makes no more of a byte.
const LZ4_RATIO_MAX: usize = 255;
/// Length of a block's header.
pub const HEADER_BYTES: usize = 16;
/// Most bytes that one block may hold.
pub const BLOCK_BYTES_MAX: usize = 64 << 20;

/// More bytes than fit into a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes don't fit into one block of at most {BLOCK_BYTES_MAX}: use several")]
pub struct BlockTooLong {
    /// How many they are.
    pub length: usize,
}

/// Why bytes are not a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// They end within the block.
    #[error("a block ends too early: {found} bytes of {expected}")]
    Truncated {
        /// How many bytes there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// They don't begin like one of ours.
    #[error("no mapreduce block begins here")]
    Foreign,
    /// They are not what was written.
    #[error("a block is damaged: its checksum or its lengths are wrong")]
    Damaged,
}

/// Appends `raw` to `out`, as one block.
pub fn encode_block(raw: &[u8], out: &mut Vec<u8>) -> Result<(), BlockTooLong> {
    let mut room = Vec::new();
    out.extend_from_slice(encode_block_in(raw, &mut room)?);
    Ok(())
}

/// `raw` as one block, made in `room`. Many are best made in the same: it is cleared but once.
pub fn encode_block_in<'a>(raw: &[u8], room: &'a mut Vec<u8>) -> Result<&'a [u8], BlockTooLong> {
    if raw.len() > BLOCK_BYTES_MAX {
        return Err(BlockTooLong { length: raw.len() });
    }
    let most = HEADER_BYTES + lz4_flex::block::get_maximum_output_size(raw.len());
    if room.len() < most {
        room.resize(most, 0);
    }
    let (header, body) = room.split_at_mut(HEADER_BYTES);
    let stored = match lz4_flex::block::compress_into(raw, body) {
        Ok(compressed) if compressed < raw.len() => compressed,
        _ => {
            body[..raw.len()].copy_from_slice(raw);
            raw.len()
        }
    };
    // Both fit: the first is at most BLOCK_BYTES_MAX, and the second at most the first.
    let lengths = lengths(raw.len() as u32, stored as u32);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&lengths), &body[..stored]);
    header[..4].copy_from_slice(&MAGIC);
    header[4..12].copy_from_slice(&lengths);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    Ok(&room[..HEADER_BYTES + stored])
}

/// Reads the block that `bytes` begin with: its raw bytes, and how many of `bytes` it took. Nothing is
/// allocated before the checksum has vouched for the lengths, and no more than so few bytes can unpack to.
pub fn decode_block(bytes: &[u8]) -> Result<(Vec<u8>, usize), BlockError> {
    let (header, rest) = bytes
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(BlockError::Truncated { found: bytes.len(), expected: HEADER_BYTES })?;
    let [m0, m1, m2, m3, r0, r1, r2, r3, s0, s1, s2, s3, c0, c1, c2, c3] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(BlockError::Foreign);
    }
    let raw_length = u32::from_le_bytes([r0, r1, r2, r3]);
    let stored_length = u32::from_le_bytes([s0, s1, s2, s3]);
    let (raw, stored) = (raw_length as usize, stored_length as usize);
    if raw > BLOCK_BYTES_MAX || stored > raw || raw / LZ4_RATIO_MAX > stored {
        return Err(BlockError::Damaged);
    }
    let expected = HEADER_BYTES + stored;
    let payload = rest.get(..stored).ok_or(BlockError::Truncated { found: bytes.len(), expected })?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&lengths(raw_length, stored_length)), payload);
    if checksum != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(BlockError::Damaged);
    }
    if stored == raw {
        return Ok((payload.to_vec(), expected));
    }
    let mut out = vec![0; raw];
    match lz4_flex::block::decompress_into(payload, &mut out) {
        Ok(length) if length == raw => Ok((out, expected)),
        _ => Err(BlockError::Damaged),
    }
}

fn lengths(raw: u32, stored: u32) -> [u8; 8] {
    (u64::from(stored) << 32 | u64::from(raw)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(raw: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_block(raw, &mut out).unwrap();
        out
    }

    /// Noise, and text that compresses.
    fn raw() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![prop::collection::vec(any::<u8>(), 0..400), prop::collection::vec(b'a'..b'c', 0..4000),]
    }

    proptest! {
        #[test]
        fn blocks_follow_each_other(first in raw(), second in raw(), mut out: Vec<u8>) {
            let start = out.len();
            encode_block(&first, &mut out).unwrap();
            let end = out.len();
            encode_block(&second, &mut out).unwrap();
            prop_assert_eq!(decode_block(&out[start..]), Ok((first, end - start)));
            prop_assert_eq!(decode_block(&out[end..]), Ok((second, out.len() - end)));
        }

        #[test]
        fn any_flipped_bit_is_noticed(raw in raw(), at: prop::sample::Index, bit in 0..8u8) {
            let mut bytes = encoded(&raw);
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(decode_block(&bytes).is_err());
        }

        #[test]
        fn any_missing_end_is_noticed(raw in raw(), at: prop::sample::Index) {
            let bytes = encoded(&raw);
            let cut = at.index(bytes.len());
            let noticed = matches!(decode_block(&bytes[..cut]), Err(BlockError::Truncated { .. }));
            prop_assert!(noticed);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
            prop_assert!(decode_block(&bytes).is_err());
            prop_assert!(decode_block(&[&MAGIC[..], &bytes].concat()).is_err());
        }
    }

    #[test]
    fn what_shrinks_most_is_read_as_well() {
        let zeros = vec![0; 8 << 20];
        assert_eq!(decode_block(&encoded(&zeros)).unwrap().0, zeros);
    }

    #[test]
    fn text_shrinks_and_noise_does_not_grow() {
        assert!(encoded(&[b'a'; 10_000]).len() < 200);
        let noise: Vec<u8> =
            (0..10_000u32).flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..4].to_vec()).collect();
        assert_eq!(encoded(&noise).len(), HEADER_BYTES + noise.len());
    }

    /// A block whose checksum fits and whose lengths lie, as only another program would write it.
    fn forged(raw: u32, stored: &[u8]) -> Vec<u8> {
        let lengths = lengths(raw, stored.len() as u32);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&lengths), stored);
        [&MAGIC[..], &lengths, &checksum.to_le_bytes(), stored].concat()
    }

    #[test]
    fn declared_lengths_are_not_believed() {
        assert_eq!(decode_block(&forged(u32::MAX, b"xy")), Err(BlockError::Damaged));
        assert_eq!(decode_block(&forged(1, b"xy")), Err(BlockError::Damaged));
        assert_eq!(decode_block(&forged(64 << 20, b"xy")), Err(BlockError::Damaged));
        let compressed = lz4_flex::block::compress(&[b'a'; 1000]);
        assert!(decode_block(&forged(1000, &compressed)).is_ok());
        assert_eq!(decode_block(&forged(999, &compressed)), Err(BlockError::Damaged));
        assert_eq!(decode_block(&forged(1001, &compressed)), Err(BlockError::Damaged));
        let too_long = vec![0; BLOCK_BYTES_MAX + 1];
        assert!(encode_block(&too_long, &mut Vec::new()).is_err());
    }
}
