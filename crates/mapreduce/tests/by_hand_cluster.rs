//! Clusters that are made and joined on the command line, and whose masters and workers are started by hand: they speak
//! TLS, and nobody else is let in or believed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
    time::Duration,
};

use mapreduce::{ClientError, ClusterUrls, Credentials, monitor};
use mapreduce_core::ClusterId;
use mapreduce_identity::{Authority, endpoint};
use mapreduce_rpc::control::{LoginRequest, jobs_client::JobsClient};
use rustix::process::{Pid, Signal, kill_process};
use support::{Scene, until};
use tonic::{Code, Request, Status};

const PASSWORD: &str = "correct horse";
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster in the making. Its processes end with it.
struct ByHand {
    scene: Scene,
    processes: Vec<Child>,
}

impl Drop for ByHand {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl ByHand {
    /// With a directory `one`, and nothing that runs.
    fn init() -> ByHand {
        let by_hand = ByHand { scene: Scene::new(), processes: Vec::new() };
        done(&by_hand.run_init("one"));
        by_hand
    }

    /// With a master, too.
    async fn start() -> ByHand {
        let mut by_hand = ByHand::init();
        by_hand.spawn(&["master", "--directory", &by_hand.directory("one")]);
        by_hand.until(1, 0).await;
        by_hand
    }

    fn run_init(&self, directory: &str) -> Output {
        let (directory, urls) = (self.directory(directory), self.urls());
        self.run(&[
            "cluster",
            "init",
            &directory,
            "--coordination",
            &urls.coordination,
            "--storage",
            &urls.storage,
        ])
    }

    fn path(&self, directory: &str) -> PathBuf {
        self.scene.path(directory)
    }

