//! `mapreduce jobs`: every job of a cluster.

use std::io;

use crate::monitor;

use super::{
    Result,
    cluster::Cluster,
    table::{self, moment, or_dash},
};

/// List the jobs of a cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: Cluster,
}

impl Args {
    pub async fn run(self) -> Result {
        let snapshot = monitor::snapshot(&self.cluster.find().await?).await?;
        let rows: Vec<_> = snapshot
            .jobs
            .iter()
            .map(|job| {
                let (record, progress) = (&job.record, &job.progress);
                [
                    record.job.to_string(),
                    record.phase.name().to_owned(),
                    format!("{}/{}", progress.map_done, progress.map_total),
                    format!("{}/{}", progress.reduce_done, progress.reduce_total),
                    or_dash(record.requested_n_workers),
                    or_dash(job.looked_after_by.as_ref()),
                    record.user.clone(),
                    moment(record.submitted_at_ms),
                ]
            })
            .collect();
        let header = ["JOB", "PHASE", "MAP", "REDUCE", "WORKERS", "OWNER", "USER", "SUBMITTED (UTC)"];
        Ok(table::write(&mut io::stdout().lock(), header, &rows)?)
    }
}
