//! The file format, written and read back, whole and damaged.

use std::collections::BTreeMap;

use bytes::Bytes;
use mapreduce_core::{AttemptId, Epoch, JobId, Stage, TaskId};
use mapreduce_storage::{FileRef, paths, put_file};
use object_store::ObjectStoreExt;
use proptest::prelude::*;

use super::*;
use crate::{Resources, TaskError, Values, reduce::Merge};

/// Small parts, so that most partitions take several reads.
const PART_BYTES: u64 = 1000;

const JOB: JobId = JobId(1);

/// By key: the hint, the count and the values.
type Partition = BTreeMap<Vec<u8>, (Vec<u8>, u64, Vec<u8>)>;

fn partitions() -> impl Strategy<Value = Vec<Partition>> {
    let short = || prop::collection::vec(any::<u8>(), 0..6);
    // Some that other inputs have, too, and some whose first eight bytes are the largest number.
    let key = || prop_oneof![2 => short(), 1 => (0..10usize).prop_map(|n| vec![0xff; n])];
    // Long and random enough that some entries span blocks, and some files are longer than one read.
    let values =
        prop_oneof![8 => short(), 1 => (any::<u64>(), 0..700_000usize).prop_map(|(seed, n)| noise(seed, n))];
    prop::collection::vec(
        prop::collection::btree_map(key(), (short(), any::<u32>().prop_map(u64::from), values), 0..8),
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

impl Append for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> Result<(), TaskError> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

fn write(partitions: &[Partition]) -> Bytes {
    let mut file = FileWriter::new(Vec::new());
    for partition in partitions {
        for (key, (hint, count, values)) in partition {
            file.push(key, hint, *count, values).unwrap();
        }
        file.end_partition().unwrap();
    }
    file.finish().unwrap().into()
}

/// Key, hint and values.
type Entry = (Vec<u8>, Vec<u8>, Values);

fn entry(key: &[u8], (hint, count, values): &(Vec<u8>, u64, Vec<u8>)) -> Entry {
    let values = Values { count: *count, bytes: Bytes::copy_from_slice(values) };
    (key.to_vec(), hint.clone(), values)
}

fn entries(partition: &Partition) -> Vec<Entry> {
    partition.iter().map(|(key, rest)| entry(key, rest)).collect()
}

struct Disk(Resources);

impl Disk {
    fn new() -> Disk {
        Disk::of_memory(1)
    }

    fn of_memory(memory_bytes: usize) -> Disk {
        Disk(Resources::open("memory:///", memory_bytes, std::env::temp_dir()).unwrap())
    }

    fn put(&self, bytes: Bytes) -> FileRef {
        let (task, attempt) =
            (TaskId { stage: Stage::Map, index: 0 }, AttemptId { epoch: Epoch(1), number: 1 });
        let path = paths::attempt_output(JOB, task, attempt);
        self.0.wait(put_file(&self.0.store, &path, bytes)).unwrap()
    }

    fn open(&self, file: &FileRef) -> Result<Vec<Entries>, TaskError> {
        Ok(self.0.wait(fetch_file(&self.0, JOB, file, PART_BYTES))?)
    }

    fn read(&self, file: &FileRef) -> Result<Vec<Vec<Entry>>, TaskError> {
        self.open(file)?.into_iter().map(drain).collect()
    }
}

fn drain(mut entries: Entries) -> Result<Vec<Entry>, TaskError> {
    let mut all = Vec::new();
    while entries.advance()? {
        all.push((entries.key().to_vec(), entries.hint().to_vec(), entries.values()));
    }
    Ok(all)
}

/// Key, hint, and all values of a key.
type Merged = (Vec<u8>, Vec<u8>, Vec<Values>);

fn merged(inputs: Vec<Entries>, disk: &Disk) -> Vec<Merged> {
    groups(Merge::new(inputs, &disk.0).unwrap())
}

fn groups(mut merge: Merge) -> Vec<Merged> {
    std::iter::from_fn(|| merge.next_group().unwrap())
        .map(|mut group| (group.key.to_vec(), group.hint.to_vec(), group.values.collect().unwrap()))
        .collect()
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
            let found = disk.0.wait(fetch_partition(&disk.0, JOB, &file, n, PART_BYTES)).unwrap();
            prop_assert_eq!(drain(found).unwrap(), entries(partition));
        }
        let beyond = partitions.len() as u32;
        prop_assert!(disk.0.wait(fetch_partition(&disk.0, JOB, &file, beyond, PART_BYTES)).is_err());
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
    fn merging_joins_the_values_of_a_key_in_the_order_of_the_inputs(
        inputs in prop::collection::vec(partitions(), 0..9),
        // For two of them at a time, so that most are merged in passes; or for all.
        memory_bytes in prop_oneof![Just(1), Just(1 << 30)],
    ) {
        let disk = Disk::of_memory(memory_bytes);
        let inputs: Vec<Partition> = inputs.into_iter().filter_map(|mut partitions| partitions.pop()).collect();
        let mut expected: BTreeMap<Vec<u8>, Merged> = BTreeMap::new();
        for (key, rest) in inputs.iter().flatten() {
            let found = entry(key, rest);
            let merged = || (key.clone(), rest.0.clone(), vec![]);
            expected.entry(key.clone()).or_insert_with(merged).2.push(found.2);
        }
        // Files of one partition each.
        let mut opened = Vec::new();
        for (n, input) in (0..).zip(&inputs) {
            let bytes = write(std::slice::from_ref(input));
            let path = paths::input(JOB, 0, n);
            let file = disk.0.wait(put_file(&disk.0.store, &path, bytes)).unwrap();
            opened.extend(disk.open(&file).unwrap());
        }
        prop_assert_eq!(merged(opened, &disk), expected.into_values().collect::<Vec<_>>());
    }
}

#[test]
fn what_nobody_reads_of_a_group_is_skipped_and_nobody_reads_it_later() {
    let disk = Disk::new();
    let mut file = FileWriter::new(Vec::new());
    for (key, values) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "4")] {
        file.push(key.as_bytes(), b"", 1, values.as_bytes()).unwrap();
    }
    file.end_partition().unwrap();
    let file = disk.put(file.finish().unwrap().into());
    let mut merge = Merge::new(disk.open(&file).unwrap(), &disk.0).unwrap();
    let mut first = merge.next_group().unwrap().unwrap();
    assert_eq!(first.values.next_run().unwrap().unwrap().bytes, "1");
    let mut second = merge.next_group().unwrap().unwrap();
    assert_eq!(first.values.next_run().unwrap(), None);
    assert_eq!((second.key.as_ref(), second.values.collect().unwrap().len()), (b"b".as_slice(), 1));
    assert!(merge.next_group().unwrap().is_none());
    assert_eq!(merge.n_values(), 4);
}

