//! Where objects are, nearly all of them a job's. The layout is written down here and nowhere else.
//!
//! ```text
//! cluster
//! jobs/job_7/spec  plan  result
//!            input/<input>.<n>                         code/<digest>
//!            side/<digest>
//!            attempts/<stage>/<task>.<attempt>         failures/<stage>/<task>/<attempt>
//!            commits/<stage>/<task>                    manifest/<stage>
//!            history/<epoch>-<sequence>
//! probe/<random>                                  what is tried on a store before it is used
//! ```
//!
//! Attempts have no directories of their own: on a local disk each would cost as many syncs as its output.

use mapreduce_core::{AttemptId, Epoch, JobId, Stage, TaskId};
use object_store::path::Path;

/// The [`Claim`](crate::Claim) of the storage's cluster.
pub fn claim() -> Path {
    Path::from("cluster")
}

/// The directory of all jobs.
pub fn jobs_dir() -> Path {
    Path::from("jobs")
}

/// The directory of one job.
pub fn job_dir(job: JobId) -> Path {
    jobs_dir().join(job.to_string())
}

/// What stands at `name` below the job's directory, as in a [`FileRef`](crate::FileRef) or a
/// [`Split`](mapreduce_core::Split).
pub fn in_job(job: JobId, name: &str) -> Path {
    Path::from(format!("{}/{name}", job_dir(job)))
}

/// The job's [`JobSpec`](mapreduce_core::JobSpec).
pub fn spec(job: JobId) -> Path {
    in_job(job, "spec")
}

/// The job's [`Plan`](mapreduce_core::Plan).
pub fn plan(job: JobId) -> Path {
    in_job(job, "plan")
}

/// The job's [`JobResult`](mapreduce_core::JobResult).
pub fn result(job: JobId) -> Path {
    in_job(job, "result")
}

/// The `n`th object of the records that were uploaded for one of the job's inputs.
pub fn input(job: JobId, input: u32, n: u32) -> Path {
    in_job(job, &input_name(input, n))
}

/// The same below the job's directory, as a [`Split`](mapreduce_core::Split) names it.
pub(crate) fn input_name(input: u32, n: u32) -> String {
    format!("input/{input}.{n}")
}

/// The user's functions; `digest` is the object's own.
pub fn code(job: JobId, digest: &str) -> Path {
    in_job(job, &format!("code/{digest}"))
}

/// What the user's functions read beside their records; `digest` is the object's own.
pub fn side_input(job: JobId, digest: &str) -> Path {
    in_job(job, &format!("side/{digest}"))
}

/// What one attempt writes.
pub fn attempt_output(job: JobId, task: TaskId, attempt: AttemptId) -> Path {
    in_job(job, &format!("attempts/{task}.{attempt}"))
}

/// The task's commit [`Marker`](crate::Marker).
pub fn marker(job: JobId, task: TaskId) -> Path {
    in_job(job, &format!("commits/{task}"))
}

/// The markers of one stage.
pub fn markers_dir(job: JobId, stage: Stage) -> Path {
    in_job(job, &format!("commits/{stage}"))
}

/// The task whose marker is at `path`; none if no marker has such a name.
pub(crate) fn marked_task(path: &Path) -> Option<TaskId> {
    below_job(path).strip_prefix("commits/")?.parse().ok()
}

/// The [`Failure`](mapreduce_core::Failure) of one attempt.
pub fn failure(job: JobId, task: TaskId, attempt: AttemptId) -> Path {
    in_job(job, &format!("failures/{task}/{attempt}"))
}

/// The failures of one task, or of all.
pub(crate) fn failures_dir(job: JobId, task: Option<TaskId>) -> Path {
    match task {
        Some(task) => in_job(job, &format!("failures/{task}")),
        None => in_job(job, "failures"),
    }
}

/// The stage's [`Manifest`](crate::Manifest).
pub fn manifest(job: JobId, stage: Stage) -> Path {
    in_job(job, &format!("manifest/{stage}"))
}

/// One [`History`](mapreduce_core::History) object. Padded with zeros, so that the names sort in the order of
/// what happened.
pub fn history(job: JobId, epoch: Epoch, sequence: u64) -> Path {
    in_job(job, &format!("history/{:010}-{sequence:010}", epoch.0))
}

/// The audit of the job.
pub fn history_dir(job: JobId) -> Path {
    in_job(job, "history")
}

/// The directories of the records that every job comes to have.
pub(crate) fn record_dirs(job: JobId) -> impl Iterator<Item = Path> {
    let markers = [Stage::Map, Stage::Reduce].map(|stage| markers_dir(job, stage));
    markers.into_iter().chain(["history", "manifest"].map(|name| in_job(job, name)))
}

/// The directories of what may be so small that it is in records instead.
pub(crate) fn data_dirs(job: JobId) -> impl Iterator<Item = Path> {
    let attempts = [Stage::Map, Stage::Reduce].map(|stage| in_job(job, &format!("attempts/{stage}")));
    attempts.into_iter().chain(["code", "input"].map(|name| in_job(job, name)))
}

/// The directories that hold those, the innermost first.
pub(crate) fn dirs_of_dirs(job: JobId) -> [Path; 4] {
    [in_job(job, "attempts"), in_job(job, "commits"), job_dir(job), jobs_dir()]
}

/// Where stores are tried.
pub(crate) fn probe_dir() -> Path {
    Path::from("probe")
}

/// The object of one trial.
pub(crate) fn probe(random: u64) -> Path {
    probe_dir().join(format!("{random:016x}"))
}

/// `path` as a job's own records name it: without `jobs/job_7/`.
pub fn below_job(path: &Path) -> String {
    path.parts().skip(2).map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_layout_is_the_documented_one() {
        let (job, task) = (JobId(7), TaskId { stage: Stage::Map, index: 12 });
        let attempt = AttemptId { epoch: Epoch(2), number: 1 };
        let below: Vec<String> = [
            spec(job),
            input(job, 0, 3),
            code(job, "ab12"),
            side_input(job, "cd34"),
            attempt_output(job, task, attempt),
            marker(job, task),
            failure(job, task, attempt),
            failures_dir(job, None),
            failures_dir(job, Some(task)),
            manifest(job, Stage::Reduce),
            history(job, Epoch(3), 17),
        ]
        .iter()
        .map(|path| path.to_string().strip_prefix("jobs/job_7/").unwrap().to_owned())
        .collect();
        let expected = [
            "spec",
            "input/0.3",
            "code/ab12",
            "side/cd34",
            "attempts/map/12.2-1",
            "commits/map/12",
            "failures/map/12/2-1",
            "failures",
            "failures/map/12",
            "manifest/reduce",
            "history/0000000003-0000000017",
        ];
        assert_eq!(below, expected);
        assert_eq!(below_job(&marker(job, task)), "commits/map/12");
        assert_eq!(marked_task(&marker(job, task)), Some(task));
        assert_eq!(marked_task(&attempt_output(job, task, attempt)), None);
    }

    proptest! {
        #[test]
        fn history_names_sort_as_what_happened(a: (u32, u32), b: (u32, u32)) {
            let name = |(epoch, sequence): (u32, u32)| history(JobId(1), Epoch(epoch.into()), sequence.into());
            prop_assert_eq!(name(a).cmp(&name(b)), a.cmp(&b));
        }
    }
}
