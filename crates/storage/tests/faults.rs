//! Writes with unknown outcome, reads that find something else, processes that died while they wrote.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{
    Fault::{Cut, Flipped, NoRoom, Overwrites, ReplyLost, RequestLost},
    *,
};
use mapreduce_core::FailureKind;
use mapreduce_storage::{
    Commit, Created, Manifest, ManifestEntry, StorageError, commit, create, delete_attempt, delete_job,
    marker as read_marker, open, paths, probe, put_file, view,
};
use object_store::ObjectStoreExt;

#[tokio::test]
async fn a_create_whose_reply_is_lost_is_found_to_be_ours() {
    let memory = open("memory:///").unwrap();
    let ours = marker(map(0), attempt(1, 1));
    let store = Faulty::over(&memory, &[ReplyLost], &[]);
    assert_eq!(create(&store, &paths::marker(JOB, map(0)), &ours).await.unwrap(), Created::Same);
    assert_eq!(read_marker(&memory, JOB, map(0)).await.unwrap(), Some(ours));
}

/// Else a power cut could take back what was read back.
#[tokio::test]
async fn what_nobody_said_to_be_durable_is_not_relied_upon() {
    let memory = open("memory:///").unwrap();
    let (ours, path) = (marker(map(0), attempt(1, 1)), paths::marker(JOB, map(0)));
    // It is created; neither is it written once more, nor again after each look.
    let puts = [ReplyLost, RequestLost, Fault::None, RequestLost, Fault::None, RequestLost];
    let error = create(&Faulty::over(&memory, &puts, &[]), &path, &ours).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
    let store = Faulty::over(&memory, &[RequestLost, RequestLost], &[]);
    assert_eq!(create(&store, &path, &ours).await.unwrap(), Created::Same);
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_lost_if_another_was_first() {
    let memory = open("memory:///").unwrap();
    let theirs = marker(map(0), attempt(1, 1));
    commit(&memory, JOB, &theirs).await.unwrap();
    for fault in [RequestLost, ReplyLost] {
        let store = Faulty::over(&memory, &[fault], &[]);
        let outcome = commit(&store, JOB, &marker(map(0), attempt(1, 2))).await.unwrap();
        assert_eq!(outcome, Commit::Lost(Box::new(theirs.clone())));
    }
}

#[tokio::test]
async fn a_lost_create_is_tried_again_and_then_reported() {
    let memory = open("memory:///").unwrap();
    let ours = marker(map(0), attempt(1, 1));
    let store = Faulty::over(&memory, &[RequestLost, RequestLost], &[]);
    assert_eq!(commit(&store, JOB, &ours).await.unwrap(), Commit::Won);

    let store = Faulty::over(&memory, &[RequestLost; 3], &[]);
    let error = commit(&store, JOB, &marker(map(1), attempt(1, 1))).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
    assert_eq!(error.failure_kind(), FailureKind::Storage);
    assert_eq!(read_marker(&memory, JOB, map(1)).await.unwrap(), None);
}

/// Who hears that storage is full may delete what the marker names; so nothing may be left open then.
#[tokio::test]
async fn only_a_create_that_certainly_found_no_room_says_so() {
    let memory = open("memory:///").unwrap();
    let ours = marker(map(0), attempt(1, 1));
    for (faults, is_certain) in [
        ([NoRoom, NoRoom, NoRoom], true),
        ([RequestLost, NoRoom, NoRoom], false),
        ([NoRoom, RequestLost, NoRoom], false),
        ([NoRoom, NoRoom, RequestLost], false),
    ] {
        let error = commit(&Faulty::over(&memory, &faults, &[]), JOB, &ours).await.unwrap_err();
        assert_eq!(matches!(error, StorageError::Full { .. }), is_certain, "{faults:?}: {error}");
        assert_eq!(error.failure_kind(), FailureKind::Storage);
    }
    let store = Faulty::over(&memory, &[NoRoom, NoRoom], &[]);
    assert_eq!(commit(&store, JOB, &ours).await.unwrap(), Commit::Won);
}

#[tokio::test]
async fn a_create_that_can_neither_be_done_nor_looked_at_is_an_error() {
    let memory = open("memory:///").unwrap();
    let store = Faulty::over(&memory, &[ReplyLost], &[RequestLost]);
    let manifest = Manifest {
        stage: map(0).stage,
        entries: vec![ManifestEntry { attempt: attempt(1, 1), files: vec![] }],
    };
    let error = create(&store, &paths::manifest(JOB, map(0).stage), &manifest).await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn a_store_that_creates_what_is_there_already_is_refused() {
    let memory = open("memory:///").unwrap();
    let store = Faulty::over(&memory, &[Overwrites; 64], &[]);
    let error = probe(&store).await.unwrap_err();
    assert!(matches!(error, StorageError::Lawless { .. }), "{error}");
    assert!(error.to_string().contains("64 of 64 contenders"), "{error}");
    assert_eq!(view::tree(&memory, "").await.unwrap(), []);
}

#[tokio::test]
async fn a_store_that_reads_back_something_else_is_refused() {
    let memory = open("memory:///").unwrap();
    let error = probe(&Faulty::over(&memory, &[], &[Flipped])).await.unwrap_err();
    assert!(matches!(error, StorageError::Lawless { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_reads_back_differently_is_an_error() {
    let memory = open("memory:///").unwrap();
    let path = paths::attempt_output(JOB, map(0), attempt(1, 1));
    for fault in [Flipped, Cut] {
        // The length is asked for before the bytes.
        let store = Faulty::over(&memory, &[], &[Fault::None, fault]);
        let error = put_file(&store, &path, "0123456789".into()).await.unwrap_err();
        assert!(matches!(error, StorageError::Mismatch { .. }), "{error}");
        assert!(error.to_string().contains(path.as_ref()), "{error}");
    }
}

#[tokio::test]
async fn a_record_that_is_damaged_on_the_way_is_read_again() {
    let memory = open("memory:///").unwrap();
    let written = marker(map(0), attempt(1, 1));
    commit(&memory, JOB, &written).await.unwrap();
    let once = Faulty::over(&memory, &[], &[Flipped]);
    assert_eq!(read_marker(&once, JOB, map(0)).await.unwrap(), Some(written));
    let twice = Faulty::over(&memory, &[], &[Flipped, Flipped]);
    let error = read_marker(&twice, JOB, map(0)).await.unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

/// A writer that is killed leaves the hidden file it was writing: it must not be seen, be in anybody's way, or
/// outlive its job.
#[tokio::test]
async fn what_a_killed_writer_leaves_is_invisible_and_goes_with_its_job() {
    let scratch = tempfile::tempdir().unwrap();
    let store = open(&format!("file://{}", scratch.path().display())).unwrap();
    store.put(&paths::spec(JOB), "spec".into()).await.unwrap();
    let dead = paths::attempt_output(JOB, map(0), attempt(1, 1));
    let hidden = |path: &object_store::path::Path| scratch.path().join(format!("{path}#1"));
    let commits = paths::marker(JOB, map(0));
    for path in [&dead, &commits] {
        std::fs::create_dir_all(hidden(path).parent().unwrap()).unwrap();
        std::fs::write(hidden(path), "half").unwrap();
    }
    assert_eq!(read_marker(&store, JOB, map(0)).await.unwrap(), None);
    assert!(mapreduce_storage::markers(&store, JOB, map(0).stage).await.unwrap().is_empty());
    assert_eq!(commit(&store, JOB, &marker(map(0), attempt(1, 2))).await.unwrap(), Commit::Won);

    delete_attempt(&store, JOB, map(0), attempt(1, 1)).await.unwrap();
    delete_job(&store, JOB).await.unwrap();
    assert!(!scratch.path().join("jobs/job_7").exists());
}
