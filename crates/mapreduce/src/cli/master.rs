//! `mapreduce master`: one master process.

use std::{net::SocketAddr, time::Duration};

use mapreduce_master::MasterOptions;

use super::{Result, asked_to_end, stores::Stores};

/// Run a master until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    stores: Stores,
    /// Who may log in [default: for a local cluster's directory, the users of this person; else where coordination is].
    #[arg(long, value_name = "URL")]
    users: Option<String>,
    /// Where to listen; port 0 lets the system choose one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// After how long a silent process is taken for dead, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..))]
    lease_ms: u64,
}

impl Args {
    pub async fn run(self) -> Result {
        let (urls, cluster_key) = self.stores.resolve(self.users)?;
        let options = MasterOptions {
            coordination: urls.coordination,
            storage: urls.storage,
            users: urls.users,
            cluster_key,
            listen: self.listen,
            lease: Duration::from_millis(self.lease_ms),
        };
        Ok(mapreduce_master::run(options, asked_to_end()?).await?)
    }
}
