//! The client of a cluster: every call goes to any live master, and to another one when that dies.

mod error;
mod masters;
mod watch;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::Stream;
use mapreduce_coordination::records;
use mapreduce_core::{Failure, JobId, JobPhase, JobResult, JobSpec, Persisted};
use mapreduce_rpc::{
    control::{
        CancelRequest, ClearRequest, LoginRequest, ReserveRequest, SubmitRequest, jobs_client::JobsClient,
    },
    headers::Credentials,
    parse,
};
use mapreduce_storage::{Store, paths};
use tonic::{Request, Response, Status, transport::Channel};

pub(crate) use self::error::with_sources;
use self::masters::Masters;
pub use self::{error::ClientError, watch::JobUpdate};
use crate::ClusterUrls;

/// How long a call that can't wait looks for a master.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long masters are left alone that could not do it.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Why no master has done what was asked, the last time that all were asked.
#[derive(Debug, Default)]
struct Refusals {
    /// What one said that answered.
    said: Option<String>,
    /// Those that could not be reached.
    unreachable: Vec<String>,
}

/// A cluster's client. Clones share connections. Must be made and used within one tokio runtime.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    urls: ClusterUrls,
    credentials: Credentials,
    connect_timeout: Duration,
    masters: Masters,
    store: Store,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// Its result is what `manifest/reduce` in storage names.
    Succeeded,
    /// A task failed for good.
    Failed(Box<Failure>),
    /// It was cancelled.
    Cancelled,
}

impl Client {
    /// A client of the cluster at `urls`. Talks to no master yet; wrong credentials show at the first call.
    pub async fn new(urls: ClusterUrls, credentials: Credentials) -> Result<Client, ClientError> {
        let masters = Masters::new(mapreduce_coordination::open(&urls.coordination, None).await?);
        let store = mapreduce_storage::open(&urls.storage)?;
        Ok(Client(Arc::new(Inner { urls, credentials, connect_timeout: CONNECT_TIMEOUT, masters, store })))
    }

    /// The same client, with another patience than [`CONNECT_TIMEOUT`].
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Client {
        let Inner { urls, credentials, .. } = &*self.0;
        let (masters, store) = (Masters::new(self.0.masters.coordinator.clone()), self.0.store.clone());
        let (urls, credentials) = (urls.clone(), credentials.clone());
        Client(Arc::new(Inner { urls, credentials, connect_timeout, masters, store }))
    }

    /// The cluster's storage, for uploads and results.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Checks the credentials, and answers the user's role, such as `admin`.
    pub async fn login(&self) -> Result<String, ClientError> {
        let reply = self.call(LoginRequest {}, |mut jobs, request| async move { jobs.login(request).await });
        Ok(reply.await?.role)
    }

    /// A new job id. Repeated after a broken connection, it leaves a number unused.
    pub async fn reserve(&self) -> Result<JobId, ClientError> {
        let reply =
            self.call(ReserveRequest {}, |mut jobs, request| async move { jobs.reserve(request).await });
        Ok(parse(&reply.await?.job)?)
    }

    /// Submits a job whose input and code are in storage. Submitting the same again changes nothing.
    pub async fn submit(&self, spec: &JobSpec) -> Result<(), ClientError> {
        let request = SubmitRequest { spec: spec.encode() };
        self.call(request, |mut jobs, request| async move { jobs.submit(request).await }).await?;
        Ok(())
    }

    /// The job's state now and at every change; ends after the terminal one. It survives the death of any
    /// master, and waits while none is alive or coordination can't be reached.
    pub fn watch(&self, job: JobId) -> impl Stream<Item = Result<JobUpdate, ClientError>> + Send + use<> {
        watch::watch(self.0.clone(), job)
    }

    /// Asks for the job to be cancelled, and answers how it stood then.
    pub async fn cancel(&self, job: JobId) -> Result<JobUpdate, ClientError> {
        let request = CancelRequest { job: job.to_string() };
        let reply = self.call(request, |mut jobs, request| async move { jobs.cancel(request).await });
        Ok(reply.await?.try_into()?)
    }

