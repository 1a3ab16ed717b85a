//! HDFS when its servers and the network fail, against real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod common;
#[path = "support/cutting.rs"]
mod cutting;

use std::{
    future::ready,
    net::TcpListener,
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::*;
use cutting::{Cut, Cutting};
use futures::{StreamExt, join, stream};
use hdfs_native::{ClientBuilder, HdfsError, WriteOptions};
use mapreduce_core::Persisted;
use mapreduce_servers::hdfs::{Server, Servers};
use mapreduce_storage::{
    Created, FileUpload, Marker, StorageError, Store, create, delete_job, open, paths, put_file, read,
    read_bytes, view::tree,
};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, path::Path};
use rustix::process::Signal;
use tokio::time::sleep;

/// One DataNode, for what kills nothing. They end with this process.
static CALM: LazyLock<Servers> = LazyLock::new(|| Servers::start(1, 1));
/// More than goes into one part of an upload.
const SEVERAL_PARTS: usize = (20 << 20) + 17;

/// So many bytes, others for each seed. They repeat after a length that nothing is cut by.
fn content(length: usize, seed: u32) -> Bytes {
    let block: Vec<u8> =
        (0..65_521u32).map(|n| ((n ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut content = block.repeat(length / block.len() + 1);
    content.truncate(length);
    content.into()
}

fn is_unavailable(error: &StorageError) -> bool {
    matches!(error, StorageError::Unavailable { .. })
}

/// What `call` returns when the store can be used again. Says how often it could not.
async fn patiently<T>(failures: &AtomicUsize, mut call: impl AsyncFnMut() -> Result<T, StorageError>) -> T {
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(is_unavailable(&error), "{error}"),
        }
        failures.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(100)).await;
    }
}

async fn await_some(count: &AtomicUsize, n: usize) {
    while count.load(Ordering::Relaxed) < n {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_several_parts_are_written_and_read() {
    let store = open(&CALM.url("/parts")).unwrap();
    let path = paths::attempt_output(JOB, map(0), attempt(1, 1));
    let content = content(SEVERAL_PARTS, 1);
    let mut upload = FileUpload::new(store.clone(), path.clone());
    for piece in content.chunks(1_000_003) {
        upload.write(piece).await.unwrap();
    }
    // Nobody sees a part of it.
    assert_eq!(tree(&store, "").await.unwrap(), []);
    let file = upload.finish().await.unwrap();
    assert_eq!((file.length, file.crc32c), (content.len() as u64, crc32c::crc32c(&content)));
    let range = 7_999_999..8_400_000;
    assert_eq!(store.get_range(&path, range.clone()).await.unwrap(), content[7_999_999..8_400_000]);
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), content);

    let mut aborted = store.put_multipart(&Path::from("aborted")).await.unwrap();
    let (one, other) = (aborted.put_part("a".into()), aborted.put_part("b".into()));
    other.await.unwrap();
    one.await.unwrap();
    aborted.abort().await.unwrap();
    assert!(aborted.complete().await.is_err());
    let mut parts = store.put_multipart(&Path::from("in order")).await.unwrap();
    let (one, other) = (parts.put_part("a".into()), parts.put_part("b".into()));
    let (one, other) = join!(other, one);
    one.and(other).unwrap();
    parts.complete().await.unwrap();
    assert_eq!(read_bytes(&store, &Path::from("in order")).await.unwrap().unwrap(), "ab");
    assert_eq!(read_bytes(&store, &Path::from("aborted")).await.unwrap(), None);
}

