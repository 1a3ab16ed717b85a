//! One task for each owned job that does its I/O. Objects begin to be written as soon as the scheduler has asked
//! for them; assignments go out when the history that tells of them, and all that was asked for before, is
//! durable, and the job is its owner's still; the terminal record is written last. It retries what the stores refuse
//! for now, for as long as it takes; it stops when the job has got another owner.

use std::{future::Future, time::Duration};

use mapreduce_coordination::{
    CoordinationError, Version,
    records::{self, RecordError},
};
use mapreduce_core::{
    AttemptId, Epoch, Failure, FailureKind, History, HistoryEvent, Incarnation, JobPhase, JobRecord,
    JobResult, OutputDescription, Persisted, Plan, Stage, TaskId,
};
use mapreduce_storage::{self as storage, Created, Manifest, StorageError, paths};
use object_store::path::Path;
use tokio::{sync::mpsc::UnboundedReceiver, task::JoinSet, time::sleep};

use crate::{
    context::{Context, Input},
    recovery,
    scheduler::{Ending, Event},
    shell::Dispatch,
};

/// Events that may wait in memory for the next launch to be written with.
const EVENTS_MAX: usize = 256;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What the scheduler asks of a job's stores.
pub(crate) enum Command {
    Record(HistoryEvent),
    /// Record the launch, then put the assignment on the wire.
    Launch {
        event: HistoryEvent,
        dispatch: Dispatch,
    },
    Load,
    ReadMarker(TaskId, Vec<AttemptId>),
    Seal(Stage),
    End(Ending),
}

/// Why the writer stops.
enum Stop {
    /// Somebody else owns the job now, or it has ended.
    Fenced,
    /// What must be in storage is missing or damaged: no owner could go on.
    Damaged(StorageError, Option<TaskId>),
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Stop::Damaged(error, None)
    }
}

pub(crate) struct Writer {
    context: Context,
    record: JobRecord,
    version: Version,
    is_new: bool,
    plan: Option<Plan>,
    output: Option<OutputDescription>,
    /// The manifest of the reduce stage, when it is sealed.
    manifest: Option<Manifest>,
    events: Vec<HistoryEvent>,
    dispatches: Vec<Dispatch>,
    sequence: u64,
    /// Objects that are on their way to storage.
    writes: JoinSet<Result<(), StorageError>>,
    /// The phase that the record is to show when they have arrived.
    next_phase: Option<JobPhase>,
}

impl Writer {
    pub(crate) fn new(context: Context, record: JobRecord, version: Version, is_new: bool) -> Writer {
        let (owner, at_ms) = (context.me.clone(), context.clock.unix_ms());
        let owned = HistoryEvent::Owned { owner, read: None, at_ms };
        Writer {
            context,
            record,
            version,
            is_new,
            plan: None,
            output: None,
            manifest: None,
            events: vec![owned],
            dispatches: Vec::new(),
            sequence: 0,
            writes: JoinSet::new(),
            next_phase: None,
        }
    }

    /// Serves until the job is gone or the other end of `commands` is.
    pub(crate) async fn serve(mut self, mut commands: UnboundedReceiver<Command>) {
        loop {
            match self.turn(&mut commands).await {
                Ok(true) => continue,
                Ok(false) => return,
                Err(Stop::Fenced) => {}
                Err(Stop::Damaged(why, task)) => self.give_up(&why, task).await,
            }
            return self.tell(Event::Gone { job: self.record.job, epoch: self.epoch() });
        }
    }

