//! What can be wrong with what a cluster's parts are told of their stores: whoever starts one, joins one or connects to one
//! hears at once what is wrong and where, and for how long was waited if that would have helped. Real servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::{
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use mapreduce::{ClusterUrls, LocalCluster, LocalOptions};
use mapreduce_servers::{
    Ensemble,
    ceph::{BUCKET, Ceph},
    etcd, free_ports, hdfs, zookeeper,
};
use support::Scene;
use tokio::runtime::Runtime;

/// A machine on which clusters are to be started.
struct Machine {
    scene: Scene,
    n_directories: AtomicU32,
}

impl Machine {
    fn new() -> Machine {
        let scene = Scene::new();
        for (name, content) in [("key", "a secret"), ("ada", "ada:secret"), ("guess", "ada:guess")] {
            fs::write(scene.path(name), content).unwrap();
        }
        Machine { scene, n_directories: AtomicU32::new(0) }
    }

    /// A directory that is not there yet.
    fn directory(&self) -> String {
        let n = self.n_directories.fetch_add(1, Ordering::Relaxed);
        self.file(&format!("directory-{n}"))
    }

    fn file(&self, name: &str) -> String {
        self.scene.path(name).display().to_string()
    }

    /// Stores of this machine that nobody uses yet.
    fn coordination(&self) -> String {
        format!("sqlite://{}", self.directory())
    }

    fn storage(&self) -> String {
        format!("file://{}", self.directory())
    }

    /// What masters, workers, `cluster init` and local clusters say of these stores, by door.
    fn at_every_door(&self, coordination: &str, storage: &str) -> Vec<(&'static str, String)> {
        let (directory, key) = (self.directory(), self.file("key"));
        let stores = ["--coordination", coordination, "--storage", storage];
        let by_hand = [&stores[..], &["--cluster-key-file", &key]].concat();
        let master = self.scene.command(&[&["master"], &by_hand[..]].concat());
        let worker = self.scene.command(&[&["worker"], &by_hand[..]].concat());
        let mut init = self.scene.command(&[&["cluster", "init", &directory], &stores[..]].concat());
        init.env("MAPREDUCE_PASSWORD", "correct horse");
        let options = LocalOptions {
            directory: Some(self.directory().into()),
            coordination: Some(coordination.to_owned()),
            storage: Some(storage.to_owned()),
            ..self.scene.options(1, 1)
        };
        let doors = [("master", master), ("worker", worker), ("cluster init", init)];
        thread::scope(|scope| {
            let local = scope.spawn(|| local_cluster(options));
            let doors = doors.map(|(door, command)| (door, scope.spawn(move || refused(command))));
            let said = doors.map(|(door, said)| (door, said.join().unwrap()));
            said.into_iter().chain([("LocalCluster", local.join().unwrap())]).collect()
        })
    }

    /// Every door says all of this about stores that can't be used.
    fn check(&self, coordination: &str, storage: &str, parts: &[&str]) {
        for (door, said) in self.at_every_door(coordination, storage) {
            for part in parts {
                assert!(
                    said.contains(part),
                    "{door}, of {coordination} and {storage}: no {part:?} in {said}"
                );
            }
        }
    }

    /// The same for coordination, and for clients who know that alone.
    fn check_coordination(&self, coordination: &str, parts: &[&str]) {
        thread::scope(|scope| {
            scope.spawn(|| self.check(coordination, &self.storage(), parts));
            let said =
                Runtime::new().unwrap().block_on(ClusterUrls::find(coordination)).unwrap_err().to_string();
            for part in parts {
                assert!(said.contains(part), "connect, of {coordination}: no {part:?} in {said}");
            }
        });
    }

    fn check_storage(&self, storage: &str, parts: &[&str]) {
        self.check(&self.coordination(), storage, parts);
    }

    /// A cluster that has ended, and whose directory is gone.
    fn leave_cluster(&self, coordination: &str, storage: &str) {
        let (directory, coordination, storage) =
            (Some(self.directory().into()), Some(coordination.to_owned()), Some(storage.to_owned()));
        let options = LocalOptions { directory, coordination, storage, ..self.scene.options(1, 0) };
        Runtime::new().unwrap().block_on(async {
            LocalCluster::start(options).await.unwrap().shutdown(false).await.unwrap();
        });
    }
}

/// What a command says that fails: one line.
fn refused(mut command: Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    said
}

fn local_cluster(options: LocalOptions) -> String {
    Runtime::new().unwrap().block_on(LocalCluster::start(options)).unwrap_err().to_string()
}

