//! The streams from workers.

use std::{pin::Pin, sync::Arc};

use mapreduce_core::{Epoch, Failure, Incarnation, Persisted, Role};
use mapreduce_rpc::{
    control::{
        self, Hello, MasterMessage, Offer, Report, Running, WorkerMessage, worker_message::Message,
        workers_server::Workers,
    },
    parse,
};
use tokio::sync::mpsc::unbounded_channel;
use tokio_stream::{Stream, StreamExt, wrappers::UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::Guard;
use crate::{
    context::{Context, Input, StreamId},
    incarnation::Handle,
    scheduler::{Event, Outcome},
};

pub(super) struct Service {
    pub(super) handle: Handle,
    pub(super) guard: Arc<Guard>,
}

#[tonic::async_trait]
impl Workers for Service {
    type AttendStream = Pin<Box<dyn Stream<Item = Result<MasterMessage, Status>> + Send>>;

    async fn attend(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        self.guard.worker(request.metadata())?;
        Ok(Response::new(Box::pin(self.handle.attend(request.into_inner()).await?)))
    }
}

impl Handle {
    /// A worker that was let in comes with what it says, and hears what is said to it until the master ends the stream.
    pub async fn attend(
        &self,
        mut messages: impl Stream<Item = Result<WorkerMessage, Status>> + Send + Unpin + 'static,
    ) -> Result<UnboundedReceiverStream<Result<MasterMessage, Status>>, Status> {
        let first = messages.next().await.transpose()?;
        let Some(WorkerMessage { message: Some(Message::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("the first message of a worker must be its Hello"));
        };
        let Hello { worker, n_slots } = hello;
        let worker: Incarnation = parse(&worker)?;
        if worker.role() != Role::Worker {
            return Err(Status::invalid_argument(format!("{worker} is not a worker")));
        }
        let stream = self.0.next_stream();
        let (sender, receiver) = unbounded_channel();
        self.0.tell(Input::Attached { worker: worker.clone(), n_slots, stream, sender });
        tokio::spawn(listen(self.0.clone(), worker, stream, messages));
        Ok(UnboundedReceiverStream::new(receiver))
    }
}

/// Passes on what a worker says until its stream ends.
async fn listen(
    context: Context,
    worker: Incarnation,
    stream: StreamId,
    mut messages: impl Stream<Item = Result<WorkerMessage, Status>> + Unpin,
) {
    loop {
        let event = match messages.next().await {
            Some(Ok(WorkerMessage { message: Some(message) })) => to_event(&worker, message),
            Some(Ok(_)) | None => break,
            Some(Err(e)) => {
                tracing::debug!(%worker, "the stream broke: {e}");
                break;
            }
        };
        match event {
            Ok(event) => context.tell(Input::Scheduler(event)),
            Err(e) => {
                tracing::error!(%worker, "{e}; closing its stream");
                break;
            }
        }
    }
    context.tell(Input::Detached { worker, stream });
}

/// What a worker's message means to the scheduler.
pub fn to_event(worker: &Incarnation, message: Message) -> Result<Event, Status> {
    let worker = worker.clone();
    Ok(match message {
        Message::Hello(_) => return Err(Status::invalid_argument("a second Hello")),
        Message::Offer(Offer { slot, ahead }) => Event::Offered { worker, slot, ahead },
        Message::Running(Running { job, epoch, attempts }) => {
            let attempts = attempts.iter().map(|a| Ok((parse(&a.task)?, parse(&a.attempt)?)));
            let attempts = attempts.collect::<Result<_, mapreduce_rpc::BadField>>()?;
            Event::Answered { worker, job: parse(&job)?, epoch: Epoch(epoch), attempts }
        }
        Message::Report(report) => Event::Reported {
            worker,
            job: parse(&report.job)?,
            task: parse(&report.task)?,
            attempt: parse(&report.attempt)?,
            outcome: to_outcome(&report)?,
        },
    })
}

fn to_outcome(report: &Report) -> Result<Outcome, Status> {
    match report.outcome() {
        control::Outcome::Committed => Ok(Outcome::Committed),
        control::Outcome::Superseded => Ok(Outcome::Superseded),
        control::Outcome::Stopped => Ok(Outcome::Stopped),
        control::Outcome::Refused => Ok(Outcome::Refused),
        control::Outcome::Returned => Ok(Outcome::Returned),
        control::Outcome::Failed => match Failure::decode(&report.failure) {
            Ok(failure) => Ok(Outcome::Failed(Box::new(failure))),
            Err(e) => Err(Status::invalid_argument(e.to_string())),
        },
        control::Outcome::Unspecified => Err(Status::invalid_argument("a report without an outcome")),
    }
}
