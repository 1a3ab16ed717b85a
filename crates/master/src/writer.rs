//! One task for each owned job that does its I/O, in the order in which the scheduler asked for it. It writes
//! the history before it lets assignments go out, and everything before the terminal record. It retries what
//! the stores refuse for now, for as long as it takes; it stops when the job has got another owner.

use std::{future::Future, time::Duration};

use mapreduce_coordination::{
    CoordinationError, Version,
    records::{self, RecordError},
};
use mapreduce_core::{
    AttemptId, Epoch, Failure, FailureKind, History, HistoryEvent, Incarnation, JobPhase, JobRecord,
    JobResult, Persisted, Plan, Stage, TaskId,
};
use mapreduce_storage::{self as storage, Created, Manifest, StorageError, paths};
use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};

use crate::{
    context::{Context, Input},
    recovery,
    scheduler::{Ending, Event},
};

/// Events that may wait in memory for the next launch to be written with.
const EVENTS_MAX: usize = 256;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What the scheduler asks of a job's stores.
pub(crate) enum Command {
    Record(HistoryEvent),
    /// Record the launch, then call `send`, which puts the assignment on the wire.
    Launch {
        event: HistoryEvent,
        send: Box<dyn FnOnce() + Send>,
    },
    Load,
    ReadMarker(TaskId),
    Seal(Stage),
    End(Ending),
}

/// Somebody else owns the job now, or it has ended.
struct Fenced;

pub(crate) struct Writer {
    context: Context,
    record: JobRecord,
    version: Version,
    is_new: bool,
    plan: Option<Plan>,
    /// Digest of the manifest that was sealed last.
    manifest: String,
    events: Vec<HistoryEvent>,
    sends: Vec<Box<dyn FnOnce() + Send>>,
    sequence: u64,
}

impl Writer {
    pub(crate) fn new(context: Context, record: JobRecord, version: Version, is_new: bool) -> Writer {
        let owned = HistoryEvent::Owned { owner: context.me.clone(), at_ms: context.clock.unix_ms() };
        Writer {
            context,
            record,
            version,
            is_new,
            plan: None,
            manifest: String::new(),
            events: vec![owned],
            sends: Vec::new(),
            sequence: 0,
        }
    }

    /// Serves until the job is gone or the other end of `commands` is.
    pub(crate) async fn serve(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut batch = Vec::new();
        while commands.recv_many(&mut batch, usize::MAX).await > 0 {
            for command in batch.drain(..) {
                match self.perform(command).await {
                    Ok(true) => {}
                    Ok(false) | Err(Fenced) => return self.gone(),
                }
            }
            if !self.sends.is_empty() || self.events.len() >= EVENTS_MAX {
                if self.flush().await.is_err() {
                    return self.gone();
                }
            }
        }
    }

    fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    fn tell(&self, event: Event) {
        self.context.tell(Input::Scheduler(event));
    }

    fn gone(&self) {
        self.tell(Event::Gone { job: self.record.job, epoch: self.epoch() });
    }

