//! Runs three real servers of ZooKeeper or etcd, for trying things out: `coordination_servers zookeeper|etcd` prints their
//! URL, and ends with its standard input.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

#[path = "../tests/support/etcd.rs"]
mod etcd;
#[path = "../tests/support/processes.rs"]
mod server_processes;
#[path = "../tests/support/zookeeper.rs"]
mod zookeeper;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("zookeeper") => {
            let servers = zookeeper::Servers::start(3);
            serve(&servers.url("/storms"));
        }
        Some("etcd") => {
            let servers = etcd::Servers::start(3);
            serve(&servers.url("/storms"));
        }
        _ => panic!("which: zookeeper or etcd?"),
    }
}

fn serve(url: &str) {
    println!("{url}");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}
