//! Follows coordination: who is alive, which jobs have no living owner, which are to be cancelled. It takes
//! orphaned jobs by compare-and-set; exactly one master succeeds.

use std::{collections::BTreeSet, time::Duration};

use mapreduce_coordination::{
    CoordinationError, Version,
    records::{self, RecordError},
};
use mapreduce_core::{Epoch, Incarnation, JobId, JobRecord, Role};
use tokio::{sync::watch, time::sleep};

use crate::{
    context::{Context, Input},
    scheduler::Event,
};

/// How long to wait before a look that failed is repeated: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Runs until it is dropped.
pub(crate) async fn follow(context: Context) {
    let mut changes = context.coordinator.watch("/");
    // An ended job never changes again (I10), so it is read once.
    let mut ended = BTreeSet::new();
    let mut pause = None;
    loop {
        changes.borrow_and_update();
        pause = match look(&context, &mut ended).await {
            Ok(()) => None,
            Err(e) => {
                tracing::warn!("coordination can't be followed: {e}");
                Some(pause.map_or(RETRY_FIRST, |pause: Duration| (pause * 2).min(RETRY_MAX)))
            }
        };
        if !next_look(&mut changes, pause).await {
            return;
        }
    }
}

/// Returns at the next change, and after a look that failed when `pause` is over: a job that could not be taken, on a
/// full disk for instance, must be taken when there is room, and that is no change. False: there will be none.
async fn next_look(changes: &mut watch::Receiver<u64>, pause: Option<Duration>) -> bool {
    tokio::select! {
        biased;
        changed = changes.changed() => changed.is_ok(),
        () = sleep(pause.unwrap_or_default()), if pause.is_some() => true,
    }
}

async fn look(context: &Context, ended: &mut BTreeSet<JobId>) -> Result<(), RecordError> {
    let coordinator = context.coordinator.as_ref();
    let workers = records::incarnations(coordinator, Role::Worker).await?;
    context.tell(Input::Registered(workers));
    let alive: BTreeSet<_> = records::incarnations(coordinator, Role::Master).await?.into_iter().collect();
    let mut first_error = Ok(());
    for job in records::job_ids(coordinator).await? {
        if ended.contains(&job) {
            continue;
        }
        // A job that can't be read or taken keeps nobody from looking after the others.
        match look_at(context, job, &alive).await {
            Ok(has_ended) => {
                if has_ended {
                    ended.insert(job);
                }
            }
            Err(e) => first_error = first_error.and(Err(e)),
        }
    }
    first_error
}

/// Whether the job has ended.
async fn look_at(context: &Context, job: JobId, alive: &BTreeSet<Incarnation>) -> Result<bool, RecordError> {
    let Some((record, version)) = records::job(context.coordinator.as_ref(), job).await? else {
        return Ok(false);
    };
    let has_ended = record.phase.is_terminal();
    if has_ended {
        context.tell(Input::Lost(job));
    } else if record.owner.as_ref() == Some(&context.me) {
        let is_cancelled = record.cancel;
        // Known, unless nobody could tell whether the write that made it this master's took effect. At the first epoch
        // it was submitted here, and nobody else has ever had it.
        let is_new = record.epoch == Epoch(1);
        context.tell(Input::Taken { record, version, is_new });
        if is_cancelled {
            context.tell(Input::Scheduler(Event::CancelWanted { job }));
        }
    } else if is_owned(context, &record, alive).await? {
        context.tell(Input::Lost(job));
    } else {
        take(context, record, version).await?;
    }
    Ok(has_ended)
}

/// Whether the job's owner is registered: among those who were `alive` before the record was read, or since. One that is
/// in neither is gone for good.
async fn is_owned(
    context: &Context,
    record: &JobRecord,
    alive: &BTreeSet<Incarnation>,
) -> Result<bool, RecordError> {
    let Some(owner) = &record.owner else { return Ok(false) };
    Ok(alive.contains(owner) || records::is_alive(context.coordinator.as_ref(), owner).await?)
}

async fn take(context: &Context, record: JobRecord, version: Version) -> Result<(), RecordError> {
    let mine = JobRecord { owner: Some(context.me.clone()), epoch: record.epoch.next(), ..record.clone() };
    match records::update_job(context.coordinator.as_ref(), &(record, version), &mine).await {
        Ok(version) => {
            tracing::info!(job = %mine.job, epoch = %mine.epoch, "took over");
            context.tell(Input::Taken { record: mine, version, is_new: false });
            Ok(())
        }
        // Another master was faster.
        Err(RecordError::Coordination(CoordinationError::Conflict { .. })) => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_failed_is_repeated_although_nothing_changes() {
        let (change, mut changes) = watch::channel(0);
        let patience = Duration::from_secs(60);
        let again = next_look(&mut changes, Some(RETRY_FIRST));
        assert_eq!(tokio::time::timeout(patience, again).await, Ok(true));
        let waits = next_look(&mut changes, None);
        assert!(
            tokio::time::timeout(RETRY_FIRST, waits).await.is_err(),
            "one that did not fail is not repeated"
        );
        change.send_replace(1);
        assert!(next_look(&mut changes, None).await);
        drop(change);
        assert!(!next_look(&mut changes, None).await);
    }
}
