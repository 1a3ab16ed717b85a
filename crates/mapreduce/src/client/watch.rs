//! Watching a job, over the death of any master.

use std::{sync::Arc, time::Duration};

use futures::{Stream, stream};
use mapreduce_coordination::{
    CoordinationError,
    records::{self, RecordError},
};
use mapreduce_core::{Epoch, Incarnation, JobId, JobPhase, JobRecord};
use mapreduce_rpc::{BadField, control, parse};
use serde::Serialize;
use tokio::time::sleep;
use tonic::{Request, Streaming};

use super::{ClientError, Inner, error::is_broken, masters::Master};

/// Before coordination that could not be read is read again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobUpdate {
    /// The job.
    pub job: JobId,
    /// Its phase.
    pub phase: JobPhase,
    /// Somebody wants it cancelled.
    pub cancel: bool,
    /// The master that carries it on.
    pub owner: Option<Incarnation>,
    /// How often the owner changed.
    pub epoch: Epoch,
}

impl TryFrom<control::JobUpdate> for JobUpdate {
    type Error = BadField;
    fn try_from(update: control::JobUpdate) -> Result<Self, BadField> {
        Ok(JobUpdate {
            job: parse(&update.job)?,
            phase: parse(&update.phase)?,
            cancel: update.cancel,
            owner: if update.owner.is_empty() { None } else { Some(parse(&update.owner)?) },
            epoch: Epoch(update.epoch),
        })
    }
}

impl From<JobRecord> for JobUpdate {
    fn from(record: JobRecord) -> Self {
        let JobRecord { job, phase, cancel, owner, epoch, .. } = record;
        JobUpdate { job, phase, cancel, owner, epoch }
    }
}

/// A watch in progress.
struct Watch {
    inner: Arc<Inner>,
    job: JobId,
    /// The master that tells us, while one does.
    open: Option<(Master, Streaming<control::JobUpdate>)>,
    /// The last update: a new master begins with what the old one has said.
    last: Option<JobUpdate>,
    ended: bool,
}

pub(super) fn watch(
    inner: Arc<Inner>,
    job: JobId,
) -> impl Stream<Item = Result<JobUpdate, ClientError>> + Send {
    let begin = Watch { inner, job, open: None, last: None, ended: false };
    stream::unfold(begin, async |mut watch| {
        let next = watch.next().await.transpose()?;
        watch.ended |= next.is_err();
        Some((next, watch))
    })
}

impl Watch {
    /// The next change; none after the terminal one.
    async fn next(&mut self) -> Result<Option<JobUpdate>, ClientError> {
        while !self.ended {
            let told = match self.open.take() {
                Some((master, updates)) => self.listen(master, updates).await,
                None => self.connect_or_wait().await,
            };
            let update = match told {
                // The job goes on, and its end will be there to be read.
                Err(ClientError::Coordination(RecordError::Coordination(
                    error @ CoordinationError::Unavailable { .. },
                ))) => {
                    tracing::warn!("{} is watched again in {RETRY_PAUSE:?}: {error}", self.job);
                    sleep(RETRY_PAUSE).await;
                    continue;
                }
                told => told?,
            };
            if let Some(update) = update.filter(|update| self.last.as_ref() != Some(update)) {
                self.ended = update.phase.is_terminal();
                self.last = Some(update.clone());
                return Ok(Some(update));
            }
        }
        Ok(None)
    }

    /// The next message of an open stream, which stays open unless it broke or its master is gone.
    async fn listen(
        &mut self,
        master: Master,
        mut updates: Streaming<control::JobUpdate>,
    ) -> Result<Option<JobUpdate>, ClientError> {
        let message = tokio::select! {
            message = updates.message() => message,
            gone = self.inner.masters.gone(&master.incarnation) => return Ok(gone.map(|()| None)?),
        };
        match message {
            Ok(Some(update)) => {
                self.open = Some((master, updates));
                Ok(Some(update.try_into()?))
            }
            Ok(None) => Ok(None),
            Err(status) if is_broken(&status) => Ok(None),
            Err(status) => Err(master.error(status)),
        }
    }

    /// Asks any live master. When none answers: the record, if it tells of an end, else waits for a change.
    async fn connect_or_wait(&mut self) -> Result<Option<JobUpdate>, ClientError> {
        let inner = self.inner.clone();
        let mut masters_change = inner.masters.changes();
        let mut jobs_change = inner.masters.coordinator.watch(records::JOBS);
        masters_change.borrow_and_update();
        jobs_change.borrow_and_update();
        for master in inner.masters.live().await? {
            let mut request = Request::new(control::WatchRequest { job: self.job.to_string() });
            inner.credentials.attach(&mut request);
            let mut client = master.client();
            let opened = tokio::select! {
                opened = client.watch(request) => opened,
                gone = inner.masters.gone(&master.incarnation) => { gone?; continue }
            };
            match opened {
                Ok(updates) => {
                    self.open = Some((master, updates.into_inner()));
                    return Ok(None);
                }
                Err(status) if is_broken(&status) => {}
                Err(status) => return Err(master.error(status)),
            }
        }
        let record = records::job(&*inner.masters.coordinator, self.job).await?;
        let (record, _) = record.ok_or_else(|| ClientError::no_such_job(self.job))?;
        if record.phase.is_terminal() {
            return Ok(Some(record.into()));
        }
        // An error means that coordination was closed; the next read says so.
        tokio::select! { _ = masters_change.changed() => {}, _ = jobs_change.changed() => {} }
        Ok(None)
    }
}
