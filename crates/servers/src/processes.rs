//! The processes of some servers.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long servers may take to start or to find a leader. Generous: other tests want the cores as well.
pub const START_PATIENCE: Duration = Duration::from_secs(120);

/// Processes by their names, and the directory that is theirs.
pub struct Processes {
    /// Theirs, which goes with them.
    pub directory: PathBuf,
    /// What to do about a program that can't be run.
    install: &'static str,
    running: Mutex<HashMap<String, Child>>,
    /// Kills the servers and removes the directory when its standard input ends: with this process, whatever ends it.
    janitor: Child,
}

impl Processes {
    /// None yet.
    pub fn new(install: &'static str) -> Processes {
        let directory = tempfile::tempdir().unwrap().keep();
        let janitor = Command::new("sh")
            .args(["-c", r#"cat; for f in "$0"/*.pid; do kill -9 "$(cat "$f")"; done; rm -rf "$0""#])
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Processes { directory, install, running: Mutex::default(), janitor }
    }

    /// Starts one that does not run; what it says goes to its log.
    pub fn start(&self, name: &str, command: &mut Command) {
        let log = File::options().create(true).append(true).open(self.log(name)).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| self.cannot_run(command, e));
        fs::write(self.directory.join(format!("{name}.pid")), child.id().to_string()).unwrap();
        self.running.lock().unwrap().insert(name.to_owned(), child);
    }

    /// Runs a program to its end, however that is.
    pub fn output(&self, command: &mut Command) -> Output {
        command.output().unwrap_or_else(|e| self.cannot_run(command, e))
    }

    fn cannot_run(&self, command: &Command, error: std::io::Error) -> ! {
        panic!("{} can't be run: {error}; {}", Path::new(command.get_program()).display(), self.install)
    }

    /// Waits for what servers do after they were started, as long as they all run.
    pub fn wait_until(&self, serves: impl Fn() -> bool) {
        let began = Instant::now();
        while !serves() {
            for (name, child) in self.running.lock().unwrap().iter_mut() {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none(), "{name} ended; {}. It said:\n{}", self.install, self.logged(name));
            }
            assert!(began.elapsed() < START_PATIENCE, "the servers don't serve. They said:\n{}", self.logs());
            sleep(Duration::from_millis(50));
        }
    }

    /// Whether it was started and not killed.
    pub fn is_running(&self, name: &str) -> bool {
        self.running.lock().unwrap().contains_key(name)
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&self, name: &str) {
        let mut child = self.running.lock().unwrap().remove(name).expect("it does not run");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGSTOP or SIGCONT.
    pub fn signal(&self, name: &str, signal: Signal) {
        let running = self.running.lock().unwrap();
        kill_process(Pid::from_child(running.get(name).expect("it does not run")), signal).unwrap();
    }

    /// What one has said.
    pub fn logged(&self, name: &str) -> String {
        fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    /// The ends of all logs.
    fn logs(&self) -> String {
        let files = fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path());
        let tail = |path: PathBuf| {
            let said = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            format!("{}:\n{}\n", path.display(), lines[lines.len().saturating_sub(10)..].join("\n"))
        };
        files.filter(|path| path.extension().is_some_and(|e| e == "log")).map(tail).collect()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
        // A panic that poisoned it is being told already.
        for child in self.running.get_mut().unwrap_or_else(PoisonError::into_inner).values_mut() {
            let _ = child.wait();
        }
    }
}
