//! Records in storage: specifications, plans, results, failures, histories, markers, manifests and claims; where a
//! cluster's stores are; and what people are shown of a job, which is folded from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use futures::executor::block_on;
use mapreduce::Stores;
use mapreduce_core::{
    AttemptEnd, AttemptId, ClusterId, CodeRef, Compression, Content, Epoch, Failure, FailureKind, FileFormat,
    FileRange, History, HistoryEvent, Incarnation, InputDescription, InputFile, InvalidText, JobId, JobPhase,
    JobRecord, JobResult, JobSpec, OutputDescription, Partitioning, Persisted, Plan, Role, Settings, Split,
    Stage, TaskId, invariants,
};
use mapreduce_executor::{Resources, results};
use mapreduce_storage::{Claim, FileRef, Manifest, ManifestEntry, Marker, counters, paths, view};
use object_store::ObjectStoreExt;

use crate::{
    check_error,
    checksums::{body, framed},
    seed,
};

/// The record is taken as it is, header and all.
const WHOLE: u8 = 0x80;
const JOB: JobId = JobId(7);
/// Plans of more tasks take long to look at, and are none of what is tested here.
const TASKS_LOOKED_AT: u32 = 1000;

/// Decodes a record of the chosen kind, and does with it what others do.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    match choice & !WHOLE {
        0 => {
            if let Some(spec) = decoded::<JobSpec>(choice, bytes) {
                let plan = Plan::new(&spec);
                assert_eq!(plan.n_splits as usize, spec.n_splits().min(u32::MAX as usize));
                for index in [0, plan.n_splits.saturating_sub(1), u32::MAX] {
                    let _ = InputDescription::locate(&spec.inputs, index);
                }
            }
        }
        1 => {
            let plan = decoded::<Plan>(choice, bytes);
            show(view::Facts { plan, ..view::Facts::default() });
        }
        2 => drop(decoded::<JobResult>(choice, bytes)),
        3 => {
            if let Some(failure) = decoded::<Failure>(choice, bytes) {
                let _ = (failure.what.class(false), failure.what.class(true));
                let failures = [(failure.task, vec![failure])].into();
                show(view::Facts { plan: Some(PLAN), failures, ..view::Facts::default() });
            }
        }
        4 => {
            if let Some(history) = decoded::<History>(choice, bytes) {
                let _ = invariants::history([&history]);
                let history = vec![history.clone(), history];
                show(view::Facts { plan: Some(PLAN), history, ..view::Facts::default() });
            }
        }
        5 => {
            if let Some(marker) = decoded::<Marker>(choice, bytes) {
                let _ = counters([&marker, &marker]);
                let markers: BTreeMap<_, _> = [(marker.task, marker)].into();
                let outcomes = markers.clone().into_iter().map(|(task, marker)| (task, marker.into()));
                let _ = Manifest::new(&PLAN, Stage::Map, outcomes.collect());
                show(view::Facts { plan: Some(PLAN), markers, ..view::Facts::default() });
            }
        }
        6 => {
            if let Some(manifest) = decoded::<Manifest>(choice, bytes) {
                let _ = manifest.digest();
                read_result(manifest);
            }
        }
        7 => drop(decoded::<Claim>(choice, bytes)),
        8 => drop(decoded::<Stores>(choice, bytes)),
        _ => {}
    }
}

const PLAN: Plan = Plan { n_splits: 3, n_partitions: 2 };

/// The record, which must come back the same from its own encoding.
fn decoded<T: Persisted + PartialEq + Debug>(choice: u8, bytes: &[u8]) -> Option<T> {
    let bytes = if choice & WHOLE == 0 { framed::<T>(bytes) } else { bytes.to_vec() };
    let record = T::decode(&bytes).map_err(|error| check_error(&error)).ok()?;
    assert_eq!(T::decode(&record.encode()).as_ref(), Ok(&record));
    Some(record)
}

/// The job as people see it.
fn show(facts: view::Facts) {
    if facts.plan.as_ref().is_none_or(|plan| plan.n_splits.max(plan.n_partitions) > TASKS_LOOKED_AT) {
        return;
    }
    let _ = view::attempts(&facts.history, &facts.markers, &facts.failures);
    let _ = view::job_view(job_record(), &facts, &BTreeSet::new());
}

/// The result that a manifest names. Its files are in itself, or not there.
fn read_result(manifest: Manifest) {
    let resources = Resources::open("memory:///", 1 << 20, std::env::temp_dir()).unwrap();
    let path = paths::manifest(JOB, Stage::Reduce);
    block_on(resources.store.put(&path, manifest.encode().into())).unwrap();
    let _ = results::stored_bytes(&resources, JOB).map_err(|error| check_error(&error));
    let _ = results::partition(&resources, JOB, 0).map_err(|error| check_error(&error));
    if let Ok(mut merge) = results::merge(&resources, JOB).map_err(|error| check_error(&error)) {
        while let Ok(Some(mut group)) = merge.next_group() {
            let _ = group.values.collect();
        }
    }
}

fn job_record() -> JobRecord {
    JobRecord {
        job: JOB,
        user: "ada".to_owned(),
        owner: None,
        epoch: Epoch(1),
        phase: JobPhase::Map,
        cancel: false,
        requested_n_workers: None,
        submitted_at_ms: 1,
    }
}

const TASK: TaskId = TaskId { stage: Stage::Map, index: 2 };
const ATTEMPT: AttemptId = AttemptId { epoch: Epoch(2), number: 1 };

