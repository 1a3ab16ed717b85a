//! What every store must do, run against each kind of store.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    os::unix::fs::PermissionsExt,
    sync::LazyLock,
};

use bytes::Bytes;
use common::*;
use futures::{StreamExt, future::join_all, stream};
use mapreduce_servers::{
    ceph::{BUCKET, Ceph},
    hdfs::Servers,
};

use mapreduce_core::{Audit, Persisted, Stage};
use mapreduce_storage::{
    Commit, Created, LocalCopyError, Marker, StorageError, Store, audit, commit, copy_locally, create,
    delete_attempt, delete_job, failures, history as read_history, make_job_dirs, marker as read_marker,
    markers, open, outcomes, paths, probe, put_file, read, read_range,
    splits::{SplitSize, SplitWriter, read_split, upload},
    view::tree,
    winners,
};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

/// Two DataNodes, and files with two copies. They end with this process.
static HDFS: LazyLock<Servers> = LazyLock::new(|| Servers::start(2, 2));

/// It ends with this process.
static CEPH: LazyLock<Ceph> = LazyLock::new(Ceph::start);

/// Runs one test against a store in memory, one in a directory, the same without syncs, one in HDFS and one in S3.
macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod memory {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::open("memory:///").unwrap()).await;
            }
        )*}
        mod file {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("file://{}/storage", directory.path().display());
                super::$test(super::open(&url).unwrap()).await;
            }
        )*}
        mod unsynced {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("file://{}/storage?sync=no", directory.path().display());
                super::$test(super::open(&url).unwrap()).await;
            }
        )*}
        mod s3 {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let url = super::CEPH.url(super::BUCKET, concat!("tests/", stringify!($test)));
                super::$test(super::open(&url).unwrap()).await;
            }
        )*}
        mod hdfs {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let url = super::HDFS.url(concat!("/tests/", stringify!($test)));
                super::$test(super::open(&url).unwrap()).await;
            }
        )*}
    };
}

conformance!(
    a_store_that_keeps_the_rules_passes_the_probe,
    one_of_64_contenders_creates,
    equal_contenders_all_see_it_made,
    the_first_commit_wins_for_good,
    files_read_back_and_overwrite_what_a_dead_attempt_left,
    ranges_are_exact_or_an_error,
    absent_is_none_and_damaged_is_an_error_that_names_the_object,
    a_record_in_another_records_place_is_damage,
    a_winner_that_is_known_counts_by_its_markers_name,
    listings_are_complete_and_in_order,
    splits_are_read_as_they_were_written,
    a_local_copy_is_whole_or_not_there,
    deleting_an_attempt_leaves_the_others_and_deleting_a_job_leaves_nothing,
);

#[tokio::test(flavor = "multi_thread")]
async fn of_a_job_in_a_directory_no_directory_is_left() {
    for query in ["", "?sync=no"] {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file://{}{query}", directory.path().display());
        let store = open(&url).unwrap();
        make_job_dirs(&url, JOB).unwrap();
        create(&store, &paths::marker(JOB, map(0)), &marker(map(0), attempt(1, 1))).await.unwrap();
        assert!(directory.path().join(paths::job_dir(JOB).as_ref()).exists());
        delete_job(&store, JOB).await.unwrap();
        assert!(!directory.path().join(paths::job_dir(JOB).as_ref()).exists(), "{query}");
    }
}

async fn a_store_that_keeps_the_rules_passes_the_probe(store: Store) {
    // What another one left that was cut short goes, too.
    store.put(&Path::from("probe/old"), "0".into()).await.unwrap();
    probe(&store).await.unwrap();
    assert_eq!(tree(&store, "").await.unwrap(), []);
}

async fn one_of_64_contenders_creates(store: Store) {
    let path = paths::marker(JOB, map(0));
    for round in 0..8 {
        let path = path.clone().join(format!("round{round}"));
        let contend = |n: u32| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move { create(&store, &path, &marker(map(0), attempt(1, n))).await.unwrap() })
        };
        let outcomes: Vec<Created> =
            join_all((1..=64).map(contend)).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<u32> =
            (1..=64).zip(&outcomes).filter(|(_, made)| **made == Created::New).map(|(n, _)| n).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let bytes = Bytes::from(marker(map(0), attempt(1, winners[0])).encode());
        let lost = outcomes.iter().filter(|made| **made == Created::Other(bytes.clone())).count();
        assert_eq!(lost, 63);
    }
}

