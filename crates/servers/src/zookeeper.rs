//! ZooKeeper.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use crate::{Ensemble, free_ports, processes::Processes};

const JAR: &str = "/usr/share/java/zookeeper.jar";
const INSTALL: &str =
    "these tests need a real ZooKeeper: apt-get install -y --no-install-recommends zookeeper";
/// What ZooKeeper counts in; the shortest lease is two of them.
const TICK_MS: u32 = 200;

/// One server or an ensemble of three.
pub struct Servers {
    processes: Processes,
    /// Where clients connect.
    pub ports: Vec<u16>,
}

impl Servers {
    /// Starts them all and returns when they serve.
    pub fn start(n: usize) -> Servers {
        let servers = Servers::prepare(n);
        (0..n).for_each(|i| servers.restart(i));
        (0..n).for_each(|i| servers.await_serving(i));
        servers
    }

    /// Starts none of them yet.
    pub fn prepare(n: usize) -> Servers {
        assert!(Path::new(JAR).exists(), "{JAR} is not there; {INSTALL}");
        let processes = Processes::new(INSTALL);
        let ports = free_ports(3 * n);
        for i in 0..n {
            configure(&processes.directory.join(i.to_string()), i, &ports, n);
        }
        Servers { processes, ports: ports[..n].to_vec() }
    }

    /// `zookeeper://` with all of them, and this path.
    pub fn url(&self, path: &str) -> String {
        let servers: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("zookeeper://{}{path}", servers.join(","))
    }

    /// Waits until server `i` serves, which it does as part of a quorum only.
    pub fn await_serving(&self, i: usize) {
        self.processes.wait_until(|| self.mode(i).is_some());
    }

    /// `leader`, `follower` or `standalone`; none if it does not serve.
    pub fn mode(&self, i: usize) -> Option<String> {
        let line = |said: String| Some(said.lines().find_map(|l| l.strip_prefix("Mode: "))?.to_owned());
        self.ask(i, "srvr").and_then(line)
    }

    /// How many transactions there were so far: the lower half of the last one's number.
    pub fn transactions(&self, i: usize) -> u32 {
        let said = self.ask(i, "srvr").unwrap();
        let zxid = said.lines().find_map(|l| l.strip_prefix("Zxid: 0x")).unwrap();
        u64::from_str_radix(zxid, 16).unwrap() as u32
    }

    fn ask(&self, i: usize, word: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[i])).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        Some(said)
    }

    /// Which of them leads.
    pub fn leader(&self) -> usize {
        let leads = |i: &usize| self.mode(*i).is_some_and(|mode| mode == "leader");
        (0..self.ports.len()).find(leads).expect("there is no leader")
    }
}

impl Ensemble for Servers {
    fn processes(&self) -> &Processes {
        &self.processes
    }

    fn restart(&self, i: usize) {
        let directory = self.processes.directory.join(i.to_string());
        let mut command = Command::new("java");
        command
            // Starting quickly counts for more here than running fast; and what survives a power cut does not matter.
            .args(["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.forceSync=no"])
            .args(["-Dzookeeper.admin.enableServer=false", "-Dzookeeper.4lw.commands.whitelist=*", "-cp"])
            .arg(format!("{}:{JAR}", directory.display()))
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(directory.join("zoo.cfg"));
        self.processes.start(&i.to_string(), &mut command);
    }
}

fn configure(directory: &Path, i: usize, ports: &[u16], n: usize) {
    let data = directory.join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("myid"), (i + 1).to_string()).unwrap();
    let mut config = format!(
        "tickTime={TICK_MS}\ninitLimit=100\nsyncLimit=25\nmaxSessionTimeout=60000\nmaxClientCnxns=0\n\
         clientPortAddress=127.0.0.1\nclientPort={}\ndataDir={}\n",
        ports[i],
        data.display()
    );
    if n > 1 {
        for j in 0..n {
            writeln!(config, "server.{}=127.0.0.1:{}:{}", j + 1, ports[n + j], ports[2 * n + j]).unwrap();
        }
    }
    fs::write(directory.join("zoo.cfg"), config).unwrap();
    let console = "log4j.rootLogger=WARN, C\nlog4j.appender.C=org.apache.log4j.ConsoleAppender\n\
                   log4j.appender.C.layout=org.apache.log4j.PatternLayout\n\
                   log4j.appender.C.layout.ConversionPattern=%d %p %c %m%n\n";
    fs::write(directory.join("log4j.properties"), console).unwrap();
}
