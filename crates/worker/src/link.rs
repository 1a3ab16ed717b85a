//! The stream to one master: opened by the worker, opened again as long as the master is registered.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mapreduce_coordination::records::Member;
use mapreduce_core::{AttemptId, CodeRef, Epoch, Incarnation, Secret, TaskId};
use mapreduce_identity::endpoint;
use mapreduce_rpc::{
    BadField,
    control::{
        Assign, Hello, Language, MasterMessage, RunningAttempt, WorkerMessage,
        master_message::Message as FromMaster, worker_message::Message as ToMaster,
        workers_client::WorkersClient,
    },
    headers::Credentials,
    parse,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::sleep,
};
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tonic::{Code, Request, Status};

use crate::{
    agent::{Assignment, Event, Place},
    incarnation::{FromMaster as Messages, Network},
    shell::Input,
};

/// How long a master may take to let a worker in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// A master and the task that keeps the stream to it open. Ends with its value.
#[derive(Debug)]
pub(crate) struct Link(JoinHandle<()>);

impl Drop for Link {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Streams of gRPC.
pub(crate) struct Tcp {
    pub(crate) cluster_key: Secret,
    /// The authority of the cluster's masters, in PEM, if they speak TLS.
    pub(crate) ca: Option<String>,
    /// How long a master may be silent: a cable that was cut closes no stream.
    pub(crate) lease: Duration,
}

#[async_trait]
impl Network for Tcp {
    async fn attend(
        &self,
        master: &Member,
        said: UnboundedReceiver<WorkerMessage>,
    ) -> Result<Messages, Status> {
        let address = master.address.as_deref().unwrap_or_default();
        let endpoint = endpoint(address, self.ca.as_deref(), CONNECT_TIMEOUT)
            .map_err(|e| Status::failed_precondition(e.to_string()))?
            .http2_keep_alive_interval(self.lease)
            .keep_alive_timeout(self.lease)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await.map_err(|e| Status::unavailable(root_of(&e)))?;
        let mut request = Request::new(UnboundedReceiverStream::new(said));
        Credentials::Cluster { key: self.cluster_key.reveal().to_owned() }.attach(&mut request);
        Ok(Box::pin(WorkersClient::new(channel).attend(request).await?.into_inner()))
    }
}

/// What is at the root of an error: what tonic says itself is only that there is one.
fn root_of(error: &tonic::transport::Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

/// Keeps a stream to `master` open and passes on what comes in.
pub(crate) fn open(
    network: Arc<dyn Network>,
    master: Member,
    hello: Hello,
    inputs: UnboundedSender<Input>,
) -> Link {
    Link(tokio::spawn(async move {
        let mut pause = RETRY_FIRST;
        loop {
            match attend(network.as_ref(), &master, &hello, &inputs).await {
                Ok(()) => pause = RETRY_FIRST,
                Err(e) if is_refusal(&e) => {
                    let why = e.message().to_owned();
                    if inputs.send(Input::Refused(master.clone(), why)).is_err() {
                        return;
                    }
                }
                // Once, and not of a master that has just died: that one is soon nobody's master.
                Err(e) if pause < RETRY_MAX && pause * 2 >= RETRY_MAX => {
                    let address = master.address.as_deref().unwrap_or_default();
                    tracing::warn!(
                        "{} at {address} can't be reached, and is tried on: {e}",
                        master.incarnation
                    );
                }
                Err(e) => tracing::debug!(master = %master.incarnation, "the stream failed: {e}"),
            }
            if inputs.send(Input::Agent(Event::MasterDetached(master.incarnation.clone()))).is_err() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }))
}

/// Whether a master answered that it does not want this worker: another key, another version of the wire. It will say the
/// same again.
fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::FailedPrecondition)
}

/// One life of the stream: until the master closes it or it breaks.
async fn attend(
    network: &dyn Network,
    master: &Member,
    hello: &Hello,
    inputs: &UnboundedSender<Input>,
) -> Result<(), Status> {
    let (sender, said) = unbounded_channel();
    let _ = sender.send(WorkerMessage { message: Some(ToMaster::Hello(hello.clone())) }); // the receiver is right here
    let mut messages = network.attend(master, said).await?;
    let _ = inputs.send(Input::Attached(master.incarnation.clone(), sender));
    while let Some(message) = messages.next().await.transpose()? {
        if let Some(event) = to_event(&master.incarnation, message)? {
            let _ = inputs.send(Input::Agent(event));
        }
    }
    Ok(())
}

/// What a master's message means to the agent; none: nothing.
pub fn to_event(master: &Incarnation, message: MasterMessage) -> Result<Option<Event>, Status> {
    let master = master.clone();
    let Some(message) = message.message else { return Ok(None) };
    Ok(Some(match message {
        FromMaster::Work(work) if work.available => Event::Invited(master),
        FromMaster::Work(_) => return Ok(None),
        FromMaster::Decline(decline) => {
            let place = if decline.ahead { Place::Ahead } else { Place::Now };
            Event::Declined(master, decline.slot as usize, place)
        }
        FromMaster::Assign(assign) => Event::Assigned(master, assign.slot as usize, to_assignment(&assign)?),
        FromMaster::Query(query) => Event::Queried(master, parse(&query.job)?, Epoch(query.epoch)),
        FromMaster::Ended(ended) => Event::JobEnded(parse(&ended.job)?),
        FromMaster::Recall(recall) => Event::Recalled(to_attempts(&recall.attempts)?, parse(&recall.job)?),
        FromMaster::Stop(stop) => Event::StopWanted(to_attempts(&stop.attempts)?, parse(&stop.job)?),
    }))
}

fn to_assignment(assign: &Assign) -> Result<Assignment, Status> {
    let digest = assign.digest.clone();
    Ok(Assignment {
        code: match assign.language() {
            Language::Python => CodeRef::Python { digest },
            Language::Native => CodeRef::Native { digest },
            Language::Commands => CodeRef::Commands { digest },
            Language::Unspecified => {
                return Err(Status::invalid_argument("an assignment in no language this worker knows"));
            }
        },
        job: parse(&assign.job)?,
        epoch: Epoch(assign.epoch),
        task: parse(&assign.task)?,
        attempt: parse(&assign.attempt)?,
        timeout_ms: (assign.timeout_ms > 0).then_some(assign.timeout_ms),
        more: assign.more,
        user: assign.user.clone(),
    })
}

fn to_attempts(attempts: &[RunningAttempt]) -> Result<Vec<(TaskId, AttemptId)>, BadField> {
    attempts.iter().map(|a| Ok((parse(&a.task)?, parse(&a.attempt)?))).collect()
}
