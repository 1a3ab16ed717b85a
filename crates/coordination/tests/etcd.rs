//! The etcd backend while servers and processes die.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, their helpers too, fail by panicking"
)]

#[path = "support/clients.rs"]
mod clients;
#[path = "support/proxy.rs"]
mod proxy;

use std::{sync::LazyLock, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clients::{C, LONG, PATIENCE, count_through, more, read, refusal, session, stop_and_kill_a_process};
use mapreduce_coordination::{CoordinationError, Entry, Lifetime, Version, open};
use mapreduce_servers::{Ensemble, etcd::Servers};
use proxy::Proxy;
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    sync::{Mutex, MutexGuard, watch},
    time::{sleep, timeout},
};

/// One cluster for all tests, one test at a time; it ends with this process.
async fn cluster() -> MutexGuard<'static, Servers> {
    static CLUSTER: LazyLock<Mutex<Servers>> = LazyLock::new(|| Mutex::new(Servers::start(3)));
    let servers = CLUSTER.lock().await;
    // A test that failed may have left some of them dead or stopped.
    (0..3).for_each(|i| servers.revive(i));
    (0..3).for_each(|i| servers.await_serving(i));
    servers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_loses_no_acknowledged_write() {
    let servers = cluster().await;
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
    let servers = cluster().await;
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

/// What was on its way to it when it was stopped, it may do when it wakes. All the same no doubtful write is both.
#[tokio::test(flavor = "multi_thread")]
async fn every_server_is_stopped_in_turn_and_does_nothing_late_when_it_wakes() {
    let servers = cluster().await;
    let disturb = async |progress: &mut watch::Receiver<u64>| {
        for i in 0..3 {
            servers.signal(i, Signal::STOP);
            more(progress).await;
            servers.signal(i, Signal::CONT);
            more(progress).await;
        }
    };
    let n_ambiguous = count_through(&servers.url("/asleep"), disturb).await;
    println!("{n_ambiguous} writes of unknown outcome");
}

/// The write is sent, kept on its way until its client has given it up and read that it was not made, and then delivered.
/// Nobody may see it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_arrives_after_its_client_has_read_is_not_made() {
    let servers = cluster().await;
    let options = session(LONG);
    let name = format!("/sessions/{}", options.as_ref().unwrap().incarnation);
    let proxy = Proxy::start(servers.ports[0], b"the late one", name).await;
    let mut ports = [proxy.port, servers.ports[1]];
    // The client begins with the server that its process id says.
    ports.rotate_right(std::process::id() as usize % 2);
    let url = format!("etcd://127.0.0.1:{},127.0.0.1:{}/late", ports[0], ports[1]);
    let c = open(&url, options).await.unwrap();
    let version = c.create("/a/x", "0".into(), Lifetime::Durable).await.unwrap();
    proxy.close();
    let set = c.set("/a/x", "the late one".into(), version).await;
    assert!(matches!(set, Err(CoordinationError::Ambiguous { .. })), "{set:?}");
    assert!(*proxy.kept.borrow(), "it was not sent on that way");
    let expected = Entry { value: "0".into(), version };
    assert_eq!(read(&c, "/a/x").await, expected);
    // The server tells the old connection, too, that the session's key was written.
    let mut named = proxy.named.clone();
    let named_before = *timeout(PATIENCE, named.wait_for(|n| *n > 0)).await.unwrap().unwrap();
    proxy.deliver_the_write();
    // And again when it refuses the write.
    while *named.borrow_and_update() == named_before {
        assert_eq!(read(&c, "/a/x").await, expected);
    }
    assert_eq!(read(&c, "/a/x").await, expected);
    c.set("/a/x", "1".into(), version).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_leader_is_left_behind_and_tells_nothing_old_when_it_goes_on() {
    let servers = cluster().await;
    let c = open(&servers.url("/stopped"), session(LONG)).await.unwrap();
    let old = c.create("/a/x", "0".into(), Lifetime::Durable).await.unwrap();
    let leader = servers.leader();
    let through_it = format!("etcd://127.0.0.1:{}/stopped", servers.ports[leader]);
    let reader = open(&through_it, None).await.unwrap();
    servers.signal(leader, Signal::STOP);
    let version = loop {
        match c.set("/a/x", "1".into(), old).await {
            Ok(version) => break version,
            Err(CoordinationError::Unavailable { .. }) => {}
            Err(CoordinationError::Ambiguous { .. }) => {
                let found = read(&c, "/a/x").await.version;
                if found != old {
                    break found;
                }
            }
            Err(other) => panic!("{other}"),
        }
    };
    servers.signal(leader, Signal::CONT);
    // It may not know yet that it was deposed.
    assert_eq!(read(&reader, "/a/x").await, Entry { value: "1".into(), version });
    assert!(reader.set("/a/x", "2".into(), old).await.is_err());
    assert_eq!(read(&c, "/a/x").await, Entry { value: "1".into(), version });
    assert!(!*c.session_lost().borrow());
}

/// etcd 3.4.23 may then end sessions that live. Such a session is over as a whole, and its process hears of it; any other
/// goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_for_longer_than_a_lease_ends_a_session_as_a_whole_or_not_at_all() {
    let lease = Duration::from_secs(2);
    let servers = cluster().await;
    let url = servers.url("/overslept");
    let (c, reader) = (open(&url, session(lease)).await.unwrap(), open(&url, None).await.unwrap());
    c.create("/here/1", "".into(), Lifetime::Session).await.unwrap();
    let mut version = c.create("/a/x", "0".into(), Lifetime::Durable).await.unwrap();
    let leader = servers.leader();
    servers.signal(leader, Signal::STOP);
    sleep(2 * lease).await;
    servers.signal(leader, Signal::CONT);
    servers.await_serving(leader);
    for n in 0..100 {
        match c.set("/a/x", n.to_string().into(), version).await {
            Ok(next) => version = next,
            Err(CoordinationError::SessionLost) => {
                println!("the session has ended");
                c.session_lost().wait_for(|lost| *lost).await.unwrap();
                assert_eq!(reader.get("/here/1").await, Ok(None));
                return;
            }
            Err(CoordinationError::Unavailable { .. }) => {}
            Err(CoordinationError::Ambiguous { .. }) => match c.get("/a/x").await {
                Ok(entry) => version = entry.unwrap().version,
                // The next write hears of it.
                Err(CoordinationError::SessionLost) => {}
                Err(other) => panic!("{other}"),
            },
            Err(other) => panic!("{other}"),
        }
    }
    println!("the session goes on");
}

