//! The stream to one master: opened by the worker, opened again as long as the master is registered.

use std::time::Duration;

use mapreduce_coordination::records::Member;
use mapreduce_core::{AttemptId, CodeRef, Epoch, Incarnation, TaskId};
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
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::sleep,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Status, Streaming, transport::Endpoint};

use crate::{
    agent::{Assignment, Event, Place},
    shell::Input,
};

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

/// What a link needs to introduce the worker.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    pub(crate) worker: Incarnation,
    pub(crate) n_slots: u32,
    pub(crate) cluster_key: String,
}

/// Keeps a stream to `master` open and passes on what comes in.
pub(crate) fn open(master: Member, introduction: Introduction, inputs: UnboundedSender<Input>) -> Link {
    Link(tokio::spawn(async move {
        let mut pause = RETRY_FIRST;
        loop {
            match attend(&master, &introduction, &inputs).await {
                Ok(()) => pause = RETRY_FIRST,
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

/// One life of the stream: until the master closes it or it breaks.
async fn attend(
    master: &Member,
    introduction: &Introduction,
    inputs: &UnboundedSender<Input>,
) -> Result<(), Status> {
    let address = master.address.as_deref().unwrap_or_default();
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|e| Status::invalid_argument(e.to_string()))?.tcp_nodelay(true);
    let channel = endpoint.connect().await.map_err(|e| Status::unavailable(e.to_string()))?;

    let (sender, receiver) = unbounded_channel();
    let hello = Hello { worker: introduction.worker.to_string(), n_slots: introduction.n_slots };
    let _ = sender.send(WorkerMessage { message: Some(ToMaster::Hello(hello)) }); // the receiver is right here
    let mut request = Request::new(UnboundedReceiverStream::new(receiver));
    Credentials::Cluster { key: introduction.cluster_key.clone() }.attach(&mut request);
    let mut messages: Streaming<MasterMessage> =
        WorkersClient::new(channel).attend(request).await?.into_inner();

    let _ = inputs.send(Input::Attached(master.incarnation.clone(), sender));
    while let Some(message) = messages.message().await? {
        if let Some(event) = to_event(&master.incarnation, message)? {
            let _ = inputs.send(Input::Agent(event));
        }
    }
    Ok(())
}

fn to_event(master: &Incarnation, message: MasterMessage) -> Result<Option<Event>, Status> {
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
    })
}

fn to_attempts(attempts: &[RunningAttempt]) -> Result<Vec<(TaskId, AttemptId)>, BadField> {
    attempts.iter().map(|a| Ok((parse(&a.task)?, parse(&a.attempt)?))).collect()
}
