//! The plan: which tasks a job has. Written once by the first owner, a pure function of the spec, so it
//! never depends on who is alive (invariant I3) and two owners write the same bytes.

use serde::{Deserialize, Serialize};

use crate::{JobSpec, Partitioning, Persisted, Stage, TaskId};

/// Most partitions that are chosen unasked.
const PARTITIONS_MAX: u32 = 32;
/// Most map tasks of a job. Masters and executors keep a little of each in memory.
pub const MAP_TASKS_MAX: u32 = 1_000_000;
/// Most reduce tasks of a job, which are as many partitions in every map task's output.
pub const REDUCE_TASKS_MAX: u32 = 100_000;
/// Map tasks a reduce partition, unasked: small jobs should not pay for reducers they don't need.
const SPLITS_PER_PARTITION: u32 = 4;

/// The input of one map task over uploaded records: a run of them in one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The object's name, below the job's directory.
    pub object: String,
    /// Where the split starts in the object, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// How many records it holds.
    pub records: u64,
    /// The number of its first record in its input, from 0.
    pub first_record: u64,
}

/// The tasks of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Map tasks: one a split of each input, in their order.
    pub n_splits: u32,
    /// Reduce tasks.
    pub n_partitions: u32,
}

impl Persisted for Plan {
    const KIND: &'static str = "plan";
    const VERSION: u32 = 1;
}

impl Plan {
    /// The plan that follows from `spec`.
    pub fn new(spec: &JobSpec) -> Plan {
        let n_splits = u32::try_from(spec.n_splits()).unwrap_or(u32::MAX);
        let unasked = (n_splits / SPLITS_PER_PARTITION).clamp(1, PARTITIONS_MAX);
        let n_partitions = match &spec.settings.partitioning {
            Partitioning::Hash => spec.settings.n_partitions.unwrap_or(unasked),
            Partitioning::Range { boundaries } => u32::try_from(boundaries.len() + 1).unwrap_or(u32::MAX),
        };
        Plan { n_splits, n_partitions }
    }

    /// How many tasks `stage` has.
    pub fn n_tasks(&self, stage: Stage) -> u32 {
        match stage {
            Stage::Map => self.n_splits,
            Stage::Reduce => self.n_partitions,
        }
    }

    /// The tasks of `stage`, in order.
    pub fn tasks(&self, stage: Stage) -> impl Iterator<Item = TaskId> + use<> {
        (0..self.n_tasks(stage)).map(move |index| TaskId { stage, index })
    }
}
