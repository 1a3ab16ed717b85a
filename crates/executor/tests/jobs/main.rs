//! Whole jobs through the engine, with user code in Rust: what the master does between stages is done here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, their helpers too, fail by panicking")]

mod attempts;
#[path = "../../../storage/tests/common/mod.rs"]
mod stores;

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    num::NonZeroU64,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use mapreduce_core::{
    AttemptId, CodeRef, Epoch, FailureKind, FileFormat, Incarnation, InputDescription, JobId, JobSpec,
    Partitioning, Plan, Role, Settings, Stage, SystemClock, TaskId,
};
use mapreduce_executor::{
    Assignment, Executor, Group, Outcome, Records, Resources, SideInputs, TaskError, UserCode, UserFailure,
    keys,
    map::{GroupId, MapSink, sample},
    reduce::Merge,
    results,
};
use mapreduce_storage::{
    Manifest, Store, create, marker, markers, open, outcomes, paths, put_file,
    splits::{SplitSize, SplitWriter, upload},
};
use object_store::ObjectStoreExt;
use proptest::prelude::*;
use stores::{Fault, Faulty};
use tokio::runtime::{Builder, Runtime};

const JOB: JobId = JobId(7);

/// Records are words; a pair is (the word's first byte, the word); a result is all values, joined. Values are sorted by
/// the first two bytes, if the job sorts them.
#[derive(Clone, Copy, Default)]
struct Words {
    combines: bool,
    /// After so many records of a task its pairs are piled up instead of grouped.
    piles_after: Option<usize>,
}

impl UserCode for Words {
    fn map(&mut self, records: &mut Records, sink: &mut MapSink) -> Result<(), TaskError> {
        let mut n = 0;
        while let Some(batch) = records.next_batch()? {
            for record in batch.iter() {
                n += 1;
                if record == b"bad" {
                    let mut failure = UserFailure::new(FailureKind::NotAPair, "a bad record");
                    failure.record = Some("bad".to_owned());
                    return Err(failure.into());
                }
                let mut key = key(&record[..record.len().min(1)]);
                if sink.sorts_values() {
                    keys::put_bytes(&mut key, keys::tag::BYTES, &record[..record.len().min(2)]);
                }
                let no_hint = |_: &mut Vec<u8>| Ok::<(), Infallible>(());
                if self.piles_after.is_some_and(|before| n > before) {
                    let Ok(()) = sink.pile(&key, no_hint, (1, record), None);
                } else {
                    let Ok(group) = sink.group(&key, no_hint);
                    sink.push(group, 1, record);
                }
                if sink.is_full() {
                    sink.spill(self)?;
                }
            }
        }
        Ok(())
    }

    fn combines(&self) -> bool {
        self.combines
    }

    /// Joins the words, which is what reducing does as well.
    fn combine(&mut self, group: Group, out: &mut Vec<u8>) -> Result<(), TaskError> {
        self.reduce(group, out).map(drop)
    }

    fn reduce(&mut self, mut group: Group, out: &mut Vec<u8>) -> Result<u64, TaskError> {
        while let Some(values) = group.values.next_run()? {
            out.extend_from_slice(&values.bytes);
        }
        Ok(1)
    }

    /// A line of the values for each key.
    fn write(
        &mut self,
        groups: &mut Merge,
        _: &FileFormat,
        write: &mut dyn FnMut(&[u8]) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        while let Some(group) = groups.next_group()? {
            let mut line = Vec::new();
            self.reduce(group, &mut line)?;
            write(&line)?;
        }
        Ok(())
    }
}

/// Words that are mapped in another way.
struct Mapping<F>(F);

impl<F: FnMut(&mut Records, &mut MapSink) -> Result<(), TaskError>> UserCode for Mapping<F> {
    fn map(&mut self, records: &mut Records, sink: &mut MapSink) -> Result<(), TaskError> {
        (self.0)(records, sink)
    }
    fn reduce(&mut self, group: Group, out: &mut Vec<u8>) -> Result<u64, TaskError> {
        Words::default().reduce(group, out)
    }
    fn write(
        &mut self,
        groups: &mut Merge,
        format: &FileFormat,
        write: &mut dyn FnMut(&[u8]) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        Words::default().write(groups, format, write)
    }
}

/// Words, and what is done before they are mapped.
fn after(before: impl Fn() + 'static) -> Box<dyn UserCode> {
    Box::new(Mapping(move |records: &mut Records, sink: &mut MapSink| {
        before();
        Words::default().map(records, sink)
    }))
}