    /// Removes what is kept of these jobs, which have ended; of all that have, if none is named. Answers which.
    pub async fn clear(&self, jobs: &[JobId]) -> Result<Vec<JobId>, ClientError> {
        let request = ClearRequest { jobs: jobs.iter().map(JobId::to_string).collect() };
        let refusals = Mutex::default();
        let reply = self.call_patiently(
            request,
            |mut jobs, request| async move { jobs.clear(request).await },
            &refusals,
        );
        let cleared = reply.await?.jobs;
        Ok(cleared.iter().map(|job| parse(job)).collect::<Result<_, _>>()?)
    }

    /// How a job ended, read from coordination and storage: works with no master alive.
    pub async fn outcome(&self, job: JobId) -> Result<JobOutcome, ClientError> {
        let record = records::job(&*self.0.masters.coordinator, job).await?;
        let (record, _) = record.ok_or_else(|| ClientError::no_such_job(job))?;
        match record.phase {
            JobPhase::Succeeded => Ok(JobOutcome::Succeeded),
            JobPhase::Cancelled => Ok(JobOutcome::Cancelled),
            JobPhase::Failed => match mapreduce_storage::read(&self.0.store, &paths::result(job)).await? {
                Some(JobResult::Failed { failure }) => Ok(JobOutcome::Failed(failure)),
                // The result is written before the record says so, and goes with the job.
                _ => Err(ClientError::no_such_job(job)),
            },
            JobPhase::Map | JobPhase::Reduce | JobPhase::Publish => {
                Err(ClientError::NotEnded { job, phase: record.phase.name() })
            }
        }
    }

    /// Calls one live master after another until one answers, for as long as this client has patience.
    async fn call<M: Clone, R, F>(
        &self,
        message: M,
        method: impl Fn(JobsClient<Channel>, Request<M>) -> F,
    ) -> Result<R, ClientError>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let refusals = Mutex::default();
        let call = self.call_patiently(message, method, &refusals);
        let answer = tokio::time::timeout(self.0.connect_timeout, call).await;
        answer.unwrap_or_else(|_| Err(self.no_answer(&refusals)))
    }

    /// The same for what takes a master long: patience is needed only where none is alive.
    async fn call_patiently<M: Clone, R, F>(
        &self,
        message: M,
        method: impl Fn(JobsClient<Channel>, Request<M>) -> F,
        last: &Mutex<Refusals>,
    ) -> Result<R, ClientError>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let inner = &*self.0;
        let began = Instant::now();
        let mut changes = inner.masters.changes();
        loop {
            changes.borrow_and_update();
            let mut refusals = Refusals::default();
            for master in inner.masters.live().await? {
                let mut request = Request::new(message.clone());
                inner.credentials.attach(&mut request);
                let reply = tokio::select! {
                    reply = method(master.client(), request) => reply,
                    // A stopped master keeps its connections and never answers.
                    gone = inner.masters.gone(&master.incarnation) => {
                        gone?;
                        continue;
                    }
                };
                match reply {
                    Ok(reply) => return Ok(reply.into_inner()),
                    Err(status) if error::is_broken(&status) => {
                        tracing::info!("{} did not do it: {status}", master.incarnation);
                        match error::reason(&status) {
                            Some(why) => refusals.said = Some(why),
                            None => refusals.unreachable.push(master.unreachable(&status)),
                        }
                    }
                    Err(status) => return Err(master.error(status)),
                }
            }
            let answered = refusals.said.is_some();
            // What was said before masters died is not why nobody answers now.
            *last.lock().unwrap_or_else(PoisonError::into_inner) = refusals;
            if answered && began.elapsed() < inner.connect_timeout {
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            if answered {
                return Err(self.no_answer(last));
            }
            // An error means that coordination was closed; the next read says so.
            if tokio::time::timeout(inner.connect_timeout, changes.changed()).await.is_err() {
                return Err(self.no_answer(last));
            }
        }
    }

    /// What it means that no master has done it in time.
    fn no_answer(&self, last: &Mutex<Refusals>) -> ClientError {
        let waited = self.0.connect_timeout;
        let refusals = std::mem::take(&mut *last.lock().unwrap_or_else(PoisonError::into_inner));
        let coordination = self.0.urls.coordination.clone();
        match refusals {
            Refusals { said: Some(why), .. } => ClientError::Unavailable { why, waited },
            Refusals { unreachable, .. } if unreachable.is_empty() => {
                ClientError::NoMaster { coordination, waited }
            }
            Refusals { unreachable, .. } => {
                ClientError::Unreachable { coordination, waited, masters: unreachable.join(", ") }
            }
        }
    }
}
