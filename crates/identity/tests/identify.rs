//! Coordination and storage find out whether they belong together, whoever comes first and wherever somebody died.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::Arc;

use mapreduce_coordination::{
    Coordinator,
    memory::MemoryStore,
    records::{self, ClusterRecord},
};
use mapreduce_core::{Incarnation, Role};
use mapreduce_identity::{IdentityError, Stores, identify, public_url};
use mapreduce_storage::{Store, claim, delete_claim, open};

const COORDINATION: &str = "zookeeper://zk1:2181/here?auth=/home/ada/auth";
const STORAGE: &str = "hdfs://namenode:8020/here/";

fn new_coordinator() -> Arc<dyn Coordinator> {
    MemoryStore::default().open(Some(Incarnation::new(Role::Master, 1))).unwrap()
}

fn new() -> (Arc<dyn Coordinator>, Store) {
    (new_coordinator(), open("memory:///").unwrap())
}

async fn at(
    coordinator: &Arc<dyn Coordinator>,
    coordination: &str,
    store: &Store,
    storage: &str,
) -> Result<ClusterRecord, IdentityError> {
    identify(Stores { coordinator: &**coordinator, coordination, store, storage }).await
}

#[tokio::test]
async fn whoever_comes_later_is_of_the_same_cluster() {
    let (coordinator, store) = new();
    let first = at(&coordinator, COORDINATION, &store, STORAGE).await.unwrap();
    let later = at(&coordinator, "zookeeper://zk2:2181/here", &store, "hdfs://namenode:8020/here").await;
    assert_eq!(later.unwrap(), first);
    assert_eq!(claim(&store).await.unwrap().unwrap().cluster, first.id);
    let (other_coordinator, other_store) = new();
    assert_ne!(at(&other_coordinator, COORDINATION, &other_store, STORAGE).await.unwrap().id, first.id);
}

#[tokio::test]
async fn nothing_of_one_process_alone_is_written_down() {
    let (coordinator, store) = new();
    let record = at(&coordinator, COORDINATION, &store, "file:///data?sync=no").await.unwrap();
    assert_eq!(record.storage, "file:///data");
    let s3 = "s3://bucket/mr?auth=/home/ada/key&endpoint=https://host:1";
    assert_eq!(public_url(s3), "s3://bucket/mr?endpoint=https://host:1");
    let coordination = claim(&store).await.unwrap().unwrap().coordination;
    assert_eq!(coordination, "zookeeper://zk1:2181/here");
}

#[tokio::test]
async fn many_at_once_are_one_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let coordination = format!("sqlite://{}", directory.path().display());
    let storage = format!("file://{}/storage", directory.path().display());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (coordination, storage) = (coordination.clone(), storage.clone());
            tokio::spawn(async move {
                let coordinator = mapreduce_coordination::open(&coordination, None).await.unwrap();
                at(&coordinator, &coordination, &open(&storage).unwrap(), &storage).await.unwrap()
            })
        })
        .collect();
    let mut records = Vec::new();
    for task in tasks {
        records.push(task.await.unwrap());
    }
    assert!(records.iter().all(|record| *record == records[0]), "{records:?}");
}

#[tokio::test]
async fn the_storage_of_another_cluster_is_refused() {
    let (coordinator, store) = new();
    let first = at(&coordinator, COORDINATION, &store, STORAGE).await.unwrap();
    let stranger = new_coordinator();
    let refused = at(&stranger, "sqlite:///mine", &store, STORAGE).await.unwrap_err().to_string();
    for part in
        [first.id.as_str(), "zookeeper://zk1:2181/here", "sqlite:///mine", "hdfs://namenode:8020/here"]
    {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(records::cluster(&*stranger).await.unwrap().is_none(), "a wrong path is forgotten");

    // The same with a cluster of its own.
    at(&stranger, "sqlite:///mine", &open("memory:///").unwrap(), "memory:///").await.unwrap();
    let refused = at(&stranger, "sqlite:///mine", &store, STORAGE).await.unwrap_err();
    assert!(
        matches!(&refused, IdentityError::StorageTaken { cluster, .. } if *cluster == first.id),
        "{refused}"
    );
}

#[tokio::test]
async fn a_cluster_has_one_storage() {
    let (coordinator, store) = new();
    let first = at(&coordinator, COORDINATION, &store, STORAGE).await.unwrap();
    let empty = open("memory:///").unwrap();
    let refused = at(&coordinator, COORDINATION, &empty, "file:///elsewhere").await.unwrap_err().to_string();
    for part in [first.id.as_str(), "zookeeper://zk1:2181/here", STORAGE, "file:///elsewhere"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(claim(&empty).await.unwrap().is_none(), "a wrong path is left alone");
}

#[tokio::test]
async fn who_died_in_between_is_made_up_for() {
    let (coordinator, store) = new();
    let first = at(&coordinator, COORDINATION, &store, STORAGE).await.unwrap();
    delete_claim(&store).await.unwrap();
    assert_eq!(at(&coordinator, COORDINATION, &store, STORAGE).await.unwrap(), first);
    assert_eq!(claim(&store).await.unwrap().unwrap().cluster, first.id);
}

#[tokio::test]
async fn a_storage_that_was_moved_is_known_again() {
    let (coordinator, store) = new();
    let first = at(&coordinator, COORDINATION, &store, STORAGE).await.unwrap();
    let moved = at(&coordinator, COORDINATION, &store, "file:///moved").await.unwrap();
    assert_eq!(moved, ClusterRecord { storage: "file:///moved".to_owned(), ..first });
    assert_eq!(records::cluster(&*coordinator).await.unwrap().unwrap().0, moved);
}
