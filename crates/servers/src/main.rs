//! Runs real servers, for trying things out: `mapreduce-servers zookeeper|etcd|hdfs|s3` prints the URL of a place there, and
//! ends with its standard input. Of ZooKeeper and etcd there are three.
#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::io;

use mapreduce_servers::{
    ceph::{BUCKET, Ceph},
    etcd, hdfs, zookeeper,
};

fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("zookeeper") => {
            let servers = zookeeper::Servers::start(3);
            serve(&servers.url("/storms"))
        }
        Some("etcd") => {
            let servers = etcd::Servers::start(3);
            serve(&servers.url("/storms"))
        }
        Some("hdfs") => {
            let servers = hdfs::Servers::start(1, 1);
            serve(&servers.url("/storms"))
        }
        Some("s3") => {
            let ceph = Ceph::start();
            serve(&ceph.url(BUCKET, "storms"))
        }
        _ => Err(io::Error::other("which: zookeeper, etcd, hdfs or s3?")),
    }
}

fn serve(url: &str) -> io::Result<()> {
    println!("{url}");
    io::copy(&mut io::stdin(), &mut io::sink()).map(|_| ())
}
