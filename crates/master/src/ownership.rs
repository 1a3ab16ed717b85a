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
    let mut follower = Follower::new(context);
    let mut pause = None;
    loop {
        pause = match follower.look().await {
            Ok(()) => None,
            Err(e) => {
                tracing::warn!("coordination can't be followed: {e}");
                Some(pause.map_or(RETRY_FIRST, |pause: Duration| (pause * 2).min(RETRY_MAX)))
            }
        };
        if !next_look(follower.changes(), pause).await {
            return;
        }
        if pause.is_some() {
            follower.mark_changed();
        }
    }
}

struct Follower {
    context: Context,
    workers_change: watch::Receiver<u64>,
    masters_change: watch::Receiver<u64>,
    jobs_change: watch::Receiver<u64>,
    /// The masters, as they were read last.
    alive: BTreeSet<Incarnation>,
    /// An ended job never changes again (I10), so it is read once.
    ended: BTreeSet<JobId>,
}

impl Follower {
    fn new(context: Context) -> Follower {
        let watch = |directory| context.coordinator.watch(directory);
        let mut follower = Follower {
            workers_change: watch(records::directory(Role::Worker)),
            masters_change: watch(records::directory(Role::Master)),
            jobs_change: watch(records::JOBS),
            context,
            alive: BTreeSet::new(),
            ended: BTreeSet::new(),
        };
        follower.mark_changed();
        follower
    }

    /// Copies: what is waited for there is not noted here.
    fn changes(&self) -> [watch::Receiver<u64>; 3] {
        [&self.workers_change, &self.masters_change, &self.jobs_change].map(Clone::clone)
    }

    fn mark_changed(&mut self) {
        self.workers_change.mark_changed();
        self.masters_change.mark_changed();
        self.jobs_change.mark_changed();
    }

    /// Looks at what has changed.
    async fn look(&mut self) -> Result<(), RecordError> {
        let coordinator = self.context.coordinator.as_ref();
        if take_note(&mut self.workers_change) {
            let workers = records::incarnations(coordinator, Role::Worker).await?;
            self.context.tell(Input::Registered(workers));
        }
        let have_masters_changed = take_note(&mut self.masters_change);
        if have_masters_changed {
            let masters = records::incarnations(coordinator, Role::Master).await?;
            self.alive = masters.into_iter().collect();
        }
        if !take_note(&mut self.jobs_change) && !have_masters_changed {
            return Ok(());
        }
        let mut first_error = Ok(());
        for job in records::job_ids(coordinator).await? {
            if self.ended.contains(&job) {
                continue;
            }
            // A job that can't be read or taken keeps nobody from looking after the others.
            match look_at(&self.context, job, &self.alive).await {
                Ok(has_ended) => {
                    if has_ended {
                        self.ended.insert(job);
                    }
                }
                Err(e) => first_error = first_error.and(Err(e)),
            }
        }
        first_error
    }
}

/// Returns at the next change, or after a look that failed when `pause` is over: a job that could not be taken, on a full
/// disk for instance, must be taken when there is room, and that is no change. False: there will be none.
async fn next_look(changes: [watch::Receiver<u64>; 3], pause: Option<Duration>) -> bool {
    if let Some(pause) = pause {
        sleep(pause).await;
        return true;
    }
    let [mut workers, mut masters, mut jobs] = changes;
    tokio::select! {
        changed = workers.changed() => changed.is_ok(),
        changed = masters.changed() => changed.is_ok(),
        changed = jobs.changed() => changed.is_ok(),
    }
}

/// Whether something has changed since this was asked last. If nobody tells of changes any more, it may have.
fn take_note(changes: &mut watch::Receiver<u64>) -> bool {
    let has_changed = changes.has_changed().unwrap_or(true);
    changes.borrow_and_update();
    has_changed
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
        let patience = Duration::from_secs(60);
        let channels: [_; 3] = std::array::from_fn(|_| watch::channel(0));
        let changes = || std::array::from_fn(|i| channels[i].1.clone());
        let again = next_look(changes(), Some(RETRY_FIRST));
        assert_eq!(tokio::time::timeout(patience, again).await, Ok(true));
        let waits = next_look(changes(), None);
        assert!(
            tokio::time::timeout(RETRY_FIRST, waits).await.is_err(),
            "one that did not fail is not repeated"
        );
    }

    #[tokio::test]
    async fn any_change_is_waited_for_and_still_there_to_be_noted() {
        let patience = Duration::from_secs(60);
        for n in 0..3 {
            let mut channels: [_; 3] = std::array::from_fn(|_| watch::channel(0));
            channels[n].0.send_replace(1);
            let changed = next_look(std::array::from_fn(|i| channels[i].1.clone()), None);
            assert_eq!(tokio::time::timeout(patience, changed).await, Ok(true), "channel {n}");
            assert_eq!(
                channels.each_mut().map(|(_, changes)| take_note(changes)),
                std::array::from_fn(|i| i == n)
            );
        }
    }

    #[test]
    fn a_change_is_noted_once() {
        let (change, mut changes) = watch::channel(0);
        assert!(!take_note(&mut changes));
        change.send_replace(1);
        assert!(take_note(&mut changes));
        assert!(!take_note(&mut changes));
        drop(change);
        assert!(take_note(&mut changes), "nobody tells of changes any more");
    }
}
