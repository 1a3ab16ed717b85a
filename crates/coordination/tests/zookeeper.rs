//! The ZooKeeper backend while servers and processes die.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, their helpers too, fail by panicking"
)]

#[path = "support/clients.rs"]
mod clients;

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use clients::{C, LONG, count_through, more, read, refusal, session, stop_and_kill_a_process};
use mapreduce_coordination::{CoordinationError, Entry, Lifetime, Version, open};
use mapreduce_servers::{Ensemble, zookeeper::Servers};
use rustix::process::Signal;
use tokio::{
    sync::{Mutex, MutexGuard, watch},
    time::sleep,
};

/// One ensemble for all tests, one test at a time; it ends with this process.
async fn ensemble() -> MutexGuard<'static, Servers> {
    static ENSEMBLE: LazyLock<Mutex<Servers>> = LazyLock::new(|| Mutex::new(Servers::start(3)));
    let servers = ENSEMBLE.lock().await;
    // A test that failed may have left some of them dead or stopped.
    (0..3).for_each(|i| servers.revive(i));
    (0..3).for_each(|i| servers.await_serving(i));
    servers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_loses_no_acknowledged_write() {
    let servers = ensemble().await;
    let disturb = async |progress: &mut watch::Receiver<u64>| {
        let leader = servers.leader();
        servers.kill(leader);
        more(progress).await;
        servers.restart(leader);
        servers.await_serving(leader);
    };
    let n_ambiguous = count_through(&servers.url("/leader"), disturb).await;
    println!("{n_ambiguous} writes of unknown outcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_is_restarted_in_turn_and_sessions_live_on() {
    let servers = ensemble().await;
    let disturb = async |progress: &mut watch::Receiver<u64>| {
        for i in 0..3 {
            servers.kill(i);
            servers.restart(i);
            servers.await_serving(i);
            more(progress).await;
        }
    };
    count_through(&servers.url("/rolling"), disturb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_leader_is_left_behind_and_decides_nothing_when_it_goes_on() {
    let servers = ensemble().await;
    let url = servers.url("/stopped");
    // A client looks for another server after two fifths of its lease.
    let c = open(&url, session(Duration::from_secs(15))).await.unwrap();
    let old = c.create("/a/x", "0".into(), Lifetime::Durable).await.unwrap();
    let mut version = old;
    let leader = servers.leader();
    let through_it = format!("zookeeper://127.0.0.1:{}/stopped", servers.ports[leader]);
    let reader = open(&through_it, None).await.unwrap();
    servers.signal(leader, Signal::STOP);
    loop {
        match c.set("/a/x", "1".into(), version).await {
            Ok(set) => {
                version = set;
                break;
            }
            Err(CoordinationError::Unavailable { .. }) => {}
            Err(CoordinationError::Ambiguous { .. }) => {
                let found = read(&c, "/a/x").await;
                if found.version != version {
                    version = found.version;
                    break;
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    servers.signal(leader, Signal::CONT);
    // It may not know yet, and tell what was true. But it can't do anything.
    let set = reader.set("/a/x", "2".into(), old).await;
    assert!(set.is_err(), "{set:?}");
    loop {
        let entry = read(&reader, "/a/x").await;
        if entry.version == version {
            break;
        }
        assert_eq!(entry, Entry { value: "0".into(), version: old });
    }
    assert_eq!(read(&c, "/a/x").await, Entry { value: "1".into(), version });
    assert!(!*c.session_lost().borrow());
}

/// First a server without a quorum, then no server: longer than the client library waits for one before it gives its
/// session up, which is 14 s. The servers, who were not there to count, give a whole lease after their return.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_survive_an_outage_that_is_longer_than_their_lease_and_newcomers_hear_of_it() {
    let lease = Duration::from_secs(10);
    let servers = ensemble().await;
    let url = servers.url("/outage");
    let c = open(&url, session(lease)).await.unwrap();
    let here = c.create("/here/1", "".into(), Lifetime::Session).await.unwrap();
    let version = c.create("/a/x", "0".into(), Lifetime::Durable).await.unwrap();
    let mut changes = c.watch("/");
    servers.kill(1);
    servers.kill(2);
    tokio::join!(no_quorum(&servers), unreachable(&c, &url, version));
    servers.kill(0);
    sleep(lease).await;
    assert!(!*c.session_lost().borrow(), "nobody has said so");
    changes.borrow_and_update();
    (0..3).for_each(|i| servers.restart(i));
    changes.changed().await.unwrap();
    assert_eq!(read(&c, "/here/1").await.version, here);
    c.set("/a/x", "1".into(), version).await.unwrap();
    assert!(!*c.session_lost().borrow());
    c.close().await;
}

/// A newcomer hears of whom there is, and that they are not enough.
async fn no_quorum(servers: &Servers) {
    let text = refusal(&servers.url("/quorum")).await;
    let [a, b, c] = servers.ports[..] else { panic!() };
    let expected = [
        "no server took us in within 1".to_owned(),
        format!("127.0.0.1:{a} runs and serves nobody (no quorum"),
        format!("127.0.0.1:{b} can't be reached"),
        format!("127.0.0.1:{c} can't be reached"),
    ];
    assert!(expected.iter().all(|part| text.contains(part)), "{text}");
}

/// Calls wait for ten seconds, say so, and have done nothing.
async fn unreachable(c: &C, url: &str, version: Version) {
    // A call that was under way when the connection broke says that instead. The server that is left may not know yet that
    // it is alone, and tell what was true.
    loop {
        match c.get("/a/x").await {
            Ok(Some(entry)) => assert_eq!(entry.version, version),
            Err(error @ CoordinationError::Unavailable { .. }) => {
                let text = error.to_string();
                assert!(text.contains(url), "{text}");
                if text.contains("could be reached for 10s") {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    let set = c.set("/a/x", "1".into(), version).await;
    assert!(matches!(set, Err(CoordinationError::Unavailable { .. })), "{set:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_named_with_the_time_that_was_waited() {
    let text = refusal("zookeeper://127.0.0.1:1,localhost:2/x").await;
    for part in
        ["127.0.0.1:1,localhost:2/x", "within 1", " s: 127.0.0.1:1 can't be reached (", "localhost:2 can't"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_or_writes_what_a_password_protects() {
    let servers = ensemble().await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, content).unwrap();
        format!("?auth={}", file.display())
    };
    let (right, wrong) = (file("right", "ada:secret\n"), file("wrong", "ada:guess"));
    let url = servers.url("/a/secret");
    let c = open(&format!("{url}{right}"), session(LONG)).await.unwrap();
    c.create("/jobs/1", "mine".into(), Lifetime::Durable).await.unwrap();
    c.create("/workers/1", "".into(), Lifetime::Session).await.unwrap();
    open(&format!("{url}{right}"), None).await.unwrap().get("/jobs/1").await.unwrap().unwrap();

    for url in [url.clone(), format!("{url}{wrong}")] {
        let text = refusal(&url).await;
        assert!(text.contains("/a/secret can't be used") && text.contains("don't allow it"), "{text}");
        assert!(!text.contains("guess") && text.contains("auth="), "{text}");
    }
    intrude(&servers, "/a/secret").await;

    open(&servers.url("/open"), None).await.unwrap();
    let text = refusal(&format!("{}{right}", servers.url("/open"))).await;
    assert!(text.contains("everybody may change /open"), "{text}");
    let text = refusal(&format!("{url}{}", file("bad", "no colon"))).await;
    assert!(text.contains("must hold one line, user:password"), "{text}");
    let text = refusal(&format!("{url}?auth=/not/there")).await;
    assert!(text.contains("/not/there: No such file"), "{text}");
    let text = refusal("zookeeper://example.org/x").await;
    assert!(text.contains("everybody who can reach the servers"), "{text}");
}

/// Tries what somebody without the password could.
async fn intrude(servers: &Servers, root: &str) {
    use zookeeper_client::{Acls, Client, CreateMode, Error};
    let stranger = Client::connect(&format!("127.0.0.1:{}", servers.ports[0])).await.unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    for path in ["", "/jobs", "/jobs/1", "/workers", "/workers/1", "/%sessions"] {
        let path = format!("{root}{path}");
        assert_eq!(stranger.set_data(&path, b"x", None).await.unwrap_err(), Error::NoAuth, "{path}");
        assert_eq!(stranger.get_data(&path).await.unwrap_err(), Error::NoAuth, "{path}");
        let below = stranger.create(&format!("{path}/x"), b"", &options).await;
        assert!(matches!(below, Err(Error::NoAuth | Error::NoChildrenForEphemerals)), "{path}: {below:?}");
    }
    assert_eq!(stranger.delete(&format!("{root}/jobs/1"), None).await.unwrap_err(), Error::NoAuth);
}

/// What the other process does.
#[test]
fn other_process() {
    clients::other_process();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_loses_its_session_and_does_no_harm_when_it_wakes() {
    let servers = ensemble().await;
    stop_and_kill_a_process(&servers.url("/processes")).await;
}

/// ZooKeeper itself would cut the connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_long_is_refused_and_breaks_nothing() {
    let servers = ensemble().await;
    let c = open(&servers.url("/long"), None).await.unwrap();
    let text = c.create("/a/x", vec![0; 1_100_000].into(), Lifetime::Durable).await.unwrap_err().to_string();
    assert!(text.contains("/a/x would hold 1100000 bytes"), "{text}");
    let longest = Bytes::from(vec![7; 1_000_000]);
    c.create("/a/x", longest.clone(), Lifetime::Durable).await.unwrap();
    assert_eq!(c.get("/a/x").await.unwrap().unwrap().value, longest);
}