/// A writer that asks before a DataNode has told of the file's end waits for half a second. It is half of them or more if
/// they don't give DataNodes the time; and if they do, it depends on the machine, so some are put up with.
#[tokio::test(flavor = "multi_thread")]
async fn the_namenode_has_heard_of_the_end_of_most_files_when_it_is_asked_to_close_them() {
    let store = open(&CALM.url("/ends")).unwrap();
    let files = 40;
    for n in 0..files {
        store.put(&Path::from(format!("object{n}")), content(500, n).into()).await.unwrap();
    }
    let log = CALM.logged(Server::NameNode);
    let of_ends = || log.lines().filter(|line| line.contains("/ends/object"));
    let closed = of_ends().filter(|line| line.contains("is closed by")).count();
    let asked_too_early = of_ends().filter(|line| line.contains("UCState=COMMITTED")).count();
    assert_eq!(closed, files as usize);
    assert!(asked_too_early < closed / 4, "{asked_too_early}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dead_writers_leave_is_not_seen_and_goes_with_the_job() {
    let url = CALM.url("/leftovers");
    let store = open(&url).unwrap();
    create(&store, &paths::marker(JOB, map(0)), &marker(map(0), attempt(1, 1))).await.unwrap();
    let files = ClientBuilder::new().with_url(CALM.url("")).build().unwrap();
    let job = format!("/leftovers/{}", paths::job_dir(JOB));
    // As a writer leaves it that is killed before it closes the file, and one that is killed after.
    let mut open_file =
        files.create(&format!("{job}/attempts/map/0.1-1#1"), WriteOptions::default()).await.unwrap();
    open_file.write_bytes(content(100_000, 1)).await.unwrap();
    let mut closed = files.create(&format!("{job}/commits/map/1#2"), WriteOptions::default()).await.unwrap();
    closed.close().await.unwrap();
    std::mem::forget(open_file);

    let seen: Vec<String> = tree(&store, "").await.unwrap().into_iter().map(|entry| entry.path).collect();
    assert_eq!(seen, ["jobs/job_7/commits/map/0"]);
    let listed = store.list_with_delimiter(Some(&Path::from("jobs/job_7/commits/map"))).await.unwrap();
    assert_eq!(listed.objects.len(), 1);
    delete_job(&store, JOB).await.unwrap();
    assert!(matches!(files.get_file_info(&job).await, Err(HdfsError::FileNotFound(_))));
    // The directory is its owner's alone, since it holds programs that workers run.
    assert_eq!(files.get_file_info("/leftovers").await.unwrap().permission, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_a_full_store() {
    let store = open(&CALM.url("/quota")).unwrap();
    let path = paths::spec(JOB);
    store.put(&path, "before".into()).await.unwrap();
    // Less than a block, which the NameNode reserves.
    CALM.admin(&["-setSpaceQuota", "1m", "/quota"]);
    let record = marker(map(0), attempt(1, 1));
    let full = create(&store, &paths::marker(JOB, map(0)), &record).await.unwrap_err();
    assert!(matches!(full, StorageError::Full { .. }), "{full}");
    let full = put_file(&store, &path, content(SEVERAL_PARTS, 2)).await.unwrap_err();
    assert!(matches!(full, StorageError::Full { .. }), "{full}");
    assert_eq!(read_bytes(&store, &path).await.unwrap().unwrap(), "before");
    CALM.admin(&["-clrSpaceQuota", "/quota"]);
    assert_eq!(create(&store, &paths::marker(JOB, map(0)), &record).await.unwrap(), Created::New);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_with_the_address_and_the_time() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Somebody who never says anything.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = |port: u16| format!("hdfs://127.0.0.1:{port}");
    let try_it = async |port: u16, because: &str| {
        let store = open(&format!("{}/x", name(port))).unwrap();
        let path = paths::spec(JOB);
        let (wrote, found) = join!(store.put(&path, "x".into()), read_bytes(&store, &path));
        let found = found.unwrap_err();
        assert!(is_unavailable(&found), "{found}");
        for said in [wrote.unwrap_err().to_string(), found.to_string()] {
            let expected = [&name(port), because, "jobs/job_7/spec", "tried for "];
            assert!(expected.iter().all(|part| said.contains(part)), "{said}");
        }
    };
    let silent = listener.local_addr().unwrap().port();
    join!(try_it(nobody, "refused"), try_it(silent, "gave no answer"));
}

/// A rename whose request or reply is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_of_unknown_outcome_is_found_out() {
    for (n, cut) in [(0, Cut::Reply), (1, Cut::Request)] {
        let between = Cutting::start(CALM.port, b"rename2", cut);
        let store = open(&format!("hdfs://127.0.0.1:{}/cut", between.port)).unwrap();
        let path = Path::from(format!("object{n}"));
        let put = store.put_opts(&path, "mine".into(), PutMode::Create.into()).await;
        assert!(between.has_cut());
        let direct = open(&CALM.url("/cut")).unwrap();
        let found = read_bytes(&direct, &path).await.unwrap();
        match cut {
            Cut::Reply => assert_eq!((put.is_ok(), found), (true, Some("mine".into()))),
            Cut::Request | Cut::Time => {
                let error = put.unwrap_err();
                assert!(matches!(error, object_store::Error::Generic { .. }), "{error}");
                assert_eq!(found, None);
            }
        }
        // Somebody else's is somebody else's, whatever is lost.
        let between = Cutting::start(CALM.port, b"rename2", cut);
        let store = open(&format!("hdfs://127.0.0.1:{}/cut", between.port)).unwrap();
        let record = marker(map(n), attempt(1, 1));
        let path = paths::marker(JOB, map(n));
        assert_eq!(create(&store, &path, &record).await.unwrap(), Created::New);
        assert!(between.has_cut());
        let other = marker(map(n), attempt(1, 2));
        assert_eq!(create(&direct, &path, &other).await.unwrap(), Created::Other(record.encode().into()));
    }
    let left = ClientBuilder::new().with_url(CALM.url("")).build().unwrap().list_status("/cut", true).await;
    assert!(left.unwrap().iter().all(|status| !status.path.contains('#')));
}

/// A rename that arrives when its writer has given it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_request_has_no_effect() {
    let between = Cutting::start(CALM.port, b"rename2", Cut::Time);
    let store = open(&format!("hdfs://127.0.0.1:{}/late", between.port)).unwrap();
    let path = Path::from("object");
    let error = store.put_opts(&path, "mine".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(error.to_string().contains("gave no answer"), "{error}");
    assert!(between.has_cut());
    assert_eq!(read_bytes(&store, &path).await.unwrap(), None);
    let files = ClientBuilder::new().with_url(CALM.url("")).build().unwrap();
    assert!(files.list_status("/late", true).await.unwrap().is_empty());
    between.let_through().await;
    assert!(files.list_status("/late", true).await.unwrap().is_empty());
    store.put_opts(&path, "again".into(), PutMode::Create.into()).await.unwrap();
}

/// Pairs of contenders create objects while the NameNode is killed and started again.
#[tokio::test(flavor = "multi_thread")]
async fn creates_survive_the_namenode() {
    let servers = Servers::start(1, 1);
    let store = open(&servers.url("/mr")).unwrap();
    let (failures, done, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let contend = async |contender: u32, n: u32| {
        let (path, record) = (paths::marker(JOB, map(n)), marker(map(n), attempt(1, contender)));
        let made = patiently(&failures, async || create(&store, &path, &record).await).await;
        done.fetch_add(1, Ordering::Relaxed);
        (n, contender, made)
    };
    let contender = |contender: u32| {
        let going_on = stream::iter(0..).take_while(|_| ready(!is_over.load(Ordering::Relaxed)));
        going_on.map(move |n| contend(contender, n)).buffered(4).collect::<Vec<_>>()
    };
    let restart = async {
        await_some(&done, 20).await;
        servers.kill(Server::NameNode);
        await_some(&failures, 4).await;
        servers.launch(Server::NameNode);
        let so_far = done.load(Ordering::Relaxed);
        await_some(&done, so_far + 20).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (one, other, ()) = join!(contender(1), contender(2), restart);
    agree(&store, [one, other].concat()).await;
}

/// What every contender was told is what is there.
async fn agree(store: &Store, outcomes: Vec<(u32, u32, Created)>) {
    for (n, contender, made) in &outcomes {
        let found: Marker = read(store, &paths::marker(JOB, map(*n))).await.unwrap().unwrap();
        let is_mine = found.attempt == attempt(1, *contender);
        match made {
            // It may have been made by a try whose outcome was unknown then.
            Created::New | Created::Same => assert!(is_mine, "{n}"),
            Created::Other(bytes) => assert!(!is_mine && *bytes == found.encode(), "{n}"),
        }
    }
}

/// Files of two copies on three DataNodes, one of which is killed while they are written and read.
#[tokio::test(flavor = "multi_thread")]
async fn files_survive_a_datanode() {
    files_are_written_and_read_while(40, |servers| servers.kill(Server::DataNode(0))).await;
}

/// The same with one that is there and says nothing. Fewer files: the NameNode prefers DataNodes on the writer's own
/// machine, as all are here, whether they live or not.
#[tokio::test(flavor = "multi_thread")]
async fn files_survive_a_datanode_that_is_stopped() {
    files_are_written_and_read_while(20, |servers| servers.signal(Server::DataNode(0), Signal::STOP)).await;
}

async fn files_are_written_and_read_while(files: u32, happens: impl FnOnce(&Servers)) {
    let servers = Servers::start(3, 2);
    let store = open(&servers.url("/mr")).unwrap();
    let (failures, wrote) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let path = |n: u32| paths::attempt_output(JOB, map(n), attempt(1, 1));
    // Some are one part, some are several.
    let content = |n: u32| content(if n.is_multiple_of(4) { SEVERAL_PARTS } else { 300_000 }, n);
    let check = async |n: u32| {
        let found = patiently(&failures, async || read_bytes(&store, &path(n)).await).await;
        assert!(found.unwrap() == content(n), "{n}");
    };
    let write = async |n: u32| {
        let content = content(n);
        let file = patiently(&failures, async || put_file(&store, &path(n), content.clone()).await).await;
        assert_eq!((file.length, file.crc32c), (content.len() as u64, crc32c::crc32c(&content)));
        wrote.fetch_add(1, Ordering::Relaxed);
        check(n).await;
    };
    let happening = async {
        await_some(&wrote, 8).await;
        happens(&servers);
        wrote.load(Ordering::Relaxed)
    };
    let ((), before) = join!(stream::iter(0..files).for_each_concurrent(4, write), happening);
    assert!(before < files as usize, "it happened too late");
    for n in 0..files {
        check(n).await;
    }
}
