//! etcd.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{Ensemble, free_ports, processes::Processes};

const ETCD: &str = "/usr/bin/etcd";
const INSTALL: &str = "these tests need a real etcd: apt-get install -y --no-install-recommends etcd-server";

/// One server or a cluster of three.
pub struct Servers {
    processes: Processes,
    /// Where clients connect.
    pub ports: Vec<u16>,
    peer_ports: Vec<u16>,
}

impl Servers {
    /// Starts them all and returns when they serve.
    pub fn start(n: usize) -> Servers {
        let ports = free_ports(2 * n);
        let (ports, peer_ports) = (ports[..n].to_vec(), ports[n..].to_vec());
        let servers = Servers { processes: Processes::new(INSTALL), ports, peer_ports };
        (0..n).for_each(|i| servers.restart(i));
        (0..n).for_each(|i| servers.await_serving(i));
        servers
    }

    /// `etcd://` with all of them, and this path.
    pub fn url(&self, path: &str) -> String {
        let servers: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("etcd://{}{path}", servers.join(","))
    }

    /// Waits until server `i` serves, which it does as part of a quorum only.
    pub fn await_serving(&self, i: usize) {
        self.processes.wait_until(|| self.serves(i));
    }

    /// Whether server `i` answers a read, for which it needs a quorum.
    pub fn serves(&self, i: usize) -> bool {
        self.ask(i, "GET", "/health", &Value::Null).is_some_and(|answer| answer["health"] == "true")
    }

    /// Whether server `i` takes itself for the leader.
    pub fn leads(&self, i: usize) -> bool {
        let status = self.ask(i, "POST", "/v3/maintenance/status", &json!({}));
        status.is_some_and(|status| status["leader"] == status["header"]["member_id"])
    }

    /// Which of them leads.
    pub fn leader(&self) -> usize {
        (0..self.ports.len()).find(|i| self.leads(*i)).expect("there is no leader")
    }

    /// How many transactions there were so far that wrote something.
    pub fn revision(&self, i: usize) -> i64 {
        let status = self.ask(i, "POST", "/v3/maintenance/status", &json!({})).unwrap();
        status["header"]["revision"].as_str().unwrap().parse().unwrap()
    }

    /// Enables authentication; this user may use what is below `path`, and only `root` with the password `root` the rest.
    pub fn protect(&self, user: &str, password: &str, path: &str) {
        let [first, end] = ["/", "0"].map(|end| STANDARD.encode(format!("{path}{end}")));
        for (path, message) in [
            ("user/add", json!({ "name": "root", "password": "root" })),
            ("role/add", json!({ "name": "root" })),
            ("user/grant", json!({ "user": "root", "role": "root" })),
            ("user/add", json!({ "name": user, "password": password })),
            ("role/add", json!({ "name": "ours" })),
            (
                "role/grant",
                json!({ "name": "ours", "perm": { "permType": "READWRITE", "key": first, "range_end": end } }),
            ),
            ("user/grant", json!({ "user": user, "role": "ours" })),
            ("enable", json!({})),
        ] {
            let answer = self.post(0, &format!("/v3/auth/{path}"), &message);
            assert!(answer["error"].is_null(), "{path}: {answer}");
        }
    }

    /// What etcd's interface for HTTP answers, whether it is good or bad.
    pub fn post(&self, i: usize, path: &str, message: &Value) -> Value {
        self.ask(i, "POST", path, message).expect("etcd does not answer")
    }

    fn ask(&self, i: usize, method: &str, path: &str, message: &Value) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[i])).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let body = message.to_string();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        serde_json::from_str(said.split_once("\r\n\r\n")?.1).ok()
    }
}

impl Ensemble for Servers {
    fn processes(&self) -> &Processes {
        &self.processes
    }

    fn restart(&self, i: usize) {
        let peer = |i: usize| format!("http://127.0.0.1:{}", self.peer_ports[i]);
        let client = format!("http://127.0.0.1:{}", self.ports[i]);
        let all: Vec<String> = (0..self.ports.len()).map(|i| format!("s{i}={}", peer(i))).collect();
        let mut command = Command::new(ETCD);
        command
            .arg("--data-dir")
            .arg(self.processes.directory.join(format!("{i}.data")))
            .args(["--name", &format!("s{i}"), "--logger", "zap", "--log-level", "warn"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer(i), "--initial-advertise-peer-urls", &peer(i)])
            .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"]);
        self.processes.start(&i.to_string(), &mut command);
    }
}
