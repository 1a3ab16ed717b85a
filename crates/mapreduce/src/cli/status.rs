//! `mapreduce status JOB`: where a job and its tasks stand.

use std::io::{self, Write};

use crate::monitor;
use mapreduce_core::{JobId, Stage};

use super::{
    Result,
    cluster::Cluster,
    table::{self, moment, or_dash},
};

/// Show a job and its tasks.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job, such as job_7.
    job: JobId,
    #[command(flatten)]
    cluster: Cluster,
}

impl Args {
    pub async fn run(self) -> Result {
        let job = monitor::job(&self.cluster.find().await?, self.job).await?;
        let (record, progress) = (&job.record, &job.progress);
        let out = &mut io::stdout().lock();
        let cancel = if record.cancel && !record.phase.is_terminal() { " (to be cancelled)" } else { "" };
        writeln!(out, "job        {}", record.job)?;
        writeln!(out, "phase      {}{cancel}", record.phase.name())?;
        writeln!(out, "user       {}", record.user)?;
        writeln!(out, "submitted  {} UTC", moment(record.submitted_at_ms))?;
        writeln!(out, "owner      {}, epoch {}", or_dash(job.looked_after_by.as_ref()), record.epoch)?;
        writeln!(out, "map        {} of {} tasks", progress.map_done, progress.map_total)?;
        writeln!(out, "reduce     {} of {} tasks", progress.reduce_done, progress.reduce_total)?;
        writeln!(out, "failures   {}", job.failures)?;
        if let Some(trouble) = &job.trouble {
            writeln!(out, "waits      {trouble}")?;
        }
        for stage in [Stage::Map, Stage::Reduce] {
            let rows: Vec<_> = job
                .tasks
                .iter()
                .filter(|task| task.task.stage == stage)
                .map(|task| {
                    [
                        task.task.to_string(),
                        task.state.name().to_owned(),
                        or_dash(task.attempt),
                        or_dash(task.worker.as_ref()),
                        task.attempts.to_string(),
                    ]
                })
                .collect();
            writeln!(out)?;
            table::write(out, ["TASK", "STATE", "ATTEMPT", "WORKER", "ATTEMPTS"], &rows)?;
        }
        Ok(())
    }
}