struct World {
    runtime: Runtime,
    store: Store,
    plan: Plan,
}

impl World {
    /// A submitted job over `records`.
    fn new(records: &[Vec<u8>], n_partitions: u32) -> World {
        World::split(records, SplitSize::Unknown, settings(n_partitions))
    }

    fn split(records: &[Vec<u8>], size: SplitSize, settings: Settings) -> World {
        let runtime = Builder::new_current_thread().build().unwrap();
        let store = open("memory:///").unwrap();
        let mut writer = SplitWriter::new(0, size);
        let mut objects: Vec<_> = records.iter().filter_map(|record| writer.push(record)).collect();
        let (last, splits) = writer.finish();
        objects.extend(last);
        let code = b"code";
        let digest = blake3::hash(code).to_hex().to_string();
        let spec = JobSpec {
            job: JOB,
            user: "ada".to_owned(),
            code: CodeRef::Python { digest: digest.clone() },
            inputs: vec![InputDescription::Uploaded { splits }],
            side_inputs: BTreeMap::new(),
            contents: BTreeMap::new(),
            output: None,
            settings,
            submitted_at_ms: 0,
        };
        let plan = Plan::new(&spec);
        runtime.block_on(async {
            for object in objects {
                upload(&store, JOB, object).await.unwrap();
            }
            put_file(&store, &paths::code(JOB, &digest), code.as_slice().into()).await.unwrap();
            create(&store, &paths::spec(JOB), &spec).await.unwrap();
            create(&store, &paths::plan(JOB), &plan).await.unwrap();
        });
        World { runtime, store, plan }
    }

    fn executor(&self) -> Executor {
        self.executor_of(1 << 20, Words::default())
    }

    fn executor_of(&self, memory_bytes: usize, words: Words) -> Executor {
        let load = Box::new(move |_: &JobSpec, code: &[u8], _: &SideInputs| {
            assert_eq!(code, b"code");
            Ok(Box::new(words) as Box<dyn UserCode>)
        });
        let resources = resources(&self.store, memory_bytes);
        Executor::new(resources, Arc::new(SystemClock::default()), load)
    }

    fn seal(&self, stage: Stage) {
        self.runtime.block_on(async {
            let outcomes = outcomes(&self.store, JOB, stage).await.unwrap();
            let manifest = Manifest::new(&self.plan, stage, outcomes).unwrap();
            create(&self.store, &paths::manifest(JOB, stage), &manifest).await.unwrap();
        });
    }

    fn run(&self, executor: &mut Executor) {
        for stage in [Stage::Map, Stage::Reduce] {
            for task in self.plan.tasks(stage) {
                assert_eq!(executor.run_task(&assignment(task, 1)), Outcome::Committed);
            }
            self.seal(stage);
        }
    }

    fn result(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut merge = results::merge(&resources(&self.store, 1 << 20), JOB).unwrap();
        std::iter::from_fn(|| merge.next_group().unwrap())
            .map(|mut group| (group.key.to_vec(), group.values.collect().unwrap()[0].bytes.to_vec()))
            .collect()
    }

    /// What all tasks of a stage read.
    fn records_in(&self, stage: Stage) -> u64 {
        let markers = self.runtime.block_on(markers(&self.store, JOB, stage)).unwrap();
        markers.values().map(|marker| marker.records_in).sum()
    }

    fn exists(&self, path: &object_store::path::Path) -> bool {
        self.runtime.block_on(self.store.head(path)).is_ok()
    }
}

fn settings(n_partitions: u32) -> Settings {
    Settings { n_partitions: Some(n_partitions), ..Settings::default() }
}

fn resources(store: &Store, memory_bytes: usize) -> Resources {
    Resources::local(store.clone(), memory_bytes, std::env::temp_dir())
}

fn assignment(task: TaskId, number: u32) -> Assignment {
    let attempt = AttemptId { epoch: Epoch(1), number };
    Assignment { job: JOB, task, attempt, worker: Incarnation::new(Role::Worker, 1) }
}

const MAP: TaskId = TaskId { stage: Stage::Map, index: 0 };
const REDUCE: TaskId = TaskId { stage: Stage::Reduce, index: 0 };

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Words that don't compress, too many for a marker to hold them.
fn many() -> Vec<Vec<u8>> {
    let random = |n: u64| blake3::hash(&n.to_le_bytes()).to_hex().to_string();
    (0..40)
        .map(|n| format!("a{}", (0..16).map(|m| random(16 * n + m)).collect::<String>()).into_bytes())
        .collect()
}

