//! S3: Ceph, of one monitor, one storage daemon and one gateway.

use std::{fs, net::TcpStream, process::Command};

use object_store::{aws::AmazonS3Builder, path::Path, signer::Signer};

use crate::{
    free_ports,
    processes::{Processes, START_PATIENCE},
};

const INSTALL: &str = "these tests need a real Ceph: apt-get install -y --no-install-recommends ceph-common ceph-mon \
                       ceph-osd radosgw";
const FSID: &str = "6b7a3b0e-7d5e-4b0a-9a53-0d1f1c9b3a11";
const KEY_ID: &str = "tester";
const KEY: &str = "testing";
const GATEWAY: &str = "radosgw";
/// The bucket that is there.
pub const BUCKET: &str = "bucket";

/// The gateway and what is behind it.
pub struct Ceph {
    processes: Processes,
    port: u16,
}

impl Ceph {
    /// Starts it and returns when the bucket is there.
    pub fn start() -> Ceph {
        let ports = free_ports(2);
        let (monitor, port) = (ports[0], ports[1]);
        let processes = Processes::new(INSTALL);
        let directory = &processes.directory;
        for name in ["mon", "osd"] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        for (name, content) in [("auth", format!("{KEY_ID}:{KEY}")), ("keyring", String::new())] {
            fs::write(directory.join(name), content).unwrap();
        }
        let configuration = configuration(&directory.display().to_string(), monitor, port);
        fs::write(directory.join("ceph.conf"), configuration).unwrap();
        let ceph = Ceph { processes, port };
        ceph.launch_daemons(monitor);
        ceph.launch_gateway();
        let key = ["--access-key", KEY_ID, "--secret-key", KEY];
        let user = ["-n", "client.rgw", "user", "create", "--uid=test", "--display-name=test"];
        ceph.run("radosgw-admin", &[&user[..], &key[..]].concat());
        ceph.make_bucket();
        ceph
    }

    fn launch_daemons(&self, monitor: u16) {
        let map = self.processes.directory.join("monmap").display().to_string();
        let address = format!("[v1:127.0.0.1:{monitor}]");
        self.run("monmaptool", &["--create", "--addv", "a", &address, "--fsid", FSID, &map]);
        self.run("ceph-mon", &["--mkfs", "-i", "a", "--monmap", &map]);
        self.launch("ceph-mon", &["-f", "-i", "a"]);
        // The monitor may not know yet at its start whom it lets in.
        self.processes.wait_until(|| self.succeeds("ceph", &["osd", "create"]));
        // An OSD that does this itself at its start sometimes does it too early, and ends.
        self.run("ceph", &["osd", "crush", "add", "osd.0", "1", "root=default", "host=here"]);
        self.run("ceph-osd", &["-i", "0", "--mkfs"]);
        self.launch("ceph-osd", &["-f", "-i", "0"]);
    }

    /// Starts the gateway, which does not run, and returns when it serves.
    pub fn launch_gateway(&self) {
        self.launch(GATEWAY, &["-f", "-n", "client.rgw"]);
        self.processes.wait_until(|| TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill_gateway(&self) {
        self.processes.kill(GATEWAY);
    }

    /// `s3://` with this bucket and path, and how it is reached.
    pub fn url(&self, bucket: &str, path: &str) -> String {
        let auth = self.processes.directory.join("auth");
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
        let output = self.processes.output(&mut self.command(program, arguments));
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    }

    fn succeeds(&self, program: &str, arguments: &[&str]) -> bool {
        self.processes.output(&mut self.command(program, arguments)).status.success()
    }

    fn launch(&self, program: &str, arguments: &[&str]) {
        self.processes.start(program, &mut self.command(program, arguments));
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        if program != "monmaptool" {
            command.arg("-c").arg(self.processes.directory.join("ceph.conf"));
        }
        command.args(arguments);
        command
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