async fn equal_contenders_all_see_it_made(store: Store) {
    let path = paths::marker(JOB, map(0));
    let record = marker(map(0), attempt(1, 1));
    let outcomes = join_all((0..64).map(|_| create(&store, &path, &record))).await;
    let new = outcomes.iter().filter(|made| matches!(made, Ok(Created::New))).count();
    let same = outcomes.iter().filter(|made| matches!(made, Ok(Created::Same))).count();
    assert_eq!((new, same), (1, 63));
}

async fn the_first_commit_wins_for_good(store: Store) {
    let (first, second) = (marker(map(0), attempt(1, 1)), marker(map(0), attempt(1, 2)));
    assert_eq!(read_marker(&store, JOB, map(0)).await.unwrap(), None);
    assert_eq!(commit(&store, JOB, &first).await.unwrap(), Commit::Won);
    assert_eq!(commit(&store, JOB, &second).await.unwrap(), Commit::Lost(Box::new(first.clone())));
    assert_eq!(commit(&store, JOB, &first).await.unwrap(), Commit::Won);
    assert_eq!(read_marker(&store, JOB, map(0)).await.unwrap(), Some(first.clone()));
    // Never "lost": the loser deletes its files, which are the winner's here.
    let changed = Marker { ended_at_ms: 201, ..first };
    assert!(matches!(commit(&store, JOB, &changed).await, Err(StorageError::Damaged { .. })));
}

async fn files_read_back_and_overwrite_what_a_dead_attempt_left(store: Store) {
    let path = paths::attempt_output(JOB, map(0), attempt(1, 1));
    for content in ["a longer first content", "second", ""] {
        let file = put_file(&store, &path, content.into()).await.unwrap();
        assert_eq!(file.path, "attempts/map/0.1-1");
        assert_eq!((file.length, file.crc32c), (content.len() as u64, crc32c::crc32c(content.as_bytes())));
        assert_eq!(paths::in_job(JOB, &file.path), path);
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), content);
    }
}

async fn ranges_are_exact_or_an_error(store: Store) {
    let path = paths::attempt_output(JOB, map(0), attempt(1, 1));
    assert!(matches!(read_range(&store, &path, 0..1).await, Err(StorageError::NotFound { .. })));
    put_file(&store, &path, "0123456789".into()).await.unwrap();
    assert_eq!(read_range(&store, &path, 2..5).await.unwrap(), "234");
    assert_eq!(read_range(&store, &path, 0..10).await.unwrap(), "0123456789");
    assert_eq!(read_range(&store, &path, 10..10).await.unwrap(), "");
    for range in [5..11, 10..11, 100..200] {
        let error = read_range(&store, &path, range).await.unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    }
}

async fn absent_is_none_and_damaged_is_an_error_that_names_the_object(store: Store) {
    let path = paths::marker(JOB, map(0));
    assert_eq!(read::<Marker>(&store, &path).await.unwrap(), None);
    let mut bytes = marker(map(0), attempt(1, 1)).encode();
    *bytes.last_mut().unwrap() ^= 1;
    store.put(&path, bytes.into()).await.unwrap();
    for error in [
        read_marker(&store, JOB, map(0)).await.unwrap_err(),
        markers(&store, JOB, Stage::Map).await.unwrap_err(),
        commit(&store, JOB, &marker(map(0), attempt(1, 2))).await.unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("jobs/job_7/commits/map/0"), "{error}");
    }
}

async fn a_record_in_another_records_place_is_damage(store: Store) {
    let stray = marker(map(1), attempt(1, 1));
    create(&store, &paths::marker(JOB, map(0)), &stray).await.unwrap();
    assert!(matches!(read_marker(&store, JOB, map(0)).await, Err(StorageError::Damaged { .. })));
    assert!(matches!(markers(&store, JOB, Stage::Map).await, Err(StorageError::Damaged { .. })));
}

