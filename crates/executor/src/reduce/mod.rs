//! The reduce side: one partition of every map output, merged by key; and the same for reading a job's result.

mod heads;
mod merge;

pub use merge::{Merge, Rest, fan_in};
