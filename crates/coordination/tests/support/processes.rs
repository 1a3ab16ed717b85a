//! Real servers of tests as processes: on free ports of loopback, in a directory of their own, gone with the test however
//! it ends.
#![allow(dead_code, reason = "not every test that includes this file uses all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long servers may take to start or to find a leader. Generous: other tests want the cores as well.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// The processes of one server or of several, each with a directory of its own named by its number.
pub struct Processes {
    pub directory: PathBuf,
    running: Mutex<Vec<Option<Child>>>,
    /// Kills the servers and removes the directory when its standard input ends: with this process, whatever ends it.
    janitor: Child,
}

impl Processes {
    /// Starts none of them yet.
    pub fn prepare(n: usize) -> Processes {
        let directory = tempfile::tempdir().unwrap().keep();
        let janitor = Command::new("sh")
            .args(["-c", r#"cat; for f in "$0"/*/pid; do kill -9 "$(cat "$f")"; done; rm -rf "$0""#])
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (0..n).for_each(|i| fs::create_dir(directory.join(i.to_string())).unwrap());
        Processes { directory, running: Mutex::new((0..n).map(|_| None).collect()), janitor }
    }

    /// Where server `i` keeps what it has.
    pub fn directory(&self, i: usize) -> PathBuf {
        self.directory.join(i.to_string())
    }

    /// Starts server `i`, which does not run; what it says goes to its log.
    pub fn start(&self, i: usize, command: &mut Command, install: &str) {
        let directory = self.directory(i);
        let log = fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{:?} can't be run: {e}; {install}", command.get_program()));
        fs::write(directory.join("pid"), child.id().to_string()).unwrap();
        self.running.lock().unwrap()[i] = Some(child);
    }

    /// Waits until server `i` serves.
    pub fn await_serving(&self, i: usize, serves: impl Fn() -> bool, install: &str) {
        let began = Instant::now();
        while !serves() {
            let log = || fs::read_to_string(self.directory(i).join("log")).unwrap_or_default();
            let ended = self.running.lock().unwrap()[i].as_mut().map(|child| child.try_wait().unwrap());
            assert!(!matches!(ended, Some(Some(_))), "server {i} ended; {install}. It said:\n{}", log());
            assert!(began.elapsed() < START_PATIENCE, "server {i} does not serve. It said:\n{}", log());
            sleep(Duration::from_millis(50));
        }
    }

    pub fn is_running(&self, i: usize) -> bool {
        self.running.lock().unwrap()[i].is_some()
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&self, i: usize) {
        let mut child = self.running.lock().unwrap()[i].take().expect("it does not run");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGSTOP or SIGCONT.
    pub fn signal(&self, i: usize, signal: Signal) {
        let running = self.running.lock().unwrap();
        kill_process(Pid::from_child(running[i].as_ref().expect("it does not run")), signal).unwrap();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
        for child in self.running.lock().unwrap().iter_mut().flatten() {
            let _ = child.wait();
        }
    }
}

/// So many ports that nobody listens on. All are held until all are known, so that none is given twice.
pub fn free_ports(n: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..n).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|l| l.local_addr().unwrap().port()).collect()
}

/// Whether the program or file that a package brings is there.
pub fn assert_installed(file: &str, install: &str) {
    assert!(Path::new(file).exists(), "{file} is not there; {install}");
}