async fn a_winner_that_is_known_counts_by_its_markers_name(store: Store) {
    let won = |n: u32| (map(n), attempt(n.into(), 1));
    for n in [1, 2] {
        commit(&store, JOB, &marker(map(n), attempt(n.into(), 1))).await.unwrap();
    }
    // It is not read, or this would be damage.
    store.put(&paths::marker(JOB, map(3)), "garbage".into()).await.unwrap();
    let known = BTreeMap::from([won(1), won(3), won(4)]);
    let found = winners(&store, JOB, Stage::Map, known).await.unwrap();
    assert_eq!(found, BTreeMap::from([won(1), won(2), won(3)]), "none without a marker");
    assert_eq!(winners(&store, JOB, Stage::Reduce, BTreeMap::from([won(1)])).await.unwrap(), BTreeMap::new());
    let unread = winners(&store, JOB, Stage::Map, BTreeMap::from([won(1)])).await;
    assert!(matches!(unread, Err(StorageError::Damaged { .. })));
}

async fn listings_are_complete_and_in_order(store: Store) {
    assert!(markers(&store, JOB, Stage::Map).await.unwrap().is_empty());
    assert!(read_history(&store, JOB).await.unwrap().is_empty());
    // Several at a time, because some stores take their time for each.
    let write = |n: u32| {
        let store = &store;
        async move {
            commit(store, JOB, &marker(map(n), attempt(1, 1))).await.unwrap();
            let path = paths::history(JOB, history(1, 0, vec![]).epoch, n.into());
            create(store, &path, &history(1, n.into(), vec![])).await.unwrap();
        }
    };
    stream::iter(0..150).for_each_concurrent(16, write).await;
    commit(&store, JOB, &marker(reduce(3), attempt(1, 1))).await.unwrap();
    let late = history(2, 0, vec![launched(map(1), attempt(2, 1), worker(1))]);
    create(&store, &paths::history(JOB, late.epoch, 0), &late).await.unwrap();
    for (task, attempt) in [(map(2), attempt(2, 1)), (map(2), attempt(1, 10)), (map(2), attempt(1, 9))] {
        let path = paths::failure(JOB, task, attempt);
        create(&store, &path, &failure(task, attempt)).await.unwrap();
    }

    let found = markers(&store, JOB, Stage::Map).await.unwrap();
    assert!(found.keys().copied().eq((0..150).map(map)));
    assert!(markers(&store, JOB, Stage::Reduce).await.unwrap().keys().eq([&reduce(3)]));
    let outcomes = outcomes(&store, JOB, Stage::Map).await.unwrap();
    assert!(outcomes.into_iter().eq(found.into_iter().map(|(task, marker)| (task, marker.into()))));
    let found = read_history(&store, JOB).await.unwrap();
    assert!(found[..150].iter().map(|h| h.sequence).eq(0..150));
    assert_eq!(found[150], late);
    assert_eq!(audit(&store, JOB).await.unwrap(), found.iter().collect::<Audit>());
    let found = failures(&store, JOB).await.unwrap();
    let attempts: Vec<_> = found[&map(2)].iter().map(|failure| failure.attempt).collect();
    assert_eq!(attempts, [attempt(1, 9), attempt(1, 10), attempt(2, 1)]);

    let entries = tree(&store, "/jobs/").await.unwrap();
    assert_eq!(entries.len(), 150 + 1 + 151 + 3);
    assert!(entries.is_sorted_by_key(|entry| entry.path.clone()));
    let size = marker(map(0), attempt(1, 1)).encode().len() as u64;
    assert!(entries.iter().any(|e| e.path == "jobs/job_7/commits/map/0" && e.size == size));
    assert_eq!(tree(&store, "").await.unwrap(), entries);
    assert_eq!(tree(&store, "nothing/here").await.unwrap(), []);
}

