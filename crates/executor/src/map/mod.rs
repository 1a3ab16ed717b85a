//! The map side: pairs come in, in any order, and go out as one file, sorted and grouped within each partition.

mod output;
mod partitioner;
mod runs;
mod sample;
mod sink;

pub use partitioner::Partitioner;
pub use sample::sample;
pub use sink::{GroupId, MapSink};