fn failure(outcome: Outcome) -> mapreduce_core::Failure {
    match outcome {
        Outcome::Failed(failure) => *failure,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_job_gives_what_a_loop_gives(records in prop::collection::vec("[a-e][A-Z]{0,5}", 0..60), n_partitions in 1..6u32) {
        let records: Vec<Vec<u8>> = records.into_iter().map(String::into_bytes).collect();
        let world = World::new(&records, n_partitions);
        world.run(&mut world.executor());
        prop_assert_eq!(world.result(), reference(&records));
    }

    #[test]
    fn neither_memory_nor_a_combiner_nor_piling_up_changes_the_result(
        records in prop::collection::vec("[a-e][A-Z]{0,5}", 0..200),
        n_partitions in 1..4u32,
        memory_bytes in prop_oneof![Just(1usize), 100..3000usize, Just(1 << 20)],
        combines: bool,
        piles_after in proptest::option::of(0..70usize),
    ) {
        let records: Vec<Vec<u8>> = records.into_iter().map(String::into_bytes).collect();
        let size = SplitSize::Exactly(NonZeroU64::new(70).unwrap());
        let world = World::split(&records, size, settings(n_partitions));
        world.run(&mut world.executor_of(memory_bytes, Words { combines, piles_after }));
        prop_assert_eq!(world.result(), reference(&records));
    }

    /// Whatever the memory and the partitions; equal values in the order of the input.
    #[test]
    fn values_are_sorted_within_their_key(
        records in prop::collection::vec("[a-d\0]?[A-C\0]{0,3}", 0..200),
        n_partitions in 1..4u32,
        boundaries in prop::option::of(prop::collection::btree_set("[a-d]", 0..3)),
        memory_bytes in prop_oneof![Just(1usize), 100..3000usize, Just(1 << 20)],
        piles_after in prop::option::of(0..70usize),
    ) {
        let mut records: Vec<Vec<u8>> = records.into_iter().map(String::into_bytes).collect();
        let mut settings = Settings { sort_values: true, ..settings(n_partitions) };
        if let Some(boundaries) = boundaries {
            let boundaries = boundaries.iter().map(|boundary| key(boundary.as_bytes())).collect();
            settings.partitioning = Partitioning::Range { boundaries };
        }
        let size = SplitSize::Exactly(NonZeroU64::new(70).unwrap());
        let world = World::split(&records, size, settings);
        world.run(&mut world.executor_of(memory_bytes, Words { combines: false, piles_after }));
        let n_read = records.len() as u64;
        records.sort_by_key(|record| record[..record.len().min(2)].to_vec());
        prop_assert_eq!(world.result(), reference(&records));
        prop_assert_eq!(world.records_in(Stage::Reduce), n_read);
    }
}

fn key(bytes: &[u8]) -> Vec<u8> {
    let mut key = Vec::new();
    keys::put_bytes(&mut key, keys::tag::BYTES, bytes);
    key
}

#[test]
fn values_are_not_both_sorted_and_combined() {
    let settings = Settings { sort_values: true, ..settings(1) };
    let world = World::split(&words(&["ab"]), SplitSize::Unknown, settings);
    let mut executor = world.executor_of(1 << 20, Words { combines: true, piles_after: None });
    let failed = failure(executor.run_task(&assignment(MAP, 1)));
    assert_eq!(failed.what, FailureKind::BadCode);
    assert!(failed.message.contains("combined before"), "{}", failed.message);
}

fn reference(records: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for record in records {
        expected.entry(key(&record[..record.len().min(1)])).or_default().extend_from_slice(record);
    }
    expected.into_iter().collect()
}

/// One key with more values than a chunk, a block, and the memory hold, spilled, merged and read as a stream.
#[test]
fn a_group_may_be_larger_than_memory() {
    let records: Vec<Vec<u8>> =
        (0..40_000).map(|n| format!("a{n:06}{}", "X".repeat(40)).into_bytes()).collect();
    for (memory_bytes, combines) in [(100_000, false), (5_000, true)] {
        let world = World::split(&records, SplitSize::Exactly(NonZeroU64::new(13_000).unwrap()), settings(1));
        world.run(&mut world.executor_of(memory_bytes, Words { combines, piles_after: None }));
        assert_eq!(world.result(), reference(&records), "{memory_bytes} {combines}");
    }
}

/// Takes pairs as a face does that sometimes knows a group without looking it up, and counts those that it piles up: a
/// record is a key of nine bytes and a value.
fn recent(n_piled: Arc<AtomicUsize>) -> Box<dyn UserCode> {
    let mut groups: HashMap<Vec<u8>, GroupId> = HashMap::new();
    let mut take = move |record: &[u8], sink: &mut MapSink| {
        let (key, no_hint) = (key(&record[..9]), |_: &mut Vec<u8>| Ok::<(), Infallible>(()));
        // As if the others came with equal keys that are other objects.
        let known = groups.get(&key).filter(|_| record.ends_with(b"0"));
        if sink.wants_pile() {
            n_piled.fetch_add(1, Ordering::Relaxed);
            let Ok(()) = sink.pile(&key, no_hint, (1, record), None);
        } else if let Some(&group) = known {
            sink.push(group, 1, record);
        } else {
            let Ok(group) = sink.group(&key, no_hint);
            if record[0] == b'k' {
                groups.insert(key, group);
            }
            sink.push(group, 1, record);
        }
        if sink.is_full() {
            groups.clear();
            return sink.spill(&mut Words::default());
        }
        Ok(())
    };
    Box::new(Mapping(move |records: &mut Records, sink: &mut MapSink| {
        while let Some(batch) = records.next_batch()? {
            batch.iter().try_for_each(|record| take(record, sink))?;
        }
        Ok(())
    }))
}

/// Some keys come all the time, and are known: theirs are values in groups as well as in the pile. In the end keys repeat.
#[test]
fn values_keep_their_order_when_the_sink_begins_to_pile_up() {
    let frequent = (0..50_000).step_by(5).map(|n| format!("k{:08}{n:06}", n % 7));
    let new = (0..50_000).map(|n| format!("new{n:06}{n:06}"));
    let frequent: Vec<_> = frequent.map(String::into_bytes).collect();
    let new: Vec<_> = new.map(String::into_bytes).collect();
    let mut records: Vec<_> =
        new.chunks(5).zip(frequent).flat_map(|(new, known)| [new, &[known]].concat()).collect();
    let repeat: Vec<_> = records[..20_000].to_vec();
    records.extend(repeat);
    assert!((60_000..65_000).contains(&n_piled(&records, 64 << 20)));
    assert!((1..60_000).contains(&n_piled(&records, 4 << 20)));
}

/// There are enough of them, and most are new at first, but not when it is decided.
#[test]
fn keys_that_have_begun_to_repeat_are_not_piled_up() {
    let random = |n: u64| {
        u32::from_le_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes().first_chunk().unwrap()) % 25_000
    };
    let records: Vec<_> = (0..60_000).map(|n| format!("new{:06}{n:06}", random(n)).into_bytes()).collect();
    assert_eq!(n_piled(&records, 64 << 20), 0);
}