async fn splits_are_read_as_they_were_written(store: Store) {
    let records: Vec<String> = (0..1000).map(|n| format!("record {n}")).collect();
    let mut writer = SplitWriter::new(0, SplitSize::Unknown);
    for record in &records {
        if let Some(object) = writer.push(record.as_bytes()) {
            upload(&store, JOB, object).await.unwrap();
        }
    }
    let (last, splits) = writer.finish();
    upload(&store, JOB, last.unwrap()).await.unwrap();
    let mut found = Vec::new();
    for split in &splits {
        let records = read_split(&store, JOB, split, &BTreeMap::new()).await.unwrap();
        found.extend(records.iter().map(|record| String::from_utf8(record.to_vec()).unwrap()));
    }
    assert_eq!(found, records);

    let path = paths::input(JOB, 0, 0);
    let content = store.get(&path).await.unwrap().bytes().await.unwrap();
    let mut flipped = content.to_vec();
    flipped[splits[3].offset as usize + 17] ^= 1;
    let mut fewer = splits[3].clone();
    fewer.records += 1;
    for (content, split) in [
        (flipped.into(), &splits[3]),
        (content.slice(..content.len() - 1), &splits[splits.len() - 1]),
        (content.clone(), &fewer),
    ] {
        store.put(&path, content.into()).await.unwrap();
        let error = read_split(&store, JOB, split, &BTreeMap::new()).await.unwrap_err();
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    }
}

async fn a_local_copy_is_whole_or_not_there(store: Store) {
    let scratch = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..1_000_003u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let digest = blake3::hash(&content).to_hex().to_string();
    let (object, to) = (paths::side_input(JOB, &digest), scratch.path().join("copy"));
    let absent = copy_locally(&store, &object, &digest, &to, 0o600).await.unwrap_err();
    assert!(matches!(absent, LocalCopyError::Storage(StorageError::NotFound { .. })), "{absent}");
    store.put(&object, content[1..].to_vec().into()).await.unwrap();
    let damaged = copy_locally(&store, &object, &digest, &to, 0o600).await.unwrap_err();
    assert!(matches!(damaged, LocalCopyError::Storage(StorageError::Damaged { .. })), "{damaged}");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);

    put_file(&store, &object, content.clone().into()).await.unwrap();
    for mode in [0o600, 0o700] {
        let mut found = Vec::new();
        copy_locally(&store, &object, &digest, &to, mode).await.unwrap().read_to_end(&mut found).unwrap();
        assert_eq!((found.len(), found == content), (content.len(), true));
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, mode);
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);

    let nowhere = scratch.path().join("absent/copy");
    let refused = copy_locally(&store, &object, &digest, &nowhere, 0o600).await.unwrap_err();
    assert!(matches!(refused, LocalCopyError::Disk { .. }), "{refused}");
    assert_eq!(refused.failure_kind(), mapreduce_core::FailureKind::Storage);
}

async fn deleting_an_attempt_leaves_the_others_and_deleting_a_job_leaves_nothing(store: Store) {
    let output = |task, attempt| paths::attempt_output(JOB, task, attempt);
    store.put(&paths::spec(JOB), "spec".into()).await.unwrap();
    for path in [output(map(0), attempt(1, 1)), output(map(0), attempt(1, 2)), output(map(1), attempt(1, 1))]
    {
        put_file(&store, &path, "data".into()).await.unwrap();
    }
    let other = Path::from("jobs/job_70/spec");
    store.put(&other, "spec".into()).await.unwrap();

    delete_attempt(&store, JOB, map(0), attempt(1, 1)).await.unwrap();
    delete_attempt(&store, JOB, map(0), attempt(1, 1)).await.unwrap();
    let left: BTreeSet<String> =
        tree(&store, "jobs/job_7").await.unwrap().into_iter().map(|e| e.path).collect();
    let expected = [paths::spec(JOB), output(map(0), attempt(1, 2)), output(map(1), attempt(1, 1))];
    assert_eq!(left, expected.iter().map(ToString::to_string).collect());

    delete_job(&store, JOB).await.unwrap();
    delete_job(&store, JOB).await.unwrap();
    let left: Vec<String> = tree(&store, "").await.unwrap().into_iter().map(|e| e.path).collect();
    assert_eq!(left, [other.to_string()]);
    let directories = store.list_with_delimiter(Some(&paths::jobs_dir())).await.unwrap().common_prefixes;
    assert_eq!(directories, [Path::from("jobs/job_70")]);
}
