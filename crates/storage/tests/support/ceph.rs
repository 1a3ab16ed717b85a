//! A real S3 for tests: Ceph, of one monitor, one storage daemon and one gateway, on free ports of loopback, in a directory
//! of its own, gone with the test however it ends.
#![allow(dead_code, reason = "not every test that includes this file uses all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use object_store::{aws::AmazonS3Builder, path::Path, signer::Signer};

use crate::janitor::janitor;

const INSTALL: &str = "these tests need a real Ceph: apt-get install -y --no-install-recommends ceph-common ceph-mon \
                       ceph-osd radosgw";
/// How long the servers may take to start. Generous: other tests want the cores as well.
const START_PATIENCE: Duration = Duration::from_secs(120);
const FSID: &str = "6b7a3b0e-7d5e-4b0a-9a53-0d1f1c9b3a11";
const KEY_ID: &str = "tester";
const KEY: &str = "testing";
/// The bucket that is there.
pub const BUCKET: &str = "bucket";

/// The gateway and what is behind it.
pub struct Ceph {
    directory: PathBuf,
    port: u16,
    gateway: Mutex<Option<Child>>,
    daemons: Vec<Child>,
    /// Kills the servers and removes the directory.
    janitor: Child,
}

impl Ceph {
    /// Starts it and returns when the bucket is there.
    pub fn start() -> Ceph {
        let directory = tempfile::tempdir().unwrap().keep();
        let janitor = janitor(&directory);
        // Both are held until both are known, so that none is given twice.
        let held = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [monitor, port] = held.each_ref().map(|held| held.local_addr().unwrap().port());
        drop(held);
        for name in ["mon", "osd"] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        for (name, content) in [("auth", format!("{KEY_ID}:{KEY}")), ("keyring", String::new())] {
            fs::write(directory.join(name), content).unwrap();
        }
        let configuration = configuration(&directory.display().to_string(), monitor, port);
        fs::write(directory.join("ceph.conf"), configuration).unwrap();
        let mut ceph = Ceph { directory, port, gateway: Mutex::default(), daemons: Vec::new(), janitor };
        ceph.launch_daemons(monitor);
        ceph.launch_gateway();
        let key = ["--access-key", KEY_ID, "--secret-key", KEY];
        let user = ["-n", "client.rgw", "user", "create", "--uid=test", "--display-name=test"];
        ceph.run("radosgw-admin", &[&user[..], &key[..]].concat());
        ceph.make_bucket();
        ceph
    }

    fn launch_daemons(&mut self, monitor: u16) {
        let map = self.directory.join("monmap").display().to_string();
        let address = format!("[v1:127.0.0.1:{monitor}]");
        self.run("monmaptool", &["--create", "--addv", "a", &address, "--fsid", FSID, &map]);
        self.run("ceph-mon", &["--mkfs", "-i", "a", "--monmap", &map]);
        let daemon = self.spawn("ceph-mon", &["-f", "-i", "a"]);
        self.daemons.push(daemon);
        self.run_once_it_is_let("ceph", &["osd", "create"]);
        // An OSD that does this itself at its start sometimes does it too early, and ends.
        self.run("ceph", &["osd", "crush", "add", "osd.0", "1", "root=default", "host=here"]);
        self.run("ceph-osd", &["-i", "0", "--mkfs"]);
        let daemon = self.spawn("ceph-osd", &["-f", "-i", "0"]);
        self.daemons.push(daemon);
    }

