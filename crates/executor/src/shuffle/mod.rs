//! The file between map and reduce; a result is one, too. It is written once, in one go, and read by ranges,
//! one partition at a time.
//!
//! ```text
//! file      = blocks of partition 0, blocks of partition 1, ..., index, footer
//! partition = entries, joined, then cut into blocks of about 256 KiB (storage::block)
//! entry     = length key, length hint, count, length values          all numbers LEB128
//! index     = one block: number of partitions, then for each its length in the file and its number of entries
//! footer    = length of the index: u32 | version: u32 | crc32c of both: u32 | "MRSF"       (little endian)
//! ```
//!
//! The keys of a partition never descend; a key with many values has several entries, so that no entry is much
//! longer than a block unless a value is. Whatever the footer, the index or an entry says is checked before
//! it is believed: a damaged file is an error and never a wrong result.

mod append;
mod entries;
mod entry;
mod fetch;
mod index;
mod source;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use append::Spilled;
pub use append::{Append, Stored};
pub use entries::Entries;
pub(crate) use entry::EntryRef;
pub use fetch::{fetch_file, fetch_partition};
pub use writer::FileWriter;
pub(crate) use writer::{BLOCK_BYTES, Run};

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The end of the file is no footer of ours.
    #[error("it does not end with a footer of map output")]
    Footer,
    /// Written by another version of this program.
    #[error("it has version {found}, this program reads {}: run the same version everywhere", index::VERSION)]
    Version {
        /// What the footer says.
        found: u32,
    },
    /// The index does not fit the file.
    #[error("its index is damaged")]
    Index,
    /// A block is not what was written.
    #[error("partition {partition}: {error}")]
    Block {
        /// Which partition.
        partition: u32,
        /// What is wrong.
        error: mapreduce_storage::block::BlockError,
    },
    /// The entries do not follow the format.
    #[error("partition {partition} has damaged entries: {why}")]
    Entries {
        /// Which partition.
        partition: u32,
        /// What is wrong.
        why: &'static str,
    },
}
