//! The file format, written and read back, whole and damaged.

use std::collections::BTreeMap;

use bytes::Bytes;
use mapreduce_core::{AttemptId, Epoch, JobId, Stage, TaskId};
use mapreduce_storage::{FileRef, StorageError, Store, open, paths, put_file};
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::{Group, Values, reduce::Merge};

const JOB: JobId = JobId(1);

/// By key: the hint, the count and the values.
type Partition = BTreeMap<Vec<u8>, (Vec<u8>, u64, Vec<u8>)>;

fn partitions() -> impl Strategy<Value = Vec<Partition>> {
    let short = || prop::collection::vec(any::<u8>(), 0..6);
    // Long and random enough that some entries span blocks, and some files are longer than one read.
    let values =
        prop_oneof![8 => short(), 1 => (any::<u64>(), 0..700_000usize).prop_map(|(seed, n)| noise(seed, n))];
    prop::collection::vec(
        prop::collection::btree_map(short(), (short(), any::<u32>().prop_map(u64::from), values), 0..8),
        0..5,
    )
}

fn noise(seed: u64, n: usize) -> Vec<u8> {
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 56) as u8)
    };
    std::iter::successors(Some(seed), |s| Some(s.wrapping_add(1)))
        .scan(seed, |state, _| next(state))
        .take(n)
        .collect()
}

fn write(partitions: &[Partition]) -> Bytes {
    let mut file = FileWriter::new();
    for partition in partitions {
        for (key, (hint, count, values)) in partition {
            file.push(key, hint, *count, values);
        }
        file.end_partition();
    }
    file.finish()
}

fn entry(key: &[u8], (hint, count, values): &(Vec<u8>, u64, Vec<u8>)) -> Group {
    let values = vec![Values { count: *count, bytes: Bytes::copy_from_slice(values) }];
    Group { key: Bytes::copy_from_slice(key), hint: Bytes::copy_from_slice(hint), values }
}

fn entries(partition: &Partition) -> Vec<Group> {
    partition.iter().map(|(key, rest)| entry(key, rest)).collect()
}

struct Disk {
    runtime: Runtime,
    store: Store,
}

impl Disk {
    fn new() -> Disk {
        let runtime = Builder::new_current_thread().build().unwrap();
        Disk { runtime, store: open("memory:///").unwrap() }
    }

    fn put(&self, bytes: Bytes) -> FileRef {
        let (task, attempt) =
            (TaskId { stage: Stage::Map, index: 0 }, AttemptId { epoch: Epoch(1), number: 1 });
        let path = paths::attempt_output(JOB, task, attempt);
        self.runtime.block_on(put_file(&self.store, &path, bytes)).unwrap()
    }

    fn read(&self, file: &FileRef) -> Result<Vec<Vec<Group>>, StorageError> {
        self.runtime.block_on(fetch_file(&self.store, JOB, file))?.into_iter().map(drain).collect()
    }
}

fn drain(entries: Entries) -> Result<Vec<Group>, StorageError> {
    let mut merge = Merge::new(vec![entries])?;
    std::iter::from_fn(|| merge.next_group().transpose()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn partitions_are_read_as_they_were_written(partitions in partitions()) {
        let disk = Disk::new();
        let file = disk.put(write(&partitions));
        let expected: Vec<_> = partitions.iter().map(entries).collect();
        prop_assert_eq!(disk.read(&file).unwrap(), expected);
        for (n, partition) in (0..).zip(&partitions) {
            let found = disk.runtime.block_on(fetch_partition(&disk.store, JOB, &file, n)).unwrap();
            prop_assert_eq!(drain(found).unwrap(), entries(partition));
        }
        let beyond = partitions.len() as u32;
        prop_assert!(disk.runtime.block_on(fetch_partition(&disk.store, JOB, &file, beyond)).is_err());
    }

    #[test]
    fn a_flipped_bit_or_a_missing_end_is_noticed(partitions in partitions(), at: prop::sample::Index, bit in 0..8) {
        let disk = Disk::new();
        let bytes = write(&partitions).to_vec();
        let at = at.index(bytes.len());
        prop_assert!(disk.read(&disk.put(bytes[..at].to_vec().into())).is_err());
        let mut flipped = bytes;
        flipped[at] ^= 1u8 << bit;
        prop_assert!(disk.read(&disk.put(flipped.into())).is_err());
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
        let disk = Disk::new();
        prop_assert!(disk.read(&disk.put(bytes.into())).is_err());
    }

    #[test]
    fn merging_joins_the_values_of_a_key_in_the_order_of_the_inputs(inputs in prop::collection::vec(partitions(), 0..5)) {
        let disk = Disk::new();
        let inputs: Vec<Partition> = inputs.into_iter().filter_map(|mut partitions| partitions.pop()).collect();
        let mut expected: BTreeMap<Vec<u8>, Group> = BTreeMap::new();
        for (key, rest) in inputs.iter().flatten() {
            let found = entry(key, rest);
            match expected.get_mut(key) {
                Some(group) => group.values.extend(found.values),
                None => drop(expected.insert(key.clone(), found)),
            }
        }
        let opened = inputs.iter().flat_map(|input| {
            let file = disk.put(write(std::slice::from_ref(input)));
            disk.runtime.block_on(fetch_file(&disk.store, JOB, &file)).unwrap()
        });
        let mut merge = Merge::new(opened.collect()).unwrap();
        let merged: Vec<Group> = std::iter::from_fn(|| merge.next_group().unwrap()).collect();
        prop_assert_eq!(merged, expected.into_values().collect::<Vec<_>>());
    }
}

#[test]
fn an_index_that_lies_is_noticed() {
    let disk = Disk::new();
    let partition: Partition = [(b"key".to_vec(), (vec![], 1, vec![7]))].into();
    let mut blocks = FileWriter::new();
    blocks.push(b"key", b"", 1, &[7]);
    blocks.end_partition();
    let whole = blocks.finish();
    let tail = index::tail_length(&whole[whole.len() - index::FOOTER_BYTES..]).unwrap() as usize;
    let body = &whole[..whole.len() - tail];
    let read = |places: &[(usize, u64)]| {
        let places: Vec<_> = places
            .iter()
            .map(|(length, n_entries)| index::Place {
                offset: 0,
                length: *length as u64,
                n_entries: *n_entries,
            })
            .collect();
        let mut file = body.to_vec();
        index::put_index(&mut file, &places);
        disk.read(&disk.put(file.into()))
    };
    let n = body.len();
    assert_eq!(read(&[(n, 1), (0, 0)]).unwrap(), [entries(&partition), vec![]]);
    for lie in [vec![(n, 2)], vec![(n, 0)], vec![(n - 1, 1)], vec![(n + 1, 1)], vec![(n, 1), (1, 0)], vec![]]
    {
        assert!(read(&lie).is_err(), "{lie:?}");
    }
}

#[test]
fn keys_that_do_not_ascend_are_noticed() {
    for keys in [[b"b", b"a"], [b"a", b"a"]] {
        let mut file = FileWriter::new();
        keys.iter().for_each(|key| file.push(*key, b"", 1, b"v"));
        file.end_partition();
        let disk = Disk::new();
        let error = disk.read(&disk.put(file.finish())).unwrap_err().to_string();
        assert!(error.contains("ascend"), "{error}");
    }
}
