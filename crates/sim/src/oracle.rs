//! What must be true of a job after it has ended: its result is the one that a loop over the records gives, made of one
//! attempt a task; the audit holds; and if it failed, it had to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mapreduce_core::{
    AttemptId, Failure, HistoryEvent, JobPhase, JobResult, Persisted, Plan, Stage, TaskId,
    failure::FailureClass, history, invariants,
};
use mapreduce_executor::{Resources, keys, results};
use mapreduce_storage::{Manifest, Marker, paths};

use crate::{
    job::SimJob,
    laws,
    user_code::{Reduced, parse},
    world::World,
};

/// Looks at everything that is left of an ended job.
pub(crate) fn judge(world: &World, job: &SimJob) {
    let id = job.spec.job;
    let Some(record) = laws::record(world, id) else {
        return world.violate(format_args!("the record of {id} is gone"));
    };
    audit(world, job);
    budgets(world, job);
    match record.phase {
        JobPhase::Succeeded => succeeded(world, job),
        JobPhase::Failed => failed(world, job),
        JobPhase::Cancelled if world.state().cancelled.contains(&id) => {}
        other => world.violate(format_args!("{id} ended as {other:?}")),
    }
}

fn decoded<T: Persisted>(world: &World, path: &object_store::path::Path) -> Option<T> {
    T::decode(&world.disk().read(path)?).ok()
}

fn of_stage(world: &World, job: &SimJob, stage: Stage) -> BTreeMap<TaskId, Marker> {
    laws::markers(world, job.spec.job, stage).into_iter().map(|marker| (marker.task, marker)).collect()
}

/// The manifest of a stage, which names the winners.
fn sealed(world: &World, job: &SimJob, stage: Stage) -> Option<Manifest> {
    let Some(manifest) = decoded::<Manifest>(world, &paths::manifest(job.spec.job, stage)) else {
        world.violate(format_args!("the manifest of {stage} can't be read"));
        return None;
    };
    let winners =
        of_stage(world, job, stage).into_iter().map(|(task, marker)| (task, marker.attempt)).collect();
    let named: Vec<_> = manifest.entries.iter().map(|entry| entry.attempt).collect();
    world.uphold(invariants::manifest(Plan::new(&job.spec).tasks(stage), &named, &winners));
    Some(manifest)
}

fn succeeded(world: &World, job: &SimJob) {
    let id = job.spec.job;
    let (Some(map), Some(reduce)) = (sealed(world, job, Stage::Map), sealed(world, job, Stage::Reduce))
    else {
        return;
    };
    for marker in of_stage(world, job, Stage::Reduce).values() {
        let read = marker.input_manifest.as_ref();
        world.uphold(invariants::reduce_input(marker.task, read, Some(&map.digest())));
    }
    match decoded::<JobResult>(world, &paths::result(id)) {
        Some(JobResult::Succeeded { manifest }) if manifest == reduce.digest() => {}
        other => world.violate(format_args!("{id} succeeded, its result object says {other:?}")),
    }
    match read_result(world, job) {
        Ok(result) => right_result(world, job, result),
        Err(why) => world.violate(format_args!("the result of {id} can't be read: {why}")),
    }
}

type Result<T> = std::result::Result<T, String>;

fn read_result(world: &World, job: &SimJob) -> Result<Vec<(u8, Reduced)>> {
    let resources = Resources::local(world.disk().store(), 1 << 20, "/tmp".into());
    let mut merge = results::merge(&resources, job.spec.job).map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    while let Some(mut group) = merge.next_group().map_err(|e| e.to_string())? {
        let runs = group.values.collect().map_err(|e| e.to_string())?;
        let values: Bytes = runs.iter().flat_map(|run| run.bytes.iter().copied()).collect();
        let key = *group.key.get(key_at()).ok_or("a key without its byte")?;
        all.push((key, parse(&values).ok_or_else(|| format!("a result {values:?}"))?));
    }
    Ok(all)
}

/// Where a key's byte stands in its encoding.
fn key_at() -> usize {
    let mut encoded = Vec::new();
    keys::put_bytes(&mut encoded, keys::tag::BYTES, b"\x7f");
    encoded.iter().position(|byte| *byte == 0x7f).unwrap_or_default()
}

