//! The map side: pairs are grouped by key as they come, and written as one file, partition by partition in
//! key order.

mod sink;

pub use sink::{GroupId, MapSink};