    /// Does what is asked for next. False when nobody will ask any more.
    async fn turn(&mut self, commands: &mut UnboundedReceiver<Command>) -> Result<bool, Stop> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            Some(written) = self.writes.join_next() => arrived(written)?,
            n = commands.recv_many(&mut batch, usize::MAX) => if n == 0 { return Ok(false) },
        }
        for command in batch {
            self.perform(command).await?;
        }
        if !self.dispatches.is_empty() || self.events.len() >= EVENTS_MAX {
            self.flush().await?;
        }
        if self.writes.is_empty() {
            self.advance().await?;
        }
        Ok(true)
    }

    fn epoch(&self) -> Epoch {
        self.record.epoch
    }

    fn tell(&self, event: Event) {
        self.context.tell(Input::Scheduler(event));
    }

    async fn perform(&mut self, command: Command) -> Result<(), Stop> {
        match command {
            Command::Record(event) => self.events.push(event),
            Command::Launch { event, dispatch } => {
                self.events.push(event);
                self.dispatches.push(dispatch);
            }
            Command::Load => self.load().await?,
            Command::ReadMarker(task, lost) => self.read_marker(task, lost).await?,
            Command::Seal(stage) => self.seal(stage).await?,
            Command::End(ending) => {
                self.end(ending).await?;
                return Err(Stop::Fenced); // by the job's own end
            }
        }
        Ok(())
    }

    async fn load(&mut self) -> Result<(), Stop> {
        let (context, record, is_new) = (self.context.clone(), self.record.clone(), self.is_new);
        let load = || recovery::load(&context, &record, is_new);
        let (loaded, has_read) = persist("read the job's state", load).await?;
        if let Some(HistoryEvent::Owned { read, .. }) = self.events.first_mut() {
            *read = Some(has_read);
        }
        // A pure function of the spec, as a manifest is one of the markers: whoever writes it writes these bytes.
        self.begin_write(paths::plan(record.job), loaded.plan.clone());
        self.plan = Some(loaded.plan.clone());
        self.output = loaded.output.clone();
        self.tell(Event::Loaded { job: record.job, epoch: record.epoch, loaded });
        Ok(())
    }

    async fn read_marker(&self, task: TaskId, lost: Vec<AttemptId>) -> Result<(), Stop> {
        let (store, job) = (self.context.store.clone(), self.record.job);
        let damaged = |damaged| Stop::Damaged(damaged, Some(task));
        let marker =
            persist("read a marker", || storage::marker(&store, job, task)).await.map_err(damaged)?;
        let failures = persist("read failures", || storage::task_failures(&store, job, task)).await;
        let failures = failures.map_err(damaged)?;
        let winner = marker.map(|marker| marker.attempt);
        self.tell(Event::MarkerRead { job, epoch: self.epoch(), task, winner, failures, lost });
        Ok(())
    }

    /// Begins to write what can have no other content. [`Writer::settle`] waits for it.
    fn begin_write<T: Persisted + Send + Sync + 'static>(&mut self, path: Path, object: T) {
        let store = self.context.store.clone();
        self.writes.spawn(async move {
            let what = format!("write {path}");
            match persist(&what, || storage::create(&store, &path, &object)).await? {
                Created::New | Created::Same => Ok(()),
                Created::Other(_) => Err(StorageError::Damaged {
                    path: path.to_string(),
                    why: "it holds something else than what follows from the job's state".into(),
                }),
            }
        });
    }

    /// Waits for all that is on its way.
    async fn settle(&mut self) -> Result<(), StorageError> {
        while let Some(written) = self.writes.join_next().await {
            arrived(written)?;
        }
        Ok(())
    }

    /// One object with all that has happened; after it the assignments in it may go out, if the job is still this
    /// master's, which may have been stopped for long. So the next owner, who has the job before it reads the history,
    /// finds every launch that was ever sent ([`mapreduce_core::history::told`]).
    async fn flush(&mut self) -> Result<(), Stop> {
        self.begin_history();
        self.settle().await?;
        self.advance().await?;
        if !self.dispatches.is_empty() {
            self.reread().await?;
        }
        self.dispatches.drain(..).for_each(Dispatch::send);
        Ok(())
    }

    /// Shows the next phase in the record, now that the manifest before it is durable. A reduce task must not start
    /// sooner: the next owner looks for the markers of the phase that the record shows.
    async fn advance(&mut self) -> Result<(), Stop> {
        match self.next_phase.take() {
            Some(phase) => self.update(|record| record.phase = phase).await,
            None => Ok(()),
        }
    }

    /// The name holds our epoch and our own count: only this task ever writes it.
    fn begin_history(&mut self) {
        let history = History {
            epoch: self.epoch(),
            sequence: self.sequence,
            events: std::mem::take(&mut self.events),
        };
        self.sequence += 1;
        self.begin_write(paths::history(self.record.job, history.epoch, history.sequence), history);
    }

    async fn seal(&mut self, stage: Stage) -> Result<(), Stop> {
        let Some(plan) = self.plan.clone() else { return Ok(()) };
        let (store, job) = (self.context.store.clone(), self.record.job);
        let outcomes = persist("read the markers", || storage::outcomes(&store, job, stage)).await?;
        let manifest = Manifest::new(&plan, stage, outcomes)
            .map_err(|e| StorageError::NotFound { path: e.to_string() })?;
        if stage == Stage::Reduce {
            self.manifest = Some(manifest.clone()); // what the end of the job is about
        }
        self.begin_write(paths::manifest(job, stage), manifest);
        if stage == Stage::Map {
            self.next_phase = Some(JobPhase::Reduce);
        }
        self.tell(Event::Sealed { job, epoch: self.epoch() });
        Ok(())
    }

    /// The result, then the terminal record. A result that is there already binds: an owner before us decided
    /// so from what was durable.
    async fn end(&mut self, ending: Ending) -> Result<(), Stop> {
        // A master that was stopped and woke up must not decide for the one that has the job now.
        self.reread().await?;
        let mut ending = ending;
        if let (Ending::Succeeded, Some(output)) = (&ending, self.output.clone()) {
            self.settle().await?;
            let published = self.publish(&output).await?;
            ending = published.map_or(Ending::Cancelled, |failed| failed.map_or(ending, Ending::Failed));
        }
        let wanted = match ending {
            Ending::Succeeded => {
                let manifest = self.manifest.as_ref().map(Manifest::digest).unwrap_or_default();
                Some(JobResult::Succeeded { manifest })
            }
            Ending::Failed(failure) => Some(JobResult::Failed { failure }),
            Ending::Cancelled => None,
        };
        self.begin_history();
        let (store, path) = (self.context.store.clone(), paths::result(self.record.job));
        let decide = async {
            let Some(wanted) = wanted else { return Ok(JobPhase::Cancelled) };
            let result = match persist("write the result", || storage::create(&store, &path, &wanted)).await?
            {
                Created::Other(bytes) => JobResult::decode(&bytes)
                    .map_err(|e| StorageError::Damaged { path: path.to_string(), why: e.to_string() })?,
                Created::New | Created::Same => wanted,
            };
            Ok::<_, StorageError>(match result {
                JobResult::Succeeded { .. } => JobPhase::Succeeded,
                JobResult::Failed { .. } => JobPhase::Failed,
            })
        };
        let (phase, settled) = tokio::join!(decide, self.settle());
        settled?;
        let phase = phase?;
        if phase != JobPhase::Succeeded
            && let Some(output) = &self.output
            && let Err(e) = mapreduce_formats::discard(output, self.record.job).await
        {
            tracing::warn!(job = %self.record.job, "what was written of the output stays: {e}");
        }
        // Whoever asked for the cancellation before this write succeeds is in the right.
        self.update(|record| {
            let cancelled = record.cancel && record.phase != JobPhase::Publish;
            record.phase = if cancelled { JobPhase::Cancelled } else { phase };
        })
        .await
    }

    /// Moves the files of the reduce tasks to where the user wants them. From its beginning on the job can't be
    /// cancelled: answers none if it was before, else why the output can't be published, if it can't.
    async fn publish(&mut self, output: &OutputDescription) -> Result<Option<Option<Box<Failure>>>, Stop> {
        self.update(|record| {
            if !record.cancel {
                record.phase = JobPhase::Publish;
            }
        })
        .await?;
        if self.record.phase != JobPhase::Publish {
            return Ok(None);
        }
        let entries = self.manifest.iter().flat_map(|manifest| &manifest.entries);
        let named = entries.zip(mapreduce_formats::part_names(output));
        let parts: Vec<_> = named
            .flat_map(|(entry, name)| {
                // Its path or URL ends with the name that the attempt gave it.
                let written = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
                entry.files.iter().map(move |file| (written(&file.path), name.clone()))
            })
            .collect();
        let mut pause = RETRY_FIRST;
        loop {
            match mapreduce_formats::publish(output, self.record.job, &parts).await {
                Ok(()) => return Ok(Some(None)),
                Err(e) if e.failure_kind() == FailureKind::Storage => {
                    tracing::warn!(job = %self.record.job, "the output can't be published yet: {e}");
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(e) => {
                    let message = format!("the output can't be published: {e}");
                    return Ok(Some(Some(Box::new(self.failure(None, message)))));
                }
            }
        }
    }

    /// A failure that is nobody's attempt's.
    fn failure(&self, task: Option<TaskId>, message: String) -> Failure {
        Failure {
            task: task.unwrap_or(TaskId { stage: Stage::Map, index: 0 }),
            attempt: AttemptId { epoch: self.epoch(), number: 0 },
            worker: Incarnation::clone(&self.context.me),
            what: FailureKind::BadData,
            message,
            traceback: String::new(),
            record: None,
            pickled_exception: None,
            at_ms: self.context.clock.unix_ms(),
        }
    }

    /// Changes the job's record, at our epoch or not at all.
    async fn update(&mut self, change: impl Fn(&mut JobRecord)) -> Result<(), Stop> {
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
                Err(RecordError::Coordination(CoordinationError::SessionLost)) => return Err(Stop::Fenced),
                Err(e) => {
                    tracing::warn!(job = %self.record.job, "the record can't be written: {e}");
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Looks whether the job is still ours: after a conflict somebody asked for cancellation, or it is not. While that
    /// can't be known, nothing is done in its owner's name.
    async fn reread(&mut self) -> Result<(), Stop> {
        let mut pause = RETRY_FIRST;
        loop {
            match records::job(self.context.coordinator.as_ref(), self.record.job).await {
                Ok(Some((record, version)))
                    if record.epoch == self.epoch()
                        && record.owner.as_ref() == Some(&self.context.me)
                        && !record.phase.is_terminal() =>
                {
                    (self.record, self.version) = (record, version);
                    return Ok(());
                }
                Ok(_) | Err(RecordError::Coordination(CoordinationError::SessionLost)) => {
                    return Err(Stop::Fenced);
                }
                Err(e) => {
                    tracing::warn!(job = %self.record.job, "the record can't be read: {e}");
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Ends a job that no owner could go on with, and says why.
    async fn give_up(&mut self, why: &StorageError, task: Option<TaskId>) {
        tracing::error!(job = %self.record.job, "the job can't go on: {why}");
        let message = format!("the job's state in storage can't be used: {why}");
        let failure = self.failure(task, message);
        while let Err(Stop::Damaged(e, _)) = self.end(Ending::Failed(Box::new(failure.clone()))).await {
            // One object after another turns out to be damaged; none is looked at twice, but the result.
            if matches!(&e, StorageError::Damaged { path, .. } if *path == paths::result(self.record.job).to_string())
            {
                let _ = self.update(|record| record.phase = JobPhase::Failed).await; // fenced: not ours to end
                return;
            }
        }
    }
}

/// What became of a write. One that was aborted ends with the writer.
fn arrived(written: Result<Result<(), StorageError>, tokio::task::JoinError>) -> Result<(), StorageError> {
    written.unwrap_or(Ok(()))
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