#[test]
fn a_url_that_names_no_store() {
    let machine = Machine::new();
    for (url, why) in [
        ("zookeper://127.0.0.1/x", "accepted: sqlite:///absolute/directory, zookeeper://"),
        ("zookeeper://127.0.0.1", "names no path"),
        ("etcd://127.0.0.1:many/x", "is no server: give host:port"),
        ("etcd://192.0.2.1/x", "everybody who can reach the servers"),
        ("zookeeper://127.0.0.1/x?auth=/not/there", "/not/there"),
    ] {
        machine.check_coordination(url, &[url, why]);
    }
    machine.check_coordination(
        "zookeeper://ada:secret@127.0.0.1/x",
        &["zookeeper://…@127.0.0.1/x", "a password"],
    );
    for (url, why) in [
        ("ftp://127.0.0.1/x", "ftp is not supported; give file:///absolute/directory"),
        ("hdfs://127.0.0.1/x", "port"),
        ("s3:///x", "it names no bucket"),
        ("s3://bucket/x?colour=red", "?colour=red is no option"),
        ("s3://bucket/x?endpoint=http://192.0.2.1", "in clear"),
        ("s3://bucket/x?endpoint=https://192.0.2.1", "there is no key for it: set AWS_ACCESS_KEY_ID"),
        ("file://elsewhere/x", "no local directory"),
    ] {
        machine.check_storage(url, &[url, why]);
    }
}

#[test]
fn a_server_that_can_not_be_reached() {
    let (machine, ports) = (Machine::new(), free_ports(4));
    let [zookeeper, etcd, hdfs, s3] = ports[..] else { panic!("{ports:?}") };
    let auth = machine.file("ada");
    thread::scope(|scope| {
        for url in [format!("zookeeper://127.0.0.1:{zookeeper}/x"), format!("etcd://127.0.0.1:{etcd}/x")] {
            let server = url.split('/').nth(2).unwrap().to_owned();
            let parts = [url.clone(), format!("{server} can't be reached"), "within ".to_owned()];
            let machine = &machine;
            scope.spawn(move || machine.check_coordination(&url, &parts.each_ref().map(String::as_str)));
        }
        let storages = [
            (format!("hdfs://127.0.0.1:{hdfs}/x"), format!("127.0.0.1:{hdfs}"), "tried for "),
            (
                format!("s3://bucket/x?endpoint=http://127.0.0.1:{s3}&auth={auth}"),
                format!("http://127.0.0.1:{s3}/bucket/x/cluster"),
                "s, after",
            ),
        ];
        for (url, server, waited) in storages {
            let machine = &machine;
            scope.spawn(move || machine.check_storage(&url, &[&server, waited, "refused"]));
        }
    });
}

#[test]
fn a_server_without_a_quorum() {
    let machine = Machine::new();
    let (zookeeper, etcd) = (zookeeper::Servers::start(3), etcd::Servers::start(3));
    for i in [1, 2] {
        zookeeper.kill(i);
        etcd.kill(i);
    }
    thread::scope(|scope| {
        let checks = [
            (zookeeper.url("/x"), zookeeper.ports[0], "no quorum"),
            (etcd.url("/x"), etcd.ports[0], "no quorum"),
        ];
        for (url, port, why) in checks {
            let machine = &machine;
            scope.spawn(move || {
                machine.check_coordination(&url, &[&url, &format!("127.0.0.1:{port}"), why, "within "]);
            });
        }
    });
}

#[test]
fn coordination_of_somebody_else() {
    let machine = Machine::new();
    let (zookeeper, etcd) = (zookeeper::Servers::start(1), etcd::Servers::start(1));
    etcd.protect("ada", "secret", "/taken");
    let (ada, guess) = (machine.file("ada"), machine.file("guess"));
    for (url, other) in
        [(zookeeper.url("/taken"), "allow"), (etcd.url("/taken"), "don't know the name and password")]
    {
        let storage = machine.storage();
        machine.leave_cluster(&format!("{url}?auth={ada}"), &storage);
        // Wrong credentials, and none.
        machine.check_coordination(&format!("{url}?auth={guess}"), &[&url, &guess, other]);
        machine.check_coordination(&url, &[&url, "without a name and password", "don't allow it"]);
        // Another cluster's path, in coordination and in storage.
        let elsewhere = machine.storage();
        machine.check(&format!("{url}?auth={ada}"), &elsewhere, &[&url, "belongs to cluster-"]);
        machine.check_storage(&storage, &[&storage, &url, "is used by cluster-"]);
    }
}

#[test]
fn storage_of_somebody_else() {
    let machine = Machine::new();
    let (hdfs, ceph) = (hdfs::Servers::start(1, 1), Ceph::start());
    let guess = machine.file("guess");
    let (on_hdfs, on_s3) = (hdfs.url("/taken"), ceph.url(BUCKET, "taken"));
    for storage in [&on_hdfs, &on_s3] {
        let shown = storage.split('?').next().unwrap();
        let coordination = machine.coordination();
        machine.leave_cluster(&coordination, storage);
        machine.check_storage(storage, &[shown, &coordination, "is used by cluster-"]);
    }
    let wrong_key = ceph.url_with(BUCKET, "x", &guess);
    machine
        .check_storage(&wrong_key, &["/bucket/x/cluster", "InvalidAccessKeyId", "check the key or the user"]);
    machine.check_storage(&ceph.url("nowhere", "x"), &["/nowhere/x/probe/", "NoSuchBucket"]);

    machine.scene.export("HADOOP_USER_NAME=eve");
    machine.check_storage(&on_hdfs, &[&on_hdfs, "eve", "HADOOP_USER_NAME"]);
}