/// First a server without a quorum, then no server, together for much longer than the lease. The servers, who were not
/// there to count, give a whole lease after their return.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_survive_an_outage_that_is_longer_than_their_lease_and_newcomers_hear_of_it() {
    let lease = Duration::from_secs(10);
    let servers = cluster().await;
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
    let [a, b, c] = servers.ports[..] else { panic!() };
    // A leader that has just lost the others may be too slow to say so.
    loop {
        let text = refusal(&servers.url("/quorum")).await;
        let parts = ["no server took us in within 1".to_owned(), format!("127.0.0.1:{b} can't be reached (")];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(text.contains(&format!("127.0.0.1:{c} can't be reached (")), "{text}");
        if text.contains(&format!("127.0.0.1:{a} runs and serves nobody (no quorum")) {
            return;
        }
    }
}

/// Calls wait for ten seconds, say so, and have done nothing.
async fn unreachable(c: &C, url: &str, version: Version) {
    // A call that was under way when the connection broke says that instead.
    loop {
        match c.get("/a/x").await {
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
    let text = refusal("etcd://127.0.0.1:1,localhost:2/x").await;
    for part in
        ["127.0.0.1:1,localhost:2/x", "within 1", " s: 127.0.0.1:1 can't be reached (", "localhost:2 can't"]
    {
        assert!(text.contains(part), "{text}");
    }
}

/// What the other process does.
#[test]
fn other_process() {
    clients::other_process();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_loses_its_session_and_does_no_harm_when_it_wakes() {
    let servers = cluster().await;
    stop_and_kill_a_process(&servers.url("/processes")).await;
}

/// Somebody else ends it: nothing is written any more, and who has no incarnation begins another session.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_lease_was_revoked_is_over_and_a_clients_is_made_again() {
    let servers = cluster().await;
    let url = servers.url("/revoked");
    let (own, client) = (open(&url, session(LONG)).await.unwrap(), open(&url, None).await.unwrap());
    own.create("/here/1", "".into(), Lifetime::Session).await.unwrap();
    let version = own.create("/jobs/1", "mine".into(), Lifetime::Durable).await.unwrap();
    for lease in leases_below(&servers, "/revoked/") {
        servers.post(0, "/v3/lease/revoke", &json!({ "ID": lease }));
    }
    own.session_lost().wait_for(|lost| *lost).await.unwrap();
    assert_eq!(own.set("/jobs/1", "again".into(), version).await, Err(CoordinationError::SessionLost));
    assert_eq!(own.get("/jobs/1").await, Err(CoordinationError::SessionLost));
    assert_eq!(client.children("/here").await.unwrap(), [""; 0]);
    client.set("/jobs/1", "theirs".into(), version).await.unwrap();
    own.close().await;
}

/// The leases of all keys that begin with `prefix`.
fn leases_below(servers: &Servers, prefix: &str) -> Vec<String> {
    let range =
        json!({ "key": STANDARD.encode(prefix), "range_end": STANDARD.encode(prefix.replace("d/", "d0")) });
    let found = servers.post(0, "/v3/kv/range", &range);
    let leases =
        found["kvs"].as_array().unwrap().iter().filter_map(|kv| Some(kv["lease"].as_str()?.to_owned()));
    let mut leases: Vec<String> = leases.collect();
    leases.sort();
    leases.dedup();
    assert_eq!(leases.len(), 2, "{found}");
    leases
}

/// What has been compacted no watch can show any more.
#[tokio::test(flavor = "multi_thread")]
async fn watches_and_versions_outlive_compaction() {
    let servers = cluster().await;
    let url = servers.url("/compacted");
    let (c, watching) = (open(&url, session(LONG)).await.unwrap(), open(&url, None).await.unwrap());
    let mut version = c.create("/a/x", "0".into(), Lifetime::Durable).await.unwrap();
    let mut changes = watching.watch("/");
    for n in 1..4 {
        changes.borrow_and_update();
        version = c.set("/a/x", n.to_string().into(), version).await.unwrap();
        while watching.get("/a/x").await.unwrap().unwrap().version != version {
            changes.changed().await.unwrap();
        }
        let compacted =
            servers.post(0, "/v3/kv/compaction", &json!({ "revision": version.0, "physical": true }));
        assert!(compacted["error"].is_null(), "{compacted}");
        // Whoever is without a server meanwhile, watches again.
        let i = n % 3;
        servers.kill(i);
        servers.restart(i);
        servers.await_serving(i);
    }
    assert!(!*c.session_lost().borrow());
}

/// The servers would refuse it.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_too_long_is_refused_and_breaks_nothing() {
    let servers = cluster().await;
    let c = open(&servers.url("/long"), None).await.unwrap();
    let text = c.create("/a/x", vec![0; 1_100_000].into(), Lifetime::Durable).await.unwrap_err().to_string();
    assert!(text.contains("/a/x would hold 1100000 bytes"), "{text}");
    let longest = Bytes::from(vec![7; 1_000_000]);
    c.create("/a/x", longest.clone(), Lifetime::Durable).await.unwrap();
    assert_eq!(c.get("/a/x").await.unwrap().unwrap().value, longest);
}

/// On a server of its own, because it changes who may use it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_or_writes_what_a_password_protects() {
    let servers = Servers::start(1);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, content).unwrap();
        format!("?auth={}", file.display())
    };
    let (right, wrong) = (file("right", "ada:secret\n"), file("wrong", "ada:guess"));
    let url = servers.url("/a/secret");
    let text = refusal(&format!("{url}{right}")).await;
    assert!(text.contains("everybody may change /a/secret") && text.contains("auth enable"), "{text}");
    servers.protect("ada", "secret", "/a/secret");

    let c = open(&format!("{url}{right}"), session(LONG)).await.unwrap();
    c.create("/jobs/1", "mine".into(), Lifetime::Durable).await.unwrap();
    c.create("/workers/1", "".into(), Lifetime::Session).await.unwrap();
    open(&format!("{url}{right}"), None).await.unwrap().get("/jobs/1").await.unwrap().unwrap();

    for url in [url.clone(), format!("{url}{wrong}")] {
        let text = refusal(&url).await;
        assert!(text.contains("/a/secret can't be used"), "{text}");
        assert!(!text.contains("guess") && text.contains("auth="), "{text}");
    }
    let text = refusal(&format!("{}{right}", servers.url("/elsewhere"))).await;
    assert!(
        text.contains("don't allow it") && text.contains("readwrite to the prefix /elsewhere/"),
        "{text}"
    );
    let key = STANDARD.encode("/a/secret/entries/jobs/1");
    for (path, message) in [
        ("/v3/kv/range", json!({ "key": key })),
        ("/v3/kv/put", json!({ "key": key, "value": "" })),
        ("/v3/kv/deleterange", json!({ "key": key })),
    ] {
        let answer = servers.post(0, path, &message).to_string();
        assert!(answer.contains("user name is empty"), "{answer}");
    }
    // A server that was restarted has forgotten who everybody was.
    servers.kill(0);
    servers.restart(0);
    servers.await_serving(0);
    let entry = read(&c, "/jobs/1").await;
    c.set("/jobs/1", "still mine".into(), entry.version).await.unwrap();
    assert!(!*c.session_lost().borrow());
    c.close().await;

    let text = refusal(&format!("{url}{}", file("bad", "no colon"))).await;
    assert!(text.contains("must hold one line, user:password"), "{text}");
    let text = refusal(&format!("{url}?auth=/not/there")).await;
    assert!(text.contains("/not/there: No such file"), "{text}");
    let text = refusal("etcd://example.org/x").await;
    assert!(text.contains("everybody who can reach the servers"), "{text}");
    let text = refusal("etcd://ada:secret@localhost/x").await;
    assert!(text.contains("does not belong into a URL") && !text.contains("secret"), "{text}");
}