/// Runs a job of [`recent`], which must give what a loop gives; tells how many pairs were piled up.
fn n_piled(records: &[Vec<u8>], memory_bytes: usize) -> usize {
    let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for record in records {
        expected.entry(key(&record[..9])).or_default().extend_from_slice(record);
    }
    let world = World::split(records, SplitSize::Exactly(NonZeroU64::MAX), settings(1));
    let n_piled = Arc::new(AtomicUsize::new(0));
    let counter = n_piled.clone();
    let load = Box::new(move |_: &JobSpec, _: &[u8], _: &SideInputs| Ok(recent(counter.clone())));
    let resources = resources(&world.store, memory_bytes);
    world.run(&mut Executor::new(resources, Arc::new(SystemClock::default()), load));
    assert!(world.result() == expected.into_iter().collect::<Vec<_>>());
    n_piled.load(Ordering::Relaxed)
}

#[test]
fn a_sample_does_not_depend_on_the_memory_nor_on_piling_up() {
    let records: Vec<_> = (b'a'..=b'z').rev().flat_map(|first| vec![vec![first, b'x']; 3]).collect();
    let world = World::split(&records, SplitSize::Exactly(NonZeroU64::MAX), settings(1));
    let spec = world.runtime.block_on(mapreduce_storage::read(&world.store, &paths::spec(JOB)));
    let spec: JobSpec = spec.unwrap().unwrap();
    let expected = Partitioning::Range { boundaries: [b"g", b"n", b"t"].map(|first| key(first)).to_vec() };
    for memory_bytes in [1, 600, 1 << 20] {
        for piles_after in [None, Some(0), Some(20)] {
            let mut code = Words { combines: false, piles_after };
            let resources = resources(&world.store, memory_bytes);
            let found = sample(&mut code, (JOB, &spec.inputs, &spec.contents), 4, &resources).unwrap();
            assert_eq!(found, expected, "{memory_bytes} {piles_after:?}");
        }
    }
}
