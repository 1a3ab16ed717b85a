//! `mapreduce history JOB`: the audit of a job.

use std::io::{self, Write};

use crate::monitor;
use mapreduce_core::JobId;

use super::{
    Result,
    cluster::Cluster,
    table::{self, moment, or_dash},
};

/// Show every attempt of a job, in the order of launches.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job, such as job_7.
    job: JobId,
    /// As a JSON array.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: Cluster,
}

impl Args {
    pub async fn run(self) -> Result {
        let attempts = monitor::attempts(&self.cluster.find().await?, self.job).await?;
        let out = &mut io::stdout().lock();
        if self.json {
            return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&attempts)?)?);
        }
        let rows: Vec<_> = attempts
            .iter()
            .map(|attempt| {
                [
                    attempt.task.to_string(),
                    attempt.attempt.to_string(),
                    attempt.worker.to_string(),
                    moment(attempt.launched_at_ms),
                    or_dash(attempt.ended_at_ms.map(moment)),
                    attempt.outcome.name().to_owned(),
                ]
            })
            .collect();
        let header = ["TASK", "ATTEMPT", "WORKER", "START (UTC)", "END (UTC)", "OUTCOME"];
        Ok(table::write(out, header, &rows)?)
    }
}