/// Every record once, with its key, from the attempt whose marker its task has.
fn right_result(world: &World, job: &SimJob, result: Vec<(u8, Reduced)>) {
    let mut winners = of_stage(world, job, Stage::Map);
    winners.extend(of_stage(world, job, Stage::Reduce));
    let won = |task: &TaskId, attempt: &AttemptId| winners.get(task).is_some_and(|m| m.attempt == *attempt);
    let mut seen = BTreeMap::new();
    for (key, Reduced { pairs, by: (task, attempt) }) in result {
        if !won(&task, &attempt) {
            world.violate(format_args!("a result was made by {task} {attempt}, which has no marker"));
        }
        for pair in pairs {
            if !won(&pair.task, &pair.attempt) {
                world.violate(format_args!(
                    "a pair was made by {} {}, which has no marker",
                    pair.task, pair.attempt
                ));
            }
            *seen.entry((pair.record, key)).or_insert(0) += 1;
        }
    }
    let right: BTreeMap<_, _> = (0..).zip(&job.keys).map(|(record, key)| ((record, *key), 1)).collect();
    if seen != right {
        world.violate(format_args!("{} has a wrong result: {seen:?} instead of {right:?}", job.spec.job));
    }
}

/// The audit: I1, I5 and I9 over all of it, and whatever ran was in it when the next owner read it.
fn audit(world: &World, job: &SimJob) {
    let id = job.spec.job;
    let all = futures::executor::block_on(mapreduce_storage::history(&world.disk().store(), id));
    let all = match all {
        Ok(all) => all,
        Err(e) => return world.violate(format_args!("the history of {id} can't be read: {e}")),
    };
    world.uphold(invariants::history(&all));
    let launched: BTreeSet<_> = history::told(&all)
        .filter_map(|event| match event {
            HistoryEvent::Launched { task, attempt, .. } => Some((*task, *attempt)),
            _ => None,
        })
        .collect();
    let begun = world.state().begun.clone();
    for (_, task, attempt) in begun.into_iter().filter(|(of, ..)| *of == id) {
        if !launched.contains(&(task, attempt)) {
            world.violate(format_args!("{task} {attempt} of {id} ran, and the history knows nothing of it"));
        }
    }
}

fn failures(world: &World, job: &SimJob) -> BTreeMap<TaskId, Vec<Failure>> {
    let all = futures::executor::block_on(mapreduce_storage::failures(&world.disk().store(), job.spec.job));
    all.unwrap_or_default()
}

fn n_counted(job: &SimJob, failures: &[Failure]) -> u32 {
    let counted = |f: &&Failure| f.what.class(job.spec.settings.retry_exceptions) == FailureClass::Counted;
    failures.iter().filter(counted).count() as u32
}

/// I13: nobody tries again what has used up its budget, as far as anybody could know.
fn budgets(world: &World, job: &SimJob) {
    for (task, mut failures) in failures(world, job) {
        let id = job.spec.job;
        failures.retain(|failure| !world.state().posthumous.contains(&(id, task, failure.attempt)));
        let (n, most) = (n_counted(job, &failures), job.spec.settings.max_attempts);
        if n > most {
            world.violate(format_args!("I13: {task} failed {n} times, {most} were allowed"));
        }
    }
}

/// A job that failed has a task that used up its budget, or met damage.
fn failed(world: &World, job: &SimJob) {
    let id = job.spec.job;
    let Some(JobResult::Failed { failure }) = decoded(world, &paths::result(id)) else {
        return world.violate(format_args!("{id} failed, its result object does not say so"));
    };
    let counted = failures(world, job).get(&failure.task).map_or(0, |all| n_counted(job, all));
    let had_to = counted >= job.spec.settings.max_attempts || world.state().n_damaged > 0;
    if !had_to {
        let Failure { task, attempt, what, message, .. } = *failure;
        let why = format!("{task} {attempt}: {message} ({what:?}), which is {counted} of its budget");
        world.violate(format_args!("{id} failed without need: {why}"));
    }
}