/// An open file holds a part of its content in memory.
#[test]
fn files_that_are_too_many_for_the_memory_are_merged_before_others_are_opened() {
    let disk = Disk::new();
    let partitions: Vec<Partition> = (0..5)
        .map(|n| {
            let (first, last) = (b"a".to_vec(), vec![n]);
            [(first, (vec![], 1, vec![n])), (last, (vec![n], 1, noise(n.into(), 900_000)))].into()
        })
        .collect();
    let put = |(n, partition)| {
        let bytes = write(std::slice::from_ref(partition));
        disk.0.wait(put_file(&disk.0.store, &paths::input(JOB, 0, n), bytes)).unwrap()
    };
    let files: Vec<FileRef> = (0..).zip(&partitions).map(put).collect();
    let expected = merged(files.iter().flat_map(|file| disk.open(file).unwrap()).collect(), &disk);
    // The memory is for two at a time. What has been merged before is not asked for again.
    let fetch = |file: &FileRef, part_bytes| {
        let (file, n) = (file.clone(), files.iter().position(|other| other == file).unwrap());
        let resources = disk.0.clone();
        async move {
            for before in 0..n / 2 * 2 {
                let _ = resources.store.delete(&paths::input(JOB, 0, before as u32)).await;
            }
            fetch_file(&resources, JOB, &file, part_bytes).await
        }
    };
    let merge = Merge::fetching(&files.iter().collect::<Vec<_>>(), &disk.0, fetch).unwrap();
    assert_eq!(groups(merge), expected);
}

#[test]
fn more_values_than_can_be_counted_are_noticed() {
    let disk = Disk::new();
    let mut file = FileWriter::new(Vec::new());
    for (key, count) in [(b"a", u64::MAX), (b"b", 1)] {
        file.push(key, b"", count, b"v").unwrap();
    }
    file.end_partition().unwrap();
    let file = disk.put(file.finish().unwrap().into());
    let mut merge = Merge::new(disk.open(&file).unwrap(), &disk.0).unwrap();
    assert!(merge.next_group().unwrap().is_some());
    assert_eq!(merge.n_values(), u64::MAX);
    let error = merge.next_group().unwrap_err().to_string();
    assert!(error.contains("more values than can be counted"), "{error}");
}

#[test]
fn after_the_last_entry_it_stands_at_none() {
    let disk = Disk::new();
    let file = disk.put(write(&[[(b"key".to_vec(), (vec![1], 1, vec![7]))].into()]));
    let mut entries = disk.open(&file).unwrap().pop().unwrap();
    assert!(entries.advance().unwrap() && !entries.advance().unwrap());
    let at = (entries.key(), entries.hint(), entries.values(), entries.prefix());
    assert_eq!(at, (b"".as_slice(), b"".as_slice(), Values::default(), 0));
}

#[test]
fn an_index_that_lies_is_noticed() {
    let disk = Disk::new();
    let partition: Partition = [(b"key".to_vec(), (vec![], 1, vec![7]))].into();
    let mut blocks = FileWriter::new(Vec::new());
    blocks.push(b"key", b"", 1, &[7]).unwrap();
    blocks.end_partition().unwrap();
    let whole = blocks.finish().unwrap();
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
fn keys_that_descend_are_noticed() {
    let mut file = FileWriter::new(Vec::new());
    [b"b", b"a"].iter().for_each(|key| file.push(*key, b"", 1, b"v").unwrap());
    file.end_partition().unwrap();
    let disk = Disk::new();
    let error = disk.read(&disk.put(file.finish().unwrap().into())).unwrap_err().to_string();
    assert!(error.contains("descend"), "{error}");
}

#[test]
fn an_index_of_more_partitions_than_a_job_can_have_is_damaged() {
    use mapreduce_core::REDUCE_TASKS_MAX;
    let empty = index::Place { offset: 0, length: 0, n_entries: 0 };
    for (n, is_ours) in [(REDUCE_TASKS_MAX as usize, true), (REDUCE_TASKS_MAX as usize + 1, false)] {
        let mut file = Vec::new();
        index::put_index(&mut file, &vec![empty; n]);
        let parsed = index::parse_index(&file[..file.len() - index::FOOTER_BYTES], 0);
        assert_eq!(parsed.is_ok(), is_ours);
    }
}
