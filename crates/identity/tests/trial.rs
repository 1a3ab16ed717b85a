//! Stores are tried before a cluster is made in them: by one process at a time, which leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../../storage/tests/common/mod.rs"]
mod faulty;
#[path = "../../coordination/tests/support/flawed.rs"]
mod flawed;

use std::sync::Arc;

use faulty::{Fault, Faulty};
use flawed::{Flaw, Flawed};
use futures::{FutureExt, future::join_all};
use mapreduce_coordination::{Coordinator, memory::MemoryStore, records};
use mapreduce_core::{Incarnation, Role};
use mapreduce_identity::{IdentityError, Stores, identify};
use mapreduce_storage::{Store, claim, open, view::tree};
use object_store::{ObjectStoreExt, path::Path};

const COORDINATION: &str = "zookeeper://zk1:2181/here?auth=/home/ada/auth";
const STORAGE: &str = "s3://bucket/here";

fn master(n: u64) -> Incarnation {
    Incarnation::new(Role::Master, n)
}

fn stores<'a>(coordinator: &'a dyn Coordinator, store: &'a Store) -> Stores<'a> {
    Stores { coordinator, coordination: COORDINATION, store, storage: STORAGE }
}

/// Neither a cluster, nor anything of the trial, once its session is over.
async fn nothing_is_there(coordinator: Arc<dyn Coordinator>, store: &Store) {
    coordinator.close().await;
    assert_eq!(coordinator.children("").await.unwrap(), [""; 0]);
    assert_eq!(tree(store, "").await.unwrap(), []);
}

#[tokio::test]
async fn no_cluster_is_made_in_coordination_that_does_not_compare() {
    for flaw in [Flaw::CreatesWhatIsThere, Flaw::SetsAtAnyVersion, Flaw::DeletesAtAnyVersion] {
        let inner = MemoryStore::default().open(Some(master(1))).unwrap();
        let store = open("memory:///").unwrap();
        let coordinator = Flawed { inner: inner.clone(), flaw };
        let told = [
            identify(stores(&coordinator, &store)).await.unwrap_err(),
            stores(&coordinator, &store).new_id().await.unwrap_err(),
        ];
        for refused in told {
            let said = refused.to_string();
            assert!(matches!(refused, IdentityError::Lawless { .. }) && !refused.may_pass(), "{said}");
            assert!(said.starts_with("zookeeper://zk1:2181/here was tried"), "{said}");
            assert!(said.contains("use a store whose writes are compare-and-set"), "{said}");
        }
        nothing_is_there(inner, &store).await;
    }
}

#[tokio::test]
async fn no_cluster_is_made_in_storage_that_overwrites() {
    let coordinator = MemoryStore::default().open(Some(master(1))).unwrap();
    let memory = open("memory:///").unwrap();
    let store = Faulty::over(&memory, &[Fault::Overwrites; 64], &[]);
    let refused = identify(stores(&*coordinator, &store)).await.unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, IdentityError::Lawless { .. }) && !refused.may_pass(), "{said}");
    assert!(said.starts_with("s3://bucket/here was tried") && said.contains("64 of 64 contenders"), "{said}");
    nothing_is_there(coordinator, &memory).await;
}

#[tokio::test]
async fn of_many_at_once_one_tries() {
    let coordination = MemoryStore::default();
    // It takes a while, as a store in memory does not: so all are at it together.
    let directory = tempfile::tempdir().unwrap();
    let kept = open(&format!("file://{}?sync=no", directory.path().display())).unwrap();
    // The trial and the claim are as they should be. Another trial would find the store lawless.
    let puts = [[Fault::None; 65].as_slice(), &[Fault::Overwrites; 64]].concat();
    let store = Faulty::over(&kept, &puts, &[]);
    let starts = (0..8).map(|n| {
        let (coordinator, store) = (coordination.open(Some(master(n))).unwrap(), &store);
        async move { identify(stores(&*coordinator, store)).await.unwrap() }
    });
    let found = join_all(starts).await;
    assert!(found.iter().all(|record| *record == found[0]), "{found:?}");
    assert_eq!(claim(&kept).await.unwrap().unwrap().cluster, found[0].id);
    assert_eq!(coordination.open(None).unwrap().children("").await.unwrap(), ["cluster"]);
    assert_eq!(tree(&kept, "").await.unwrap().len(), 1, "the claim alone");
}

#[tokio::test]
async fn who_dies_while_it_tries_is_waited_for_and_leaves_nothing() {
    let coordination = MemoryStore::default();
    let (dead, next) =
        (coordination.open(Some(master(1))).unwrap(), coordination.open(Some(master(2))).unwrap());
    let store = open("memory:///").unwrap();
    records::begin_trial(&*dead, 1).await.unwrap().unwrap();
    store.put(&Path::from("probe/0000000000000001"), "17".into()).await.unwrap();

    let mut trial = Box::pin(identify(stores(&*next, &store)));
    assert!(trial.as_mut().now_or_never().is_none(), "it is another's turn");
    assert!(records::cluster(&*next).await.unwrap().is_none());
    coordination.end_session(&master(1));
    let made = trial.await.unwrap();
    assert_eq!(claim(&store).await.unwrap().unwrap().cluster, made.id);
    assert_eq!(tree(&store, "").await.unwrap().len(), 1, "the claim alone");
    assert_eq!(next.children("").await.unwrap(), ["cluster"]);
}

/// Others tried meanwhile, and deleted what it was looking at.
#[tokio::test]
async fn who_was_taken_for_dead_while_it_tried_accuses_nobody() {
    let inner = MemoryStore::default().open(Some(master(1))).unwrap();
    let coordinator = Flawed { inner, flaw: Flaw::EndsSessionsAtDelete };
    let store = Faulty::over(&open("memory:///").unwrap(), &[Fault::Overwrites; 64], &[]);
    let ended = identify(stores(&coordinator, &store)).await.unwrap_err();
    assert!(ended.is_session_lost(), "{ended}");
}
