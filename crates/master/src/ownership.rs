//! Follows coordination: who is alive, which jobs have no living owner, which are to be cancelled. It takes
//! orphaned jobs by compare-and-set; exactly one master succeeds.

use std::collections::BTreeSet;

use mapreduce_coordination::{
    CoordinationError, Version,
    records::{self, RecordError},
};
use mapreduce_core::{Incarnation, JobId, JobRecord, Role};

use crate::{
    context::{Context, Input},
    scheduler::Event,
};

/// Runs until it is dropped.
pub(crate) async fn follow(context: Context) {
    let mut changes = context.coordinator.watch("/");
    // An ended job never changes again (I10), so it is read once.
    let mut ended = BTreeSet::new();
    loop {
        changes.borrow_and_update();
        if let Err(e) = look(&context, &mut ended).await {
            // Jobs that run go on; the next change, or the store's return, brings us here again.
            tracing::warn!("coordination can't be followed: {e}");
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn look(context: &Context, ended: &mut BTreeSet<JobId>) -> Result<(), RecordError> {
    let coordinator = context.coordinator.as_ref();
    let workers = records::members(coordinator, Role::Worker).await?;
    context.tell(Input::Registered(workers.into_iter().map(|member| member.incarnation).collect()));
    let masters = records::members(coordinator, Role::Master).await?;
    let alive: BTreeSet<Incarnation> = masters.into_iter().map(|member| member.incarnation).collect();
    for job in records::job_ids(coordinator).await? {
        if ended.contains(&job) {
            continue;
        }
        let Some((record, version)) = records::job(coordinator, job).await? else { continue };
        if record.phase.is_terminal() {
            ended.insert(job);
            context.tell(Input::Lost(job));
        } else if record.owner.as_ref() == Some(&context.me) {
            if record.cancel {
                context.tell(Input::Scheduler(Event::CancelWanted { job }));
            }
        } else if record.owner.as_ref().is_some_and(|owner| alive.contains(owner)) {
            context.tell(Input::Lost(job));
        } else {
            take(context, record, version).await?;
        }
    }
    Ok(())
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
