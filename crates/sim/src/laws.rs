//! What must hold at every step: the invariants of the protocol, looked at whenever something in the stores changes or is
//! read. Those that are pure functions of data are the ones that the code itself calls.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::FutureExt;
use mapreduce_core::{
    AttemptId, Audit, Content, Epoch, History, HistoryEvent, JobId, JobPhase, JobRecord, Persisted, Stage,
    TaskId, invariants,
};
use mapreduce_rpc::control::{Assign, MasterMessage, master_message::Message};
use mapreduce_storage::{FileRef, Marker, paths};
use object_store::path::Path;
use tonic::Status;

use crate::{
    job,
    process::Process,
    world::{SimClock, World},
};

/// What an object is, by its name.
enum Kind {
    Marker(TaskId),
    Failure(TaskId, AttemptId),
    History,
    Attempt,
    Result,
    /// Written once, always with the same bytes.
    Once,
    Other,
}

/// The job and the kind of the object at `path`; none for what is nobody's.
fn kind(path: &Path) -> Option<(JobId, Kind)> {
    let parts: Vec<_> = path.parts().map(|part| part.as_ref().to_owned()).collect();
    let [jobs, job, rest @ ..] = parts.as_slice() else { return None };
    let job = job.parse().ok().filter(|_| jobs == "jobs")?;
    let kind = match rest.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["commits", stage, task] => Kind::Marker(format!("{stage}/{task}").parse().ok()?),
        ["failures", stage, task, attempt] => {
            Kind::Failure(format!("{stage}/{task}").parse().ok()?, attempt.parse().ok()?)
        }
        ["history", _] => Kind::History,
        ["attempts", ..] => Kind::Attempt,
        ["result"] => Kind::Result,
        ["spec" | "plan"] | ["manifest", _] => Kind::Once,
        _ => Kind::Other,
    };
    Some((job, kind))
}

/// Whether a job is there and has not ended, as coordination shows.
fn is_live(world: &World, job: JobId) -> bool {
    record(world, job).is_some_and(|record| !record.phase.is_terminal())
}

pub(crate) fn record(world: &World, job: JobId) -> Option<JobRecord> {
    let coordinator = world.coordination().open(None).ok()?;
    let entry = coordinator.get(&format!("/jobs/{job}")).now_or_never()?.ok()??;
    JobRecord::decode(&entry.value).ok()
}

/// An object takes effect.
pub(crate) fn written(process: &Process, path: &Path, before: Option<&Bytes>, now: &Bytes) {
    let world = process.world();
    let Some((job, kind)) = kind(path) else { return };
    match kind {
        Kind::Marker(task) => {
            world.uphold(invariants::marker_step(task, before, Some(now)));
            match Marker::decode(now) {
                Ok(marker) => names_what_is_there(world, job, &marker),
                Err(e) => world.violate(format_args!("I4: a marker of {task} that can't be read: {e}")),
            }
        }
        // Who has died meanwhile told nobody of it, and no owner could know of it before.
        Kind::Failure(task, attempt) if process.is_dead() => {
            world.state().posthumous.insert((job, task, attempt));
        }
        Kind::Result => world.uphold(invariants::result_step(before, Some(now))),
        Kind::Once if before.is_some_and(|before| before != now) => {
            world.violate(format_args!("I3 or I7: {path} is written again with other bytes"));
        }
        Kind::History => match History::decode(now) {
            Ok(history) => {
                launches_what_is_open(process, job, &history);
                note_late_launches(world, job, &history);
            }
            Err(e) => world.violate(format_args!("{path} can't be read: {e}")),
        },
        _ => {}
    }
}

/// I4.
fn names_what_is_there(world: &World, job: JobId, marker: &Marker) {
    let is_whole = |file: &FileRef| {
        let found = match &file.content {
            Some(Content(bytes)) => Some(Bytes::copy_from_slice(bytes)),
            None => world.disk().read(&paths::in_job(job, &file.path)),
        };
        found.is_some_and(|found| found.len() as u64 == file.length && crc32c::crc32c(&found) == file.crc32c)
    };
    let one = [(marker.task, marker.attempt)].into();
    world.uphold(invariants::marked_data(&one, |_, _| marker.files.iter().all(is_whole)));
}

/// I9: a launch that was decided on when its owner had seen the task's marker.
fn launches_what_is_open(process: &Process, job: JobId, history: &History) {
    let world = process.world();
    for event in &history.events {
        let HistoryEvent::Launched { task, attempt, at_ms, .. } = event else { continue };
        let decided_ms = SimClock::world_ms(*at_ms, process.clock_ahead_ms());
        let seen_ms = world.state().seen_markers.get(&(process.name().to_owned(), job, *task)).copied();
        if seen_ms.is_some_and(|seen_ms| seen_ms < decided_ms) {
            world
                .violate(format_args!("I9: {task} {attempt} of {job} is launched after its marker was seen"));
        }
    }
}

/// Launches that whoever owns the job now may not find: it had the job before they were written down.
fn note_late_launches(world: &World, job: JobId, history: &History) {
    if record(world, job).is_some_and(|record| record.epoch > history.epoch) {
        for event in &history.events {
            if let HistoryEvent::Launched { task, attempt, .. } = event {
                world.state().late_launches.insert((job, *task, *attempt));
            }
        }
    }
}

