//! Writing a file.

use std::sync::Arc;

use mapreduce_storage::block::encode_block_in;

use super::{
    Append, Entries, EntryRef,
    append::Spilled,
    index::{Place, put_index},
    source::Source,
};
use crate::{Resources, TaskError};

/// Raw bytes of one block: large enough to compress well; small enough that those of many inputs that are merged stay in
/// the cache, and that LZ4 gets along with positions of 16 bits.
pub(crate) const BLOCK_BYTES: usize = 60 << 10;

/// Writes the partitions of a file one after another.
#[derive(Debug)]
pub struct FileWriter<W> {
    out: W,
    places: Vec<Place>,
    /// Entries that are in no block yet.
    raw: Vec<u8>,
    n_entries: u64,
    /// Where the partition starts that is being written.
    start: u64,
    written: u64,
    /// Where blocks are made.
    room: Vec<u8>,
}

impl<W: Append> FileWriter<W> {
    /// An empty file.
    pub fn new(out: W) -> Self {
        let (raw, room) = (Vec::new(), Vec::new());
        FileWriter { out, places: Vec::new(), raw, n_entries: 0, start: 0, written: 0, room }
    }

    /// The partition that is being written, from 0.
    pub fn partition(&self) -> u32 {
        self.places.len() as u32
    }

    /// Adds values of a key to the partition. Keys must not descend. A key may come again, with more of its values.
    pub fn push(&mut self, key: &[u8], hint: &[u8], count: u64, values: &[u8]) -> Result<(), TaskError> {
        EntryRef { key, hint, count, values }.put(&mut self.raw);
        self.end_entry()
    }

    /// The same for an entry that is encoded already.
    pub(crate) fn push_entry(&mut self, encoded: &[u8]) -> Result<(), TaskError> {
        self.raw.extend_from_slice(encoded);
        self.end_entry()
    }

    fn end_entry(&mut self) -> Result<(), TaskError> {
        self.n_entries += 1;
        if self.raw.len() >= BLOCK_BYTES { self.end_blocks() } else { Ok(()) }
    }

    /// Ends the partition and begins the next.
    pub fn end_partition(&mut self) -> Result<(), TaskError> {
        self.end_blocks()?;
        let length = self.written - self.start;
        let n_entries = std::mem::take(&mut self.n_entries);
        self.places.push(Place { offset: self.start, length, n_entries });
        self.start = self.written;
        Ok(())
    }

    /// Ends partitions until `partition` is being written.
    pub fn advance_to(&mut self, partition: u32) -> Result<(), TaskError> {
        while self.partition() < partition {
            self.end_partition()?;
        }
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<W, TaskError> {
        let mut tail = Vec::new();
        put_index(&mut tail, &self.places);
        self.out.append(&tail)?;
        Ok(self.out)
    }

    /// Turns what waits into blocks. They end where entries end, so that a reader seldom has to join two, but for
    /// entries that are longer than two blocks.
    fn end_blocks(&mut self) -> Result<(), TaskError> {
        let at_once = if self.raw.len() < 2 * BLOCK_BYTES { self.raw.len().max(1) } else { BLOCK_BYTES };
        for part in self.raw.chunks(at_once) {
            #[expect(clippy::expect_used, reason = "two of BLOCK_BYTES are below the longest block")]
            let block = encode_block_in(part, &mut self.room).expect("a part fits");
            self.out.append(block)?;
            self.written += block.len() as u64;
        }
        self.raw.clear();
        Ok(())
    }
}

/// A file on the local disk, which is read by the process that wrote it.
#[derive(Debug)]
pub(crate) struct Run {
    file: Arc<std::fs::File>,
    places: Vec<Place>,
}

impl FileWriter<Spilled> {
    /// Ends a file that needs no index.
    pub(crate) fn into_run(self) -> Run {
        Run { file: Arc::new(self.out.file), places: self.places }
    }
}

impl Run {
    /// One of its partitions.
    pub(crate) fn partition(&self, resources: &Resources, partition: u32, part_bytes: u64) -> Entries {
        let place = self.places.get(partition as usize);
        let (range, n) = place.map_or((0..0, 0), |p| (p.offset..p.offset + p.length, p.n_entries));
        let source = Source::spilled(resources, self.file.clone(), range, part_bytes);
        Entries::new("scratch".into(), partition, bytes::Bytes::new(), source, n)
    }
}
