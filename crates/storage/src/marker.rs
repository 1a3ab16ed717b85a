//! The commit marker. An attempt's output becomes the task's output when its marker is created, and in no
//! other way; the first marker wins and never changes (I5).

use std::collections::BTreeMap;

use futures::{TryStreamExt, stream};
use mapreduce_core::{AttemptId, Incarnation, JobId, Persisted, Stage, TaskId};
use serde::{Deserialize, Serialize};

use crate::{Created, FileRef, ManifestEntry, StorageError, Store, create, object, paths};

/// `commits/<stage>/<task>`: which attempt finished the task, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The task.
    pub task: TaskId,
    /// The attempt that finished it.
    pub attempt: AttemptId,
    /// Where it ran.
    pub worker: Incarnation,
    /// What it wrote: durable, read back, and never changed (I4). The bytes of a small file are here.
    pub files: Vec<FileRef>,
    /// For a reduce task the digest of the map stage's manifest, of which alone it is the outcome (I8).
    pub input_manifest: Option<String>,
    /// Records read: of the split, or pairs of the partition.
    pub records_in: u64,
    /// Pairs written.
    pub records_out: u64,
    /// What user code counted, by name. Only what winners counted counts, so counters are exact.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, i64>,
    /// When the attempt started, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// When it was ready to commit, in milliseconds since 1970.
    pub ended_at_ms: u64,
}

impl Persisted for Marker {
    const KIND: &'static str = "marker";
    const VERSION: u32 = 2;
}

/// The counters of all these markers, added up.
pub fn counters<'a>(markers: impl IntoIterator<Item = &'a Marker>) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for (name, n) in markers.into_iter().flat_map(|marker| &marker.counters) {
        let sum: &mut i64 = sums.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*n);
    }
    sums
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// This marker is the task's.
    Won,
    /// Another attempt was first, with this marker. Delete your own data.
    Lost(Box<Marker>),
}

/// Makes `marker` the task's, unless it has one. On an error the marker may still appear later, so the
/// attempt's data must stay.
pub async fn commit(store: &Store, job: JobId, marker: &Marker) -> Result<Commit, StorageError> {
    let path = paths::marker(job, marker.task);
    let Created::Other(bytes) = create(store, &path, marker).await? else { return Ok(Commit::Won) };
    let winner = Marker::decode(&bytes).map_err(|error| StorageError::damaged(&path, error))?;
    if winner.attempt == marker.attempt {
        // Not "lost": the loser would delete the files that the winner's marker names.
        let why =
            format!("attempt {} of {} committed twice, with different outcomes", marker.attempt, marker.task);
        return Err(StorageError::damaged(&path, why));
    }
    Ok(Commit::Lost(Box::new(winner)))
}

/// The task's marker, if it is committed.
pub async fn marker(store: &Store, job: JobId, task: TaskId) -> Result<Option<Marker>, StorageError> {
    let path = paths::marker(job, task);
    match object::read(store, &path).await? {
        Some(Marker { task: found, .. }) if found != task => {
            Err(StorageError::damaged(&path, format!("it is the marker of {found}")))
        }
        marker => Ok(marker),
    }
}

/// The markers of all committed tasks of a stage.
pub async fn markers(
    store: &Store,
    job: JobId,
    stage: Stage,
) -> Result<BTreeMap<TaskId, Marker>, StorageError> {
    let place = |marker: &Marker| paths::marker(job, marker.task);
    let markers = object::read_all(store, &paths::markers_dir(job, stage), place).await?;
    Ok(markers.into_iter().map(|marker| (marker.task, marker)).collect())
}

/// The winners of a stage's committed tasks. Those of `known` are taken for what they are, since a marker never changes
/// (I5): if they have a marker it is not read again, which would take a new owner long when nearly all is done.
pub async fn winners(
    store: &Store,
    job: JobId,
    stage: Stage,
    mut known: BTreeMap<TaskId, AttemptId>,
) -> Result<BTreeMap<TaskId, AttemptId>, StorageError> {
    let mut winners = BTreeMap::new();
    let mut unknown = Vec::new();
    let dir = paths::markers_dir(job, stage);
    let mut markers = object::list(store, &dir);
    while let Some(path) = markers.try_next().await? {
        match paths::marked_task(&path).and_then(|task| known.remove_entry(&task)) {
            Some((task, attempt)) => {
                winners.insert(task, attempt);
            }
            None => unknown.push(Ok(path)),
        }
    }
    let place = |marker: &Marker| paths::marker(job, marker.task);
    let take = |marker: Marker| {
        winners.insert(marker.task, marker.attempt);
    };
    object::read_each(store, stream::iter(unknown), place, take).await?;
    Ok(winners)
}

/// What the committed tasks of a stage made, as the stage's manifest tells it.
pub async fn outcomes(
    store: &Store,
    job: JobId,
    stage: Stage,
) -> Result<BTreeMap<TaskId, ManifestEntry>, StorageError> {
    let mut outcomes = BTreeMap::new();
    let dir = paths::markers_dir(job, stage);
    let place = |marker: &Marker| paths::marker(job, marker.task);
    let take = |marker: Marker| {
        outcomes.insert(marker.task, marker.into());
    };
    object::read_each(store, object::list(store, &dir), place, take).await?;
    Ok(outcomes)
}

#[cfg(test)]
pub(crate) mod tests {
    use mapreduce_core::{Content, Epoch, Role};
    use proptest::prelude::*;

    use super::*;

    fn task() -> impl Strategy<Value = TaskId> {
        (any::<bool>(), any::<u32>())
            .prop_map(|(map, index)| TaskId { stage: if map { Stage::Map } else { Stage::Reduce }, index })
    }

    fn file() -> impl Strategy<Value = FileRef> {
        let content = proptest::option::of(any::<Vec<u8>>().prop_map(Content));
        (".{0,20}", any::<u64>(), any::<u32>(), content).prop_map(|(path, length, crc32c, content)| FileRef {
            path,
            length,
            crc32c,
            content,
        })
    }

    pub(crate) fn marker() -> impl Strategy<Value = Marker> {
        let outcome = (prop::collection::vec(file(), 0..3), proptest::option::of("[0-9a-f]{64}"));
        let numbers: [_; 4] = std::array::from_fn(|_| any::<u64>());
        (task(), any::<(u64, u32, u64)>(), outcome, numbers).prop_map(
            |(
                task,
                (epoch, number, worker),
                (files, input_manifest),
                [records_in, records_out, started_at_ms, ended_at_ms],
            )| {
                Marker {
                    task,
                    attempt: AttemptId { epoch: Epoch(epoch), number },
                    worker: Incarnation::new(Role::Worker, worker),
                    files,
                    input_manifest,
                    records_in,
                    records_out,
                    counters: [("n".to_owned(), records_in as i64)].into(),
                    started_at_ms,
                    ended_at_ms,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip(marker in marker()) {
            prop_assert_eq!(Marker::decode(&marker.encode()), Ok(marker));
        }

        #[test]
        fn any_flipped_bit_or_missing_end_is_noticed(marker in marker(), at: prop::sample::Index, bit in 0..8u8) {
            let mut bytes = marker.encode();
            let at = at.index(bytes.len());
            prop_assert!(Marker::decode(&bytes[..at]).is_err());
            bytes[at] ^= 1u8 << bit;
            prop_assert!(Marker::decode(&bytes).is_err());
        }
    }
}