    /// Starts the gateway, which does not run, and returns when it serves.
    pub fn launch_gateway(&self) {
        let mut child = self.spawn("radosgw", &["-f", "-n", "client.rgw"]);
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "the gateway ended. {}", self.logs());
            assert!(began.elapsed() < START_PATIENCE, "the gateway does not serve. {}", self.logs());
            sleep(Duration::from_millis(50));
        }
        *self.gateway.lock().unwrap() = Some(child);
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill_gateway(&self) {
        let mut child = self.gateway.lock().unwrap().take().expect("it does not run");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// `s3://` with this bucket and path, and how it is reached.
    pub fn url(&self, bucket: &str, path: &str) -> String {
        let auth = self.directory.join("auth");
        self.url_with(bucket, path, &auth.display().to_string())
    }

    /// The same with another key.
    pub fn url_with(&self, bucket: &str, path: &str, auth: &str) -> String {
        format!("s3://{bucket}/{path}?endpoint=http://127.0.0.1:{}&auth={auth}", self.port)
    }

    fn make_bucket(&self) {
        // Needs one, although nothing here is encrypted; another test may have chosen it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let signer = AmazonS3Builder::new()
            .with_endpoint(format!("http://127.0.0.1:{}", self.port))
            .with_allow_http(true)
            .with_bucket_name(BUCKET)
            .with_access_key_id(KEY_ID)
            .with_secret_access_key(KEY)
            .build()
            .unwrap();
        let put = async {
            let bucket = Path::default();
            let url = signer.signed_url("PUT".parse().unwrap(), &bucket, START_PATIENCE).await.unwrap();
            reqwest::Client::new().put(url).send().await.unwrap().error_for_status().unwrap();
        };
        let put =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(put);
        // A thread of its own: that of a test has a runtime already.
        std::thread::scope(|scope| scope.spawn(put).join().unwrap());
    }

    /// Runs one of Ceph's programs to its end.
    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program, arguments).output();
        let output = output.unwrap_or_else(|e| panic!("{program} can't be run: {e}; {INSTALL}"));
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    }

    /// The same for a program that asks the monitor, which at its start may not know yet whom it lets in.
    fn run_once_it_is_let(&self, program: &str, arguments: &[&str]) {
        let began = Instant::now();
        while !self.command(program, arguments).output().is_ok_and(|output| output.status.success()) {
            assert!(began.elapsed() < START_PATIENCE, "{program} {arguments:?} is not let. {}", self.logs());
            sleep(Duration::from_millis(100));
        }
    }

    fn spawn(&self, program: &str, arguments: &[&str]) -> Child {
        let log = File::create(self.directory.join(format!("{program}.log"))).unwrap();
        let mut command = self.command(program, arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("{program} can't be run: {e}; {INSTALL}"));
        fs::write(self.directory.join(format!("{program}.pid")), child.id().to_string()).unwrap();
        child
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        if program != "monmaptool" {
            command.arg("-c").arg(self.directory.join("ceph.conf"));
        }
        command.args(arguments);
        command
    }

    /// The ends of what the servers said.
    fn logs(&self) -> String {
        let names =
            ["ceph-mon.log", "mon.a.log", "ceph-osd.log", "osd.0.log", "radosgw.log", "client.rgw.log"];
        let tail = |name: &str| {
            let said = fs::read_to_string(self.directory.join(name)).unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            format!("{name}:\n{}\n", lines[lines.len().saturating_sub(10)..].join("\n"))
        };
        names.map(tail).concat()
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
        // A panic that poisoned it is being told already.
        let gateway = self.gateway.get_mut().unwrap_or_else(PoisonError::into_inner);
        for child in self.daemons.iter_mut().chain(gateway) {
            let _ = child.wait();
        }
    }
}

/// One copy of everything, no passwords between the daemons, and nothing outside of the directory.
fn configuration(directory: &str, monitor: u16, gateway: u16) -> String {
    format!(
        "[global]
fsid = {FSID}
mon host = v1:127.0.0.1:{monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
keyring = {directory}/keyring
run dir = {directory}
admin socket = {directory}/$name.asok
log file = {directory}/$name.log
mon data = {directory}/mon
mon data avail warn = 1
mon data avail crit = 1
mon allow pool size one = true
osd data = {directory}/osd
osd objectstore = bluestore
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
bluestore block size = 4294967296
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{gateway}
rgw thread pool size = 80
rgw enable usage log = false
rgw enable ops log = false
"
    )
}