/// Some of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = specs().iter().map(|spec| seed(0, body(&spec.encode()))).collect();
    seeds.push(seed(WHOLE, specs()[0].encode()));
    seeds.push(seed(1, body(&PLAN.encode())));
    let results = [
        JobResult::Succeeded { manifest: "ab12".to_owned() },
        JobResult::Failed { failure: Box::new(failure(FailureKind::NotAPair)) },
    ];
    seeds.extend(results.map(|result| seed(2, body(&result.encode()))));
    let kinds = [
        FailureKind::UserException { exception: "ValueError".to_owned() },
        FailureKind::ExecutorKilled { signal: 9 },
        FailureKind::TimedOut { limit_ms: 5 },
        FailureKind::Storage,
    ];
    seeds.extend(kinds.map(|kind| seed(3, body(&failure(kind).encode()))));
    seeds.push(seed(4, body(&history().encode())));
    seeds.push(seed(5, body(&marker().encode())));
    let entry = ManifestEntry { attempt: ATTEMPT, files: marker().files };
    let manifest = Manifest { stage: Stage::Reduce, entries: vec![entry.clone(), entry] };
    seeds.push(seed(6, body(&manifest.encode())));
    seeds.push(seed(WHOLE | 6, manifest.encode()));
    let claim = Claim { cluster: ClusterId::new(1), coordination: "sqlite:///here".to_owned() };
    seeds.push(seed(7, body(&claim.encode())));
    let stores = Stores { coordination: Some("sqlite:///here".to_owned()), ..Stores::default() };
    seeds.push(seed(8, body(&stores.encode())));
    seeds
}

fn specs() -> [JobSpec; 2] {
    let split = Split { object: "input/0.0".to_owned(), offset: 0, length: 9, records: 2, first_record: 0 };
    let file = InputFile {
        url: "file:///x".to_owned(),
        length: 10,
        modified_ms: 1,
        e_tag: Some("v1".to_owned()),
        compression: Compression::Gzip,
    };
    let files = |format| InputDescription::Files {
        format,
        files: vec![file.clone()],
        splits: vec![vec![FileRange { file: 0, offset: 0, length: 10 }]],
    };
    let csv = FileFormat::Csv { delimiter: b';', header: true, multiline: false };
    let first = JobSpec {
        job: JOB,
        user: "ada".to_owned(),
        code: CodeRef::Python { digest: "ab12".to_owned() },
        inputs: vec![InputDescription::Uploaded { splits: vec![split] }, files(csv)],
        side_inputs: [("stops".to_owned(), "cd34".to_owned())].into(),
        contents: [("code/ab12".to_owned(), Content(vec![1, 2, 3]))].into(),
        output: None,
        settings: Settings { n_partitions: Some(3), ..Settings::default() },
        submitted_at_ms: 1,
    };
    let boundaries = vec![vec![0x28, b'm', 0]];
    let second = JobSpec {
        code: CodeRef::Native { digest: "ef56".to_owned() },
        inputs: vec![
            InputDescription::Result { of: JobId(3), n_partitions: 4 },
            files(FileFormat::Text { invalid: InvalidText::Replace }),
            files(FileFormat::FixedLength { record_bytes: 5 }),
        ],
        output: Some(OutputDescription {
            url: "file:///out".to_owned(),
            format: FileFormat::JsonLines,
            compression: Compression::Zstd,
            overwrite: true,
            nonce: u64::MAX,
        }),
        settings: Settings {
            partitioning: Partitioning::Range { boundaries },
            task_timeout_ms: Some(1000),
            ..Settings::default()
        },
        contents: BTreeMap::new(),
        ..first.clone()
    };
    [first, second]
}

fn failure(what: FailureKind) -> Failure {
    Failure {
        task: TASK,
        attempt: ATTEMPT,
        worker: Incarnation::new(Role::Worker, 3),
        what,
        message: "it did not work".to_owned(),
        traceback: "line 1\nline 2".to_owned(),
        record: Some("'x'".to_owned()),
        pickled_exception: None,
        at_ms: 1_700_000_000_000,
    }
}

fn history() -> History {
    let (task, attempt, worker) = (TASK, ATTEMPT, Incarnation::new(Role::Worker, 3));
    let events = vec![
        HistoryEvent::Owned {
            owner: Incarnation::new(Role::Master, 4),
            read: Some(vec![(Epoch(1), 2)]),
            at_ms: 5,
        },
        HistoryEvent::Launched { task, attempt, worker: worker.clone(), at_ms: 6 },
        HistoryEvent::Adopted { task, attempt, worker, at_ms: 7 },
        HistoryEvent::Ended { task, attempt, end: AttemptEnd::Committed, at_ms: 8 },
    ];
    History { epoch: Epoch(2), sequence: 0, events }
}

fn marker() -> Marker {
    let content = crate::shuffle::small_file();
    let file = FileRef {
        path: "attempts/map/2.2-1".to_owned(),
        length: content.len() as u64,
        crc32c: crc32c::crc32c(&content),
        content: Some(Content(content)),
    };
    Marker {
        task: TASK,
        attempt: ATTEMPT,
        worker: Incarnation::new(Role::Worker, 3),
        files: vec![file],
        input_manifest: Some("ab12".to_owned()),
        records_in: 10,
        records_out: 20,
        counters: [("seen".to_owned(), -3)].into(),
        started_at_ms: 1,
        ended_at_ms: 2,
    }
}
