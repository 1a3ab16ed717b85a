//! Runs a real S3 (Ceph), for trying things out: prints the URL of a place in it, and ends with its standard input.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests fail by panicking")]

#[path = "../tests/support/ceph.rs"]
mod ceph;
#[path = "../tests/support/janitor.rs"]
mod janitor;

fn main() {
    let ceph = ceph::Ceph::start();
    println!("{}", ceph.url(ceph::BUCKET, "storms"));
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}
