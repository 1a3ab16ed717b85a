//! What was spilled, merged into the output.

use super::output::Output;
use crate::{
    Resources, TaskError,
    reduce::{Merge, fan_in},
    shuffle::{Append, Run},
};

/// Merges partition by partition. The values of a key keep their order: earlier runs hold earlier values.
pub(super) fn merge<W: Append>(
    runs: &[Run],
    n_partitions: u32,
    resources: &Resources,
    output: &mut Output<'_, W>,
) -> Result<(), TaskError> {
    let (_, part_bytes) = fan_in(resources.memory_bytes, runs.len());
    for partition in 0..n_partitions {
        output.advance_to(partition)?;
        let inputs = runs.iter().map(|run| run.partition(resources, partition, part_bytes)).collect();
        let mut merge = Merge::new(inputs, resources)?;
        while let Some(group) = merge.next_group()? {
            output.push_group(group)?;
        }
    }
    output.flush()
}
