//! S3 when its gateway fails, and what can be wrong with a URL of it, against a real Ceph.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;

use std::{net::TcpListener, sync::LazyLock, time::Duration};

use common::*;
use futures::future::join;
use mapreduce_servers::ceph::{BUCKET, Ceph};
use mapreduce_storage::{Created, StorageError, Store, create, open, paths, probe, put_file, read_bytes};
use tokio::time::sleep;

/// For what kills nothing. It ends with this process.
static CALM: LazyLock<Ceph> = LazyLock::new(Ceph::start);

/// What `call` returns when the store can be used again. Says whether it could not at first.
async fn patiently<T>(mut call: impl AsyncFnMut() -> Result<T, StorageError>) -> (T, bool) {
    let mut failed = false;
    loop {
        match call().await {
            Ok(done) => return (done, failed),
            Err(error) => assert!(matches!(error, StorageError::Unavailable { .. }), "{error}"),
        }
        failed = true;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gateway_dies_and_comes_back_each_object_has_one_creator() {
    let ceph = Ceph::start();
    let store = open(&ceph.url(BUCKET, "storage")).unwrap();
    let contend = async |store: &Store| {
        for n in 0..600 {
            let path = paths::marker(JOB, map(n));
            let (one, other) = (marker(map(n), attempt(1, 1)), marker(map(n), attempt(1, 2)));
            let one = patiently(async || create(store, &path, &one).await);
            let other = patiently(async || create(store, &path, &other).await);
            let ((one, one_failed), (other, other_failed)) = join(one, other).await;
            let won = |made: &Created| matches!(made, Created::New | Created::Same);
            assert_ne!(won(&one), won(&other), "{n}: {one:?} {other:?} {one_failed} {other_failed}");
        }
    };
    let storm = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(300)).await;
            tokio::task::block_in_place(|| {
                ceph.kill_gateway();
                ceph.launch_gateway();
            });
        }
    };
    join(contend(&store), storm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_several_parts_is_read_back() {
    let store = open(&CALM.url(BUCKET, "parts")).unwrap();
    let content = vec![7; (20 << 20) + 17];
    let file = put_file(&store, &paths::spec(JOB), content.clone().into()).await.unwrap();
    assert_eq!(file.length, content.len() as u64);
    assert_eq!(read_bytes(&store, &paths::spec(JOB)).await.unwrap().unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_bucket_or_address_is_said() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&key, "tester:a-wrong-secret").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let elsewhere = format!("s3://{BUCKET}/x?endpoint=http://{silent}&auth={}", key.path().display());
    let cases = [
        (CALM.url_with(BUCKET, "x", key.path().to_str().unwrap()), "SignatureDoesNotMatch"),
        (CALM.url("nowhere", "x"), "NoSuchBucket"),
        (elsewhere, "Connection refused"),
    ];
    for (url, why) in cases {
        let error = probe(&open(&url).unwrap()).await.unwrap_err();
        assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains(why) && !said.contains("a-wrong-secret"), "{said}");
    }
}
