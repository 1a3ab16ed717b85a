//! The public Rust API: a client of a cluster, a cluster on this machine, and a look at what either is doing.
//!
//! ```no_run
//! use mapreduce::{Client, Credentials, LocalCluster, LocalOptions, monitor};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut cluster = LocalCluster::start(LocalOptions::default()).await?;
//! let user = Credentials::User { username: "admin".into(), password: "admin".into() };
//! let client = Client::new(cluster.urls().clone(), user).await?;
//! println!("{}", client.login().await?);
//! println!("{:?}", monitor::snapshot(cluster.urls()).await?.workers);
//! cluster.shutdown(true).await?;
//! # Ok(())
//! # }
//! ```

pub mod by_hand;
mod cli;
mod client;
mod cluster;
mod commands;
mod executor;
mod files;
pub mod home;
pub mod keeper;
pub mod monitor;
pub mod native;
mod process;
mod room;
mod urls;

pub use mapreduce_rpc::headers::Credentials;

pub use self::{
    cli::command_line,
    client::{CONNECT_TIMEOUT, Client, ClientError, JobOutcome, JobUpdate},
    cluster::{ClusterError, LocalCluster, LocalOptions, kill},
    urls::{BadDirectory, ClusterUrls, Stores},
};
