//! `mapreduce kill ID ...`: the storm, by hand.

use mapreduce_core::Incarnation;

use super::{Result, cluster::Cluster};

/// Kill masters or workers of local clusters with SIGKILL.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whom, such as worker-0123456789ab.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<Incarnation>,
    #[command(flatten)]
    cluster: Cluster,
}

impl Args {
    pub async fn run(self) -> Result {
        Ok(crate::kill(&self.cluster.find_all().await?, &self.ids).await?)
    }
}
