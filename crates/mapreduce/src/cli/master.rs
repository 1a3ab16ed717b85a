//! `mapreduce master`: one master process.

use std::{net::SocketAddr, pin::pin, time::Duration};

use futures::{FutureExt, StreamExt};
use mapreduce_master::MasterOptions;

use super::{
    Result, asked_to_end,
    stores::{Resolved, Stores},
};

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
    /// Where others find it, if that is not where it listens; port 0 stands for the port that it has.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    advertise: Option<String>,
    /// After how long a silent process is taken for dead, in milliseconds.
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..))]
    lease_ms: u64,
}

impl Args {
    pub async fn run(self) -> Result {
        let Resolved { urls, cluster_key, authority, ca: _ } = self.stores.resolve(self.users)?;
        let options = MasterOptions {
            coordination: urls.coordination,
            storage: urls.storage,
            users: urls.users,
            cluster_key,
            authority,
            listen: self.listen,
            advertise: self.advertise,
            lease: Duration::from_millis(self.lease_ms),
        };
        let mut asked = pin!(asked_to_end()?);
        Ok(mapreduce_master::run(options, asked.next().map(|_| ())).await?)
    }
}

fn host_and_port(text: &str) -> std::result::Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("give it as HOST:PORT".to_owned()),
    }
}
