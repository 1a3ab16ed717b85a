//! Real servers for tests: ZooKeeper, etcd, HDFS and S3, on free ports of loopback, in directories of their own, gone with
//! the test however it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

pub mod ceph;
mod ensemble;
pub mod etcd;
pub mod hdfs;
mod ports;
mod processes;
pub mod zookeeper;

pub use ensemble::Ensemble;
pub use ports::free_ports;
pub use processes::Processes;
