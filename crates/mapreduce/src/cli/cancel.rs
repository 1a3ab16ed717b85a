//! `mapreduce cancel JOB`: ends a job before it has ended.

use std::io::{self, Write};

use crate::Client;
use mapreduce_core::{JobId, JobPhase};

use super::{Result, cluster::Cluster};

/// Cancel a job.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job, such as job_7.
    job: JobId,
    #[command(flatten)]
    cluster: Cluster,
}

impl Args {
    pub async fn run(self) -> Result {
        let client = Client::new(self.cluster.find().await?, self.cluster.user.credentials()?).await?;
        let stood = client.cancel(self.job).await?;
        match stood.phase {
            JobPhase::Publish => {
                return Err(
                    format!("{} publishes its output and can't be cancelled any more", self.job).into()
                );
            }
            JobPhase::Map | JobPhase::Reduce => writeln!(io::stdout(), "{} is being cancelled", self.job)?,
            JobPhase::Cancelled => writeln!(io::stdout(), "{} is cancelled", self.job)?,
            ended => return Err(format!("{} has {} already", self.job, ended.name()).into()),
        }
        Ok(())
    }
}