    /// Whether the job goes on.
    async fn perform(&mut self, command: Command) -> Result<bool, Fenced> {
        match command {
            Command::Record(event) => self.events.push(event),
            Command::Launch { event, send } => {
                self.events.push(event);
                self.sends.push(send);
            }
            Command::Load => self.load().await?,
            Command::ReadMarker(task) => {
                let (store, job) = (self.context.store.clone(), self.record.job);
                let marker = persist("read a marker", || storage::marker(&store, job, task)).await;
                let winner = match marker {
                    Ok(marker) => marker.map(|marker| marker.attempt),
                    Err(damaged) => return self.give_up(&damaged, Some(task)).await.map(|()| false),
                };
                self.tell(Event::MarkerRead { job, epoch: self.epoch(), task, winner });
            }
            Command::Seal(stage) => return self.seal(stage).await,
            Command::End(ending) => {
                self.end(ending).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn load(&mut self) -> Result<(), Fenced> {
        let (context, record, is_new) = (self.context.clone(), self.record.clone(), self.is_new);
        match persist("read the job's state", || recovery::load(&context, &record, is_new)).await {
            Ok(loaded) => {
                self.plan = Some(loaded.plan.clone());
                self.tell(Event::Loaded { job: record.job, epoch: record.epoch, loaded });
                Ok(())
            }
            Err(damaged) => self.give_up(&damaged, None).await,
        }
    }

    /// One object with all that has happened; after it the assignments in it may go out. A master that was
    /// stopped and woke up learns first whether the job is still its own: workers refuse what a former owner
    /// assigns, and the history must not tell of launches that never were.
    async fn flush(&mut self) -> Result<(), Fenced> {
        if !self.sends.is_empty() {
            self.reread().await?;
        }
        let history = History {
            epoch: self.epoch(),
            sequence: self.sequence,
            events: std::mem::take(&mut self.events),
        };
        let path = paths::history(self.record.job, history.epoch, history.sequence);
        let store = self.context.store.clone();
        match persist("write the history", || storage::create(&store, &path, &history)).await {
            Ok(Created::New | Created::Same) => {}
            // The name holds our epoch and our own count: only this task ever writes it.
            Ok(Created::Other(_)) => tracing::error!(%path, "somebody else has written our history"),
            Err(e) => tracing::error!(%path, "the history can't be written: {e}"),
        }
        self.sequence += 1;
        for send in self.sends.drain(..) {
            send();
        }
        Ok(())
    }

    async fn seal(&mut self, stage: Stage) -> Result<bool, Fenced> {
        let Some(plan) = self.plan.clone() else { return Ok(true) };
        let (store, job) = (self.context.store.clone(), self.record.job);
        let seal = || async {
            let markers = storage::markers(&store, job, stage).await?;
            let manifest = Manifest::new(&plan, stage, &markers)
                .map_err(|e| StorageError::NotFound { path: e.to_string() })?;
            let path = paths::manifest(job, stage);
            match storage::create(&store, &path, &manifest).await? {
                Created::New | Created::Same => Ok(manifest.digest()),
                Created::Other(_) => Err(StorageError::Damaged {
                    path: path.to_string(),
                    why: "it does not follow from the markers (invariant I7)".into(),
                }),
            }
        };
        match persist("write the manifest", seal).await {
            Ok(digest) => self.manifest = digest,
            Err(damaged) => return self.give_up(&damaged, None).await.map(|()| false),
        }
        if stage == Stage::Map {
            self.update(|record| record.phase = JobPhase::Reduce).await?;
        }
        self.tell(Event::Sealed { job, epoch: self.epoch() });
        Ok(true)
    }

    /// The result, then the terminal record. A result that is there already binds: an owner before us decided
    /// so from what was durable.
    async fn end(&mut self, ending: Ending) -> Result<(), Fenced> {
        self.flush().await?;
        let wanted = match ending {
            Ending::Succeeded => Some(JobResult::Succeeded { manifest: self.manifest.clone() }),
            Ending::Failed(failure) => Some(JobResult::Failed { failure }),
            Ending::Cancelled => None,
        };
        let mut phase = JobPhase::Cancelled;
        if let Some(wanted) = wanted {
            let (store, path) = (self.context.store.clone(), paths::result(self.record.job));
            let decided = persist("write the result", || storage::create(&store, &path, &wanted)).await;
            let result = match decided {
                Ok(Created::Other(bytes)) => JobResult::decode(&bytes).unwrap_or(wanted),
                Ok(Created::New | Created::Same) => wanted,
                Err(e) => {
                    tracing::error!(job = %self.record.job, "the result can't be written: {e}");
                    wanted
                }
            };
            phase = match result {
                JobResult::Succeeded { .. } => JobPhase::Succeeded,
                JobResult::Failed { .. } => JobPhase::Failed,
            };
        }
        // Whoever asked for the cancellation before this write succeeds is in the right.
        self.update(|record| record.phase = if record.cancel { JobPhase::Cancelled } else { phase }).await
    }

    /// Changes the job's record, at our epoch or not at all.
    async fn update(&mut self, change: impl Fn(&mut JobRecord)) -> Result<(), Fenced> {
        let mut pause = RETRY_FIRST;
        loop {
            let mut changed = self.record.clone();
            change(&mut changed);
            let old = (self.record.clone(), self.version);
            match records::update_job(self.context.coordinator.as_ref(), &old, &changed).await {
                Ok(version) => {
                    (self.record, self.version) = (changed, version);
                    return Ok(());
                }
                Err(RecordError::Coordination(CoordinationError::Conflict { .. })) => self.reread().await?,
                Err(RecordError::Coordination(CoordinationError::SessionLost)) => return Err(Fenced),
                Err(e) => {
                    tracing::warn!(job = %self.record.job, "the record can't be written: {e}");
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// After a conflict somebody asked for cancellation and we are still the owner, or we are not.
    async fn reread(&mut self) -> Result<(), Fenced> {
        let coordinator = self.context.coordinator.as_ref();
        match records::job(coordinator, self.record.job).await {
            Ok(Some((record, version)))
                if record.epoch == self.epoch()
                    && record.owner.as_ref() == Some(&self.context.me)
                    && !record.phase.is_terminal() =>
            {
                (self.record, self.version) = (record, version);
                Ok(())
            }
            Ok(_) => Err(Fenced),
            // `update` will come back here.
            Err(_) => Ok(()),
        }
    }

    /// What must be in storage is missing or damaged: no owner could go on, so the job ends and says so.
    async fn give_up(&mut self, why: &StorageError, task: Option<TaskId>) -> Result<(), Fenced> {
        tracing::error!(job = %self.record.job, "the job can't go on: {why}");
        let failure = Failure {
            task: task.unwrap_or(TaskId { stage: Stage::Map, index: 0 }),
            attempt: AttemptId { epoch: self.epoch(), number: 0 },
            worker: Incarnation::clone(&self.context.me),
            what: FailureKind::BadData,
            message: format!("the job's state in storage can't be used: {why}"),
            traceback: String::new(),
            record: None,
            pickled_exception: None,
            at_ms: self.context.clock.unix_ms(),
        };
        self.end(Ending::Failed(Box::new(failure))).await?;
        self.gone();
        Err(Fenced)
    }
}

/// Tries until the store answers. Only what no retry can mend is given back: missing or damaged objects.
async fn persist<T, F: Future<Output = Result<T, StorageError>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StorageError> {
    let mut pause = RETRY_FIRST;
    loop {
        match attempt().await {
            Err(e) if e.failure_kind() == FailureKind::Storage => {
                tracing::warn!("can't {what} yet: {e}");
                sleep(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
            done => return done,
        }
    }
}
