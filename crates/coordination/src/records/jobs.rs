//! `/jobs/<id>`: one [`JobRecord`] a job.

use mapreduce_core::{JobId, JobRecord, Persisted, ids::ParseIdError, invariants};

use super::{RecordError, Write, read, read_all};
use crate::{Coordinator, Lifetime, Version};

/// Where the records of jobs are.
pub const JOBS: &str = "/jobs";

fn path(job: JobId) -> String {
    format!("{JOBS}/{job}")
}

/// Makes the record of a new job. `AlreadyExists` if another record is there.
pub async fn create_job(c: &dyn Coordinator, record: &JobRecord) -> Result<Version, RecordError> {
    let write = Write::Create(record.encode().into(), Lifetime::Durable);
    Ok(write.apply(c, &path(record.job)).await?)
}

/// The job's record, if there is one.
pub async fn job(c: &dyn Coordinator, job: JobId) -> Result<Option<(JobRecord, Version)>, RecordError> {
    read(c, &path(job)).await
}

/// Replaces `old`, which must be the present record. A step that the protocol forbids (invariants I2 and I10)
/// is refused before anything is written.
pub async fn update_job(
    c: &dyn Coordinator,
    old: &(JobRecord, Version),
    new: &JobRecord,
) -> Result<Version, RecordError> {
    let (before, version) = old;
    let path = path(before.job);
    if let Err(violation) = invariants::job_record_step(before, new) {
        return Err(RecordError::Forbidden { path, violation });
    }
    Ok(Write::Set(new.encode().into(), *version).apply(c, &path).await?)
}

/// The ids of all jobs, in order.
pub async fn job_ids(c: &dyn Coordinator) -> Result<Vec<JobId>, RecordError> {
    let mut ids = Vec::new();
    for name in c.children(JOBS).await? {
        let foreign =
            |e: ParseIdError| RecordError::Foreign { path: format!("{JOBS}/{name}"), why: e.to_string() };
        ids.push(name.parse().map_err(foreign)?);
    }
    ids.sort_unstable();
    Ok(ids)
}

/// All jobs' records, by job id.
pub async fn jobs(c: &dyn Coordinator) -> Result<Vec<(JobRecord, Version)>, RecordError> {
    let mut found = read_all::<JobRecord>(c, JOBS).await?;
    found.sort_by_key(|(record, _)| record.job);
    Ok(found)
}

/// Removes the record that is at `version`.
pub async fn delete_job(c: &dyn Coordinator, job: JobId, version: Version) -> Result<(), RecordError> {
    Write::Delete(version).apply(c, &path(job)).await?;
    Ok(())
}