/// A master says something to a worker.
pub(crate) fn said(master: &Process, message: &Result<MasterMessage, Status>) {
    let Ok(MasterMessage { message: Some(Message::Assign(assign)) }) = message else { return };
    let Assign { job, task, attempt, .. } = assign;
    let (Ok(id), Ok(of), Ok(number)) = (job.parse(), task.parse(), attempt.parse()) else { return };
    let world = master.world();
    if world.state().late_launches.contains(&(id, of, number)) {
        world.violate(format_args!(
            "{task} {attempt} of {job} is sent, and the next owner could not know of it"
        ));
    }
}

/// A process has read an object.
pub(crate) fn read(process: &Process, path: &Path, bytes: &Bytes) {
    if let Some((job, Kind::Marker(task))) = kind(path)
        && Marker::decode(bytes).is_ok()
    {
        let now_ms = process.world().now_ms();
        process.world().state().seen_markers.entry((process.name().to_owned(), job, task)).or_insert(now_ms);
    }
}

/// I11: what a live job may read goes, or a marker, or all that can be read of a job.
pub(crate) fn deleted(process: &Process, path: &Path) {
    let world = process.world();
    let Some((job, kind)) = kind(path).filter(|(job, _)| is_live(world, *job)) else { return };
    match kind {
        Kind::Attempt => {
            for stage in [Stage::Map, Stage::Reduce] {
                let named = markers(world, job, stage).iter().any(|marker| names(job, marker, path));
                if named {
                    world.violate(format_args!("I11: {path}, which a marker names, is deleted"));
                }
            }
        }
        Kind::Marker(task) => {
            let marker = world.disk().read(path);
            world.uphold(invariants::marker_step(task, marker.as_ref(), None));
        }
        Kind::History | Kind::Result | Kind::Once => {
            world.violate(format_args!("I11: {path} is deleted while its job lives"));
        }
        Kind::Failure(..) | Kind::Other => {}
    }
}

fn names(job: JobId, marker: &Marker, path: &Path) -> bool {
    marker.files.iter().any(|file| file.content.is_none() && paths::in_job(job, &file.path) == *path)
}

/// The markers of a stage, as they lie on the disk.
pub(crate) fn markers(world: &World, job: JobId, stage: Stage) -> Vec<Marker> {
    let all = world.disk().list(&paths::markers_dir(job, stage));
    all.iter().filter_map(|path| Marker::decode(&world.disk().read(path)?).ok()).collect()
}

/// I6: a listing that would show the attempts of a job that lives.
pub(crate) fn listed(process: &Process, prefix: Option<&Path>) {
    let world = process.world();
    let shows = |job: &JobId| {
        let attempts = paths::in_job(*job, "attempts");
        prefix.is_none_or(|prefix| attempts.prefix_matches(prefix) || prefix.prefix_matches(&attempts))
    };
    for job in job::all().into_iter().filter(|job| shows(job) && is_live(world, *job)) {
        world.violate(format_args!("I6: the attempts of {job} are listed"));
    }
}

/// I2, I7 and I10: an entry of coordination changes.
pub(crate) fn set(process: &Process, path: &str, before: &Bytes, now: &Bytes) {
    if !path.starts_with("/jobs/") {
        return;
    }
    match (JobRecord::decode(before), JobRecord::decode(now)) {
        (Ok(before), Ok(now)) => {
            let world = process.world();
            world.uphold(invariants::job_record_step(&before, &now));
            shows_what_is_written(world, &now);
        }
        _ => process.world().violate(format_args!("{path} can't be read")),
    }
}

/// What a record shows has been written before: the next owner, or whoever reads the history of an ended job, relies on it.
fn shows_what_is_written(world: &World, record: &JobRecord) {
    let (job, phase) = (record.job, record.phase);
    let is_sealed = world.disk().read(&paths::manifest(job, Stage::Map)).is_some();
    let needs_manifest = matches!(phase, JobPhase::Reduce | JobPhase::Publish | JobPhase::Succeeded);
    if needs_manifest && !is_sealed {
        world.violate(format_args!("I7: {job} is shown as {} and has no manifest", phase.name()));
    }
    // An owner that was shown damage knows nothing of what runs.
    if phase.is_terminal() && world.state().n_damaged == 0 {
        for (task, attempt) in without_end(world, job, record.epoch) {
            world.violate(format_args!(
                "{job} has ended, and its history does not tell how {task} {attempt} did"
            ));
        }
    }
}

/// Attempts of one owner, launched or adopted, that it has told no end of.
fn without_end(world: &World, job: JobId, epoch: Epoch) -> BTreeSet<(TaskId, AttemptId)> {
    let all = world.disk().list(&paths::history_dir(job));
    let all = all.iter().filter_map(|path| History::decode(&world.disk().read(path)?).ok());
    let of_owner: Vec<_> = all.filter(|history| history.epoch == epoch).collect();
    of_owner.iter().collect::<Audit>().open
}

/// I1: an attempt begins.
pub(crate) fn begins(process: &Process, job: JobId, task: TaskId, attempt: AttemptId) {
    let is_new = process.world().state().begun.insert((job, task, attempt));
    if !is_new {
        process.world().violate(format_args!("I1: {task} {attempt} of {job} begins twice"));
    }
}
