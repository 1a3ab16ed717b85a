//! The manifest seals a stage: it names the winning attempt of every task. Readers read what it names and
//! nothing else (I6).

use std::collections::BTreeMap;

use mapreduce_core::{AttemptId, Persisted, Plan, Stage, TaskId};
use serde::{Deserialize, Serialize};

use crate::{FileRef, Marker};

/// `manifest/<stage>`: the outcome of every task of the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The stage.
    pub stage: Stage,
    /// One entry a task, in the order of tasks.
    pub entries: Vec<ManifestEntry>,
}

/// The outcome of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// The attempt that committed.
    pub attempt: AttemptId,
    /// What it wrote.
    pub files: Vec<FileRef>,
}

impl From<Marker> for ManifestEntry {
    fn from(marker: Marker) -> ManifestEntry {
        ManifestEntry { attempt: marker.attempt, files: marker.files }
    }
}

impl Persisted for Manifest {
    const KIND: &'static str = "manifest";
    const VERSION: u32 = 2;
}

/// The stage can't be sealed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{task} is not committed yet")]
pub struct MissingMarker {
    /// The first task without a marker.
    pub task: TaskId,
}

impl Manifest {
    /// The manifest that follows from what the markers tell of their tasks, and from nothing else (I7).
    pub fn new(
        plan: &Plan,
        stage: Stage,
        mut outcomes: BTreeMap<TaskId, ManifestEntry>,
    ) -> Result<Manifest, MissingMarker> {
        let entry = |task: TaskId| outcomes.remove(&task).ok_or(MissingMarker { task });
        Ok(Manifest { stage, entries: plan.tasks(stage).map(entry).collect::<Result<_, _>>()? })
    }

    /// BLAKE3 of the encoded bytes, hexadecimal.
    pub fn digest(&self) -> String {
        blake3::hash(&self.encode()).to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_core::Epoch;
    use proptest::prelude::*;

    use super::*;
    use crate::marker::tests::marker;

    fn plan(n_splits: u32, n_partitions: u32) -> Plan {
        Plan { n_splits, n_partitions }
    }

    proptest! {
        #[test]
        fn it_follows_from_the_markers_alone_and_reads_what_it_writes(
            found in prop::collection::vec(marker(), 1..20),
            epoch: u64,
        ) {
            let place = |index: u32| TaskId { stage: Stage::Map, index };
            let markers: BTreeMap<TaskId, Marker> = (0..).map(place).zip(found).collect();
            let plan = plan(markers.len() as u32, 1);
            let outcomes = |markers: BTreeMap<TaskId, Marker>| {
                markers.into_iter().map(|(task, marker)| (task, marker.into())).collect()
            };
            let manifest = Manifest::new(&plan, Stage::Map, outcomes(markers.clone())).unwrap();
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
            let named = manifest.entries.iter().map(|entry| (entry.attempt, &entry.files));
            prop_assert!(named.eq(markers.values().map(|marker| (marker.attempt, &marker.files))));

            let mut changed = markers.clone();
            let other = Marker { attempt: AttemptId { epoch: Epoch(epoch), number: 1 }, ..markers[&place(0)].clone() };
            let same = other == markers[&place(0)];
            changed.insert(place(0), other);
            let changed = Manifest::new(&plan, Stage::Map, outcomes(changed)).unwrap();
            prop_assert_eq!(changed.digest() == manifest.digest(), same);
        }
    }

    #[test]
    fn a_stage_with_a_task_uncommitted_is_not_sealed() {
        let missing = Manifest::new(&plan(2, 3), Stage::Reduce, BTreeMap::new()).unwrap_err();
        assert_eq!(missing.to_string(), "reduce/0 is not committed yet");
    }
}
