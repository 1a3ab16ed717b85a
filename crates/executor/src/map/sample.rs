//! Boundaries for a total order, from a sample of the input.

use std::collections::BTreeMap;

use mapreduce_core::{Content, InputDescription, JobId, Partitioning};

use super::MapSink;
use crate::{Records, Resources, TaskError, UserCode};

/// Splits of which the beginning is mapped.
const SPLITS: usize = 16;

/// Maps the beginnings of some splits, evenly spread over all inputs, and cuts the keys found into `n_partitions`
/// ranges of about the same number of keys. A key counts once for each split in which it is, however often it came there,
/// and however little memory there is. Fewer ranges, if there are fewer keys. `contents` are the objects that are in the
/// job's specification.
pub fn sample(
    code: &mut dyn UserCode,
    (job, inputs, contents): (JobId, &[InputDescription], &BTreeMap<String, Content>),
    n_partitions: u32,
    resources: &Resources,
) -> Result<Partitioning, TaskError> {
    let n_splits: usize = inputs.iter().map(InputDescription::n_splits).sum();
    let mut keys = Vec::new();
    for n in 0..n_splits.min(SPLITS) {
        let index = (n * n_splits / n_splits.min(SPLITS)) as u32;
        let Some(mut records) = Records::of(inputs, job, index, contents, resources)? else { continue };
        records.end_after_batch();
        let mut sink = MapSink::of_keys(resources);
        code.map(&mut records, &mut sink)?;
        keys.extend(sink.into_keys());
    }
    Ok(Partitioning::Range { boundaries: cut(keys, n_partitions as usize) })
}

/// Where `n` parts of about the same number of keys begin, but for the first.
fn cut(mut keys: Vec<Vec<u8>>, n: usize) -> Vec<Vec<u8>> {
    keys.sort_unstable();
    let mut boundaries: Vec<Vec<u8>> = (1..n).filter_map(|i| keys.get(i * keys.len() / n)).cloned().collect();
    boundaries.dedup();
    boundaries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_into_parts_of_about_the_same_number() {
        let keys: Vec<Vec<u8>> = (0..100u8).rev().map(|n| vec![n]).collect();
        assert_eq!(cut(keys, 4), [[25], [50], [75]]);
        assert_eq!(cut(vec![vec![7]; 9], 4), [[7]]);
        assert!(cut(vec![], 4).is_empty());
    }
}
