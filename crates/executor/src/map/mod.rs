//! The map side: pairs come in, in any order, and go out as one file, sorted and grouped within each partition.

mod groups;
mod order;
mod output;
mod partitioner;
mod pile;
mod runs;
mod sample;
mod sink;
mod table;

pub use groups::{GroupId, KeyBatch};
pub use partitioner::Partitioner;
pub use sample::sample;
pub use sink::MapSink;
