//! A place of its own for each test, and a look at the processes that a cluster has.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use mapreduce::{ClusterUrls, LocalCluster, LocalOptions, monitor};
use mapreduce_core::Incarnation;
use mapreduce_rpc::{
    WIRE_VERSION,
    executor::{FromExecutor, Ready, from_executor},
};
use prost::Message;

/// Far more than anything here takes, for machines that do ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A home, a program that lives in it, and an "interpreter" for executors.
pub struct Scene {
    scratch: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Scene {
        let scene = Scene { scratch: tempfile::tempdir().unwrap() };
        scene.export("");
        // An executor that is ready, and then listens as long as its worker lives: what is tested here runs no
        // tasks.
        fs::write(scene.path("ready"), ready_frame()).unwrap();
        scene.script("python", &format!("cat {} >&0\nexec cat", scene.path("ready").display()));
        scene
    }

    /// From now on, the program has this in its environment, such as `NAME=value`.
    pub fn export(&self, variables: &str) {
        let (home, program) = (self.home(), env!("CARGO_BIN_EXE_mapreduce"));
        let body = format!("export MAPREDUCE_HOME={} {variables}\nexec {program} \"$@\"", home.display());
        self.script("mapreduce", &body);
    }

    /// From now on, executors end before they are ready.
    pub fn executors_do_not_start(&self) {
        self.script("python", "echo there is no such module >&2\nexit 1");
    }

    /// From now on, executors leave a process behind that has turned its back on everybody, as user code may.
    pub fn executors_start_daemons(&self) {
        let daemon = self.path("daemon");
        std::os::unix::fs::symlink("/bin/sleep", &daemon).unwrap();
        let ready = self.path("ready");
        let (daemon, ready) = (daemon.display(), ready.display());
        self.script("python", &format!("setsid {daemon} 100000 &\ncat {ready} >&0\nexec cat"));
    }

    fn script(&self, name: &str, body: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub fn users(&self) -> String {
        format!("sqlite://{}/users", self.home().display())
    }

    /// A small cluster in this scene.
    pub fn options(&self, n_masters: u32, n_workers: u32) -> LocalOptions {
        LocalOptions {
            users_url: Some(self.users()),
            n_masters,
            n_workers,
            program: self.path("mapreduce"),
            python: Some(self.path("python")),
            ..LocalOptions::default()
        }
    }

    /// The command line, in this scene.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.path("mapreduce"));
        command.args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The processes that have to do with this scene: it is in the command line of each.
    pub fn processes(&self) -> Vec<String> {
        let marker = self.scratch.path().to_str().unwrap();
        let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok());
        let command_lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        command_lines
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .filter(|l| l.contains(marker))
            .collect()
    }

    /// The registry's entries.
    pub fn registered(&self) -> usize {
        fs::read_dir(self.home().join("clusters")).map_or(0, |entries| entries.count())
    }

    /// Waits until no process, no registry entry and no `directory` is left.
    pub async fn nothing_left(&self, directory: &Path) {
        until("everything is gone", async || {
            self.processes().is_empty() && self.registered() == 0 && !directory.exists()
        })
        .await;
    }
}

/// What a warmed process says when it can run tasks, length first.
fn ready_frame() -> Vec<u8> {
    let ready = from_executor::Message::Ready(Ready { version: WIRE_VERSION });
    let message = FromExecutor { message: Some(ready) }.encode_to_vec();
    let mut frame = u32::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

/// Returns when `holds` does.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The living masters and workers, as a person sees them.
pub async fn living(urls: &ClusterUrls) -> (Vec<Incarnation>, Vec<Incarnation>) {
    let snapshot = monitor::snapshot(urls).await.unwrap();
    let ids = |members: Vec<mapreduce_coordination::records::Member>| {
        members.into_iter().map(|member| member.incarnation).collect()
    };
    (ids(snapshot.masters), ids(snapshot.workers))
}

/// The process id of a master or worker.
pub async fn pid_of(cluster: &LocalCluster, id: &Incarnation) -> rustix::process::Pid {
    let snapshot = monitor::snapshot(cluster.urls()).await.unwrap();
    let member =
        snapshot.masters.iter().chain(&snapshot.workers).find(|member| member.incarnation == *id).unwrap();
    rustix::process::Pid::from_raw(member.pid.cast_signed()).unwrap()
}