    fn directory(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn urls(&self) -> ClusterUrls {
        let coordination = format!("sqlite://{}", self.directory("coordination"));
        let storage = format!("file://{}", self.directory("storage"));
        ClusterUrls { users: coordination.clone(), coordination, storage }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.scene.command(args);
        command.env("MAPREDUCE_PASSWORD", PASSWORD).stdin(Stdio::null()).output().unwrap()
    }

    fn spawn(&mut self, args: &[&str]) {
        self.processes.push(self.scene.command(args).stdin(Stdio::null()).spawn().unwrap());
    }

    async fn until(&self, masters: usize, workers: usize) {
        until("all are registered", async || {
            let seen = monitor::snapshot(&self.urls()).await.unwrap();
            (seen.masters.len(), seen.workers.len()) == (masters, workers)
        })
        .await;
    }

    async fn address(&self) -> String {
        monitor::snapshot(&self.urls()).await.unwrap().masters[0].address.clone().unwrap()
    }

    fn token(&self, role: &str) -> String {
        let made = self.run(&["cluster", "token", "--directory", &self.directory("one"), "--role", role]);
        done(&made).trim().to_owned()
    }

    /// A job of shell commands counts words.
    fn run_job(&self) {
        self.run_job_on(&["--directory", &self.directory("one")]);
    }

    fn run_job_on(&self, cluster: &[&str]) {
        fs::write(self.path("in.txt"), "b\na\nb\n").unwrap();
        let input = self.directory("in.txt");
        let job = ["run", "--mapper", "sed 's/$/\\t1/'", "--reducer", "cut -f1 | uniq -c", "--input", &input];
        let counted = done(&self.run(&[&job[..], cluster].concat()));
        let counted: Vec<&str> = counted.split_whitespace().collect();
        assert_eq!(counted, ["1", "a", "2", "b"]);
    }
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command that fails says: one line.
fn refused(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    said
}

async fn login(address: &str, ca: Option<&str>) -> Result<String, Status> {
    let channel = endpoint(address, ca, PATIENCE).unwrap().connect_lazy();
    let mut request = Request::new(LoginRequest {});
    let user = Credentials::User { username: "admin".into(), password: PASSWORD.into() };
    user.attach(&mut request);
    Ok(JobsClient::new(channel).login(request).await?.into_inner().role)
}

#[tokio::test]
async fn a_job_runs_over_tls_and_nothing_else_is_spoken() {
    let mut by_hand = ByHand::start().await;
    by_hand.spawn(&["worker", "--directory", &by_hand.directory("one")]);
    by_hand.until(1, 1).await;
    by_hand.run_job();

    let (address, ca) = (by_hand.address().await, fs::read_to_string(by_hand.path("one/ca.pem")).unwrap());
    assert_eq!(login(&address, Some(&ca)).await.unwrap(), "admin");
    // In plain text, not even the credentials are looked at.
    let plain = login(&address, None).await.unwrap_err();
    assert_ne!(plain.code(), Code::Unauthenticated, "{plain}");
    let stranger = Authority::new(&ClusterId::new(1)).unwrap();
    let deceived = login(&address, Some(&stranger.certificate)).await.unwrap_err();
    assert!(format!("{deceived:?}").contains("UnknownIssuer"), "{deceived:?}");
}

#[tokio::test]
async fn clients_find_everything_by_the_url_of_coordination() {
    let by_hand = ByHand::start().await;
    let urls = by_hand.urls();
    let found = ClusterUrls::find(&urls.coordination).await.unwrap();
    assert_eq!(found, urls);
    let user = |password: &str| Credentials::User { username: "admin".into(), password: password.into() };
    let client = mapreduce::Client::new(found.clone(), user(PASSWORD)).await.unwrap();
    assert_eq!(client.login().await.unwrap(), "admin");
    let client = mapreduce::Client::new(found, user("admin")).await.unwrap();
    assert!(matches!(client.login().await, Err(ClientError::Unauthenticated(_))));

    let absent = format!("sqlite://{}", by_hand.directory("absent"));
    let error = ClusterUrls::find(&absent).await.unwrap_err().to_string();
    assert!(error.contains("no cluster") && error.contains(&absent), "{error}");
    assert!(!by_hand.path("absent").exists(), "looking makes nothing");
}

#[tokio::test]
async fn commands_take_a_cluster_by_its_coordination() {
    let mut by_hand = ByHand::start().await;
    by_hand.spawn(&["worker", "--directory", &by_hand.directory("one")]);
    by_hand.until(1, 1).await;
    let coordination = by_hand.urls().coordination;
    let there = ["--coordination", coordination.as_str()];
    by_hand.run_job_on(&there);
    let on = |command: &[&str]| by_hand.run(&[command, &there].concat());
    let jobs = done(&on(&["jobs"]));
    assert!(jobs.contains("job_1 ") && jobs.contains("succeeded"), "{jobs}");
    assert!(done(&on(&["status", "job_1"])).contains("1 of 1 tasks"));
    assert!(done(&on(&["history", "job_1"])).contains("committed"));
    assert!(refused(&on(&["cancel", "job_1"])).contains("job_1 has succeeded already"));
    assert!(refused(&on(&["cancel", "job_1", "--username", "eve"])).contains("eve"));

    // With no master alive, too; and looking makes nothing.
    let pid = monitor::snapshot(&by_hand.urls()).await.unwrap().masters[0].incarnation.to_string();
    done(&on(&["kill", &pid]));
    assert!(done(&on(&["jobs"])).contains("job_1 "));
    let absent = format!("sqlite://{}", by_hand.directory("absent"));
    assert!(refused(&by_hand.run(&["jobs", "--coordination", &absent])).contains("there is no cluster at"));
    assert!(!by_hand.path("absent").exists());
    let both = on(&["jobs", "--directory", &by_hand.directory("one")]);
    assert_eq!(both.status.code(), Some(2), "it is one or the other");
}

#[tokio::test]
async fn a_token_lets_one_machine_join() {
    let mut by_hand = ByHand::start().await;
    let token = by_hand.token("worker");
    let join = |token: &str, to: &str| by_hand.run(&["cluster", "join", token, &by_hand.directory(to)]);
    done(&join(&token, "two"));
    assert!(refused(&join(&token, "three")).contains("the token was used already"));
    assert!(refused(&join(&token[1..], "four")).contains("that is no token"));
    assert!(refused(&join(&by_hand.token("worker"), "two")).contains("a part of a cluster already"));
    done(&join(&by_hand.token("master"), "five"));

    let names = |directory: &str| {
        let mut names: Vec<_> =
            fs::read_dir(by_hand.path(directory)).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        let others = names.iter().filter(|path| path.metadata().unwrap().permissions().mode() & 0o077 != 0);
        assert_eq!(others.count(), 0, "secrets are their owner's alone");
        names.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("two"), ["ca.pem", "cluster.key", "stores.json"]);
    assert_eq!(names("five"), ["ca.key", "ca.pem", "cluster.key", "stores.json"]);
    assert_eq!(names("one"), names("five"));
    let worker_only = ["cluster", "token", "--directory", &by_hand.directory("two"), "--role", "master"];
    assert!(refused(&by_hand.run(&worker_only)).contains("has no ca.key"));

    let (two, five) = (by_hand.directory("two"), by_hand.directory("five"));
    by_hand.spawn(&["worker", "--directory", &two]);
    by_hand.spawn(&["master", "--directory", &five]);
    by_hand.until(2, 1).await;
    by_hand.run_job();
}

#[tokio::test]
async fn a_token_must_be_right_and_its_master_there() {
    let mut by_hand = ByHand::start().await;
    let good = mapreduce_identity::Token::from_line(&by_hand.token("worker")).unwrap();
    let join = |token: &mapreduce_identity::Token| {
        by_hand.run(&["cluster", "join", &token.to_line(), &by_hand.directory("two")])
    };
    let wrong = mapreduce_identity::Token { secret: "0".repeat(64), ..good.clone() };
    assert!(refused(&join(&wrong)).contains("the token is wrong"));
    let stranger = Authority::new(&good.cluster).unwrap().certificate;
    let deceived = refused(&join(&mapreduce_identity::Token { ca: stranger, ..good.clone() }));
    assert!(deceived.contains("no master") && deceived.contains(&good.masters[0]), "{deceived}");
    // Whoever was refused has used nothing up.
    let unused = mapreduce_coordination::open(&by_hand.urls().coordination, None).await.unwrap();
    assert_eq!(unused.children("/tokens").await.unwrap(), std::slice::from_ref(&good.id));

    by_hand.processes[0].kill().unwrap();
    by_hand.processes[0].wait().unwrap();
    let nobody = refused(&by_hand.run(&["cluster", "join", &good.to_line(), &by_hand.directory("three")]));
    assert!(nobody.contains(&good.masters[0]) && nobody.contains("answered within "), "{nobody}");
    assert!(fs::read_dir(by_hand.path("three")).unwrap().next().is_none(), "nothing is half made");
}

#[tokio::test]
async fn what_would_not_be_safe_does_not_start() {
    let by_hand = ByHand::init();
    let one = by_hand.directory("one");
    let listen = |args: &[&str]| refused(&by_hand.run(&[&["master", "--directory", &one], args].concat()));
    assert!(listen(&["--listen", "0.0.0.0:0"]).contains("--advertise"));

    // The authority's key is what makes a machine a master's.
    fs::rename(by_hand.path("one/ca.key"), by_hand.path("ca.key")).unwrap();
    assert!(listen(&["--listen", "127.0.0.1:0"]).contains("ca.key"));
    fs::rename(by_hand.path("ca.key"), by_hand.path("one/ca.key")).unwrap();

    // Another authority's certificate is not believed, wherever it comes from.
    let stranger = Authority::new(&ClusterId::new(1)).unwrap().certificate;
    fs::write(by_hand.path("one/ca.pem"), stranger).unwrap();
    let worker = refused(&by_hand.run(&["worker", "--directory", &one]));
    assert!(worker.contains("certificate"), "{worker}");

    // Without certificates, there is loopback.
    fs::write(by_hand.path("key"), "a secret").unwrap();
    let storage = format!("file://{}", by_hand.directory("plain-storage"));
    let coordination = format!("sqlite://{}", by_hand.directory("plain"));
    let plain = ["master", "--coordination", &coordination, "--storage", &storage, "--cluster-key-file"];
    let key = by_hand.directory("key");
    for elsewhere in [["--listen", "0.0.0.0:0"], ["--advertise", "example.org:7070"]] {
        let said = refused(&by_hand.run(&[&plain[..], &[&key], &elsewhere[..]].concat()));
        assert!(said.contains("mapreduce cluster init") && said.contains(elsewhere[1]), "{said}");
    }
}

#[tokio::test]
async fn a_cluster_is_made_once_and_with_a_password_of_its_own() {
    let by_hand = ByHand::init();
    let again = refused(&by_hand.run_init("two"));
    assert!(again.contains(&by_hand.urls().coordination) && again.contains("cluster-"), "{again}");
    assert!(!by_hand.path("two").exists());

    let elsewhere = format!("sqlite://{}", by_hand.directory("elsewhere"));
    let storage = by_hand.urls().storage;
    let init = |directory: &str, coordination: &str, storage: &str| {
        let directory = by_hand.directory(directory);
        ["cluster", "init", &directory, "--coordination", coordination, "--storage", storage]
            .map(str::to_owned)
    };
    let run = |args: [String; 7]| by_hand.run(&args.each_ref().map(String::as_str));
    let taken = refused(&run(init("two", &elsewhere, &storage)));
    assert!(taken.contains(&storage) && taken.contains(&by_hand.urls().coordination), "{taken}");
    let same_directory = refused(&run(init("one", &elsewhere, "memory:///")));
    assert!(same_directory.contains("a part of a cluster already"), "{same_directory}");

    let args = init("two", &elsewhere, "memory:///");
    let mut command = by_hand.scene.command(&args.each_ref().map(String::as_str));
    let default = command.env("MAPREDUCE_PASSWORD", "admin").output().unwrap();
    assert!(refused(&default).contains("which everybody knows"));
    let unset = command.env_remove("MAPREDUCE_PASSWORD").stdin(Stdio::null()).output().unwrap();
    assert!(refused(&unset).contains("set MAPREDUCE_PASSWORD"));
}

#[tokio::test]
async fn a_worker_with_another_key_says_so_and_ends() {
    let by_hand = ByHand::start().await;
    fs::write(by_hand.path("one/cluster.key"), "another").unwrap();
    let said = refused(&by_hand.run(&["worker", "--directory", &by_hand.directory("one")]));
    let address = by_hand.address().await;
    assert!(said.contains(&address) && said.contains("key of this cluster"), "{said}");
    assert!(Path::new(&by_hand.directory("one")).exists());
}

#[tokio::test]
async fn a_probe_tells_a_master_that_serves_from_one_that_only_listens() {
    let by_hand = ByHand::start().await;
    let (one, address) = (by_hand.directory("one"), by_hand.address().await);
    let probe = |address: &str| by_hand.run(&["probe", "--directory", &one, address]);
    done(&probe(&address));

    let master = Pid::from_child(&by_hand.processes[0]);
    kill_process(master, Signal::STOP).unwrap();
    std::net::TcpStream::connect(&address).unwrap();
    let silent = refused(&probe(&address));
    assert!(silent.contains(&address) && silent.contains("does not answer"), "{silent}");
    kill_process(master, Signal::KILL).unwrap();
    until("it is gone", async || refused(&probe(&address)).contains("Connection refused")).await;

    // Somebody else's server is not this cluster's master.
    let stranger = ByHand::start().await;
    let deceived = refused(&probe(&stranger.address().await));
    assert!(deceived.contains("UnknownIssuer"), "{deceived}");
}
