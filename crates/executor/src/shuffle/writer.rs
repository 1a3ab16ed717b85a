//! Writing a file.

use bytes::Bytes;
use mapreduce_storage::block::encode_block;

use super::index::{Place, put_index};
use crate::varint;

/// Raw bytes of one block: large enough to compress well, small enough to stay in the cache.
const BLOCK_BYTES: usize = 256 << 10;

/// Writes the partitions of a file one after another, in memory.
#[derive(Debug, Default)]
pub struct FileWriter {
    file: Vec<u8>,
    places: Vec<Place>,
    /// Entries that are in no block yet.
    raw: Vec<u8>,
    n_entries: u64,
    partition_start: usize,
}

impl FileWriter {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// The partition that is being written, from 0.
    pub fn partition(&self) -> u32 {
        self.places.len() as u32
    }

    /// Adds an entry to the partition. Keys must come in ascending order, each once.
    pub fn push(&mut self, key: &[u8], hint: &[u8], count: u64, values: &[u8]) {
        for bytes in [key, hint] {
            varint::put(&mut self.raw, bytes.len() as u64);
            self.raw.extend_from_slice(bytes);
        }
        varint::put(&mut self.raw, count);
        varint::put(&mut self.raw, values.len() as u64);
        self.raw.extend_from_slice(values);
        self.n_entries += 1;
        if self.raw.len() >= BLOCK_BYTES {
            self.end_blocks(BLOCK_BYTES);
        }
    }

    /// Ends the partition and begins the next.
    pub fn end_partition(&mut self) {
        self.end_blocks(1);
        let (offset, length) = (self.partition_start as u64, (self.file.len() - self.partition_start) as u64);
        self.places.push(Place { offset, length, n_entries: std::mem::take(&mut self.n_entries) });
        self.partition_start = self.file.len();
    }

    /// The whole file.
    pub fn finish(mut self) -> Bytes {
        put_index(&mut self.file, &self.places);
        self.file.into()
    }

    /// Turns what waits into blocks, as long as at least `least` bytes wait.
    fn end_blocks(&mut self, least: usize) {
        let mut start = 0;
        while self.raw.len() - start >= least {
            let end = self.raw.len().min(start + BLOCK_BYTES);
            #[expect(clippy::expect_used, reason = "BLOCK_BYTES is below the longest block")]
            encode_block(&self.raw[start..end], &mut self.file).expect("a part fits");
            start = end;
        }
        self.raw.drain(..start);
    }
}
