//! The loop around the scheduler: it feeds it what happens and does what it asks for. One call of [`serve`] is
//! one incarnation of the master.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    time::Duration,
};

use mapreduce_core::{AttemptId, CodeRef, Epoch, HistoryEvent, Incarnation, JobId, TaskId};
use mapreduce_rpc::control::{
    Assign, Decline, Ended as JobEnded, Language, MasterMessage, Query, Recall, RunningAttempt, Stop, Work,
    master_message::Message,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::sleep,
};
use tonic::Status;

use crate::{
    context::{Context, Input, StreamId},
    ownership,
    scheduler::{Action, Event, Scheduler},
    writer::{Command, Writer},
};

/// How long a task whose node or store is in trouble is left alone.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How an incarnation ended.
#[derive(Debug)]
pub enum Ended {
    /// The master was told to go.
    Asked,
    /// Others took this process for dead.
    SessionLost,
}

struct Stream {
    id: StreamId,
    sender: UnboundedSender<Result<MasterMessage, Status>>,
}

struct Shell {
    context: Context,
    scheduler: Scheduler,
    streams: BTreeMap<Incarnation, Stream>,
    registered: BTreeSet<Incarnation>,
    writers: BTreeMap<JobId, (Epoch, UnboundedSender<Command>)>,
    /// The highest epoch at which each job was ever taken: none is taken at one epoch twice, since attempts are numbered
    /// from its beginning.
    served: BTreeMap<JobId, Epoch>,
    /// Writers and timers; they end with the shell.
    tasks: JoinSet<()>,
}

/// Serves what comes in until the session is lost or `shutdown` completes.
pub(crate) async fn serve(
    context: Context,
    received: UnboundedReceiver<Input>,
    shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Ended {
    let mut shell = Shell {
        context: context.clone(),
        scheduler: Scheduler::default(),
        streams: BTreeMap::new(),
        registered: BTreeSet::new(),
        writers: BTreeMap::new(),
        served: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    shell.tasks.spawn(ownership::follow(context));
    shell.serve(received, shutdown).await
}

impl Shell {
    async fn serve(
        &mut self,
        mut received: UnboundedReceiver<Input>,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
    ) -> Ended {
        let mut session_lost = self.context.coordinator.session_lost();
        loop {
            tokio::select! {
                biased;
                Ok(_) = session_lost.wait_for(|lost| *lost) => return Ended::SessionLost,
                () = shutdown.as_mut() => return Ended::Asked,
                Some(input) = received.recv() => self.take_in(input),
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Scheduler(event) => self.tell(event),
            Input::Attached { worker, n_slots, stream, sender } => {
                if self.streams.insert(worker.clone(), Stream { id: stream, sender }).is_some() {
                    self.tell(Event::Detached { worker: worker.clone() });
                }
                self.tell(Event::Attached { worker, n_slots });
            }
            Input::Detached { worker, stream } => {
                if self.streams.get(&worker).is_some_and(|current| current.id == stream) {
                    self.streams.remove(&worker);
                    self.tell(Event::Detached { worker });
                }
            }
            Input::Registered(workers) => self.set_registered(workers),
            Input::Taken { record, version, is_new } => {
                let (job, epoch) = (record.job, record.epoch);
                // What is read of a job that this master serves, or has served to its end, says again that it is its own;
                // and so does a store that leaves open which of two equal writes took effect.
                if self.served.get(&job).is_some_and(|served| *served >= epoch) {
                    return;
                }
                self.served.insert(job, epoch);
                let (sender, commands) = unbounded_channel();
                self.tasks.spawn(Writer::new(self.context.clone(), record, version, is_new).serve(commands));
                self.writers.insert(job, (epoch, sender));
                self.tell(Event::Taken { job, epoch, is_new });
            }
            Input::Lost(job) => {
                if let Some((epoch, _)) = self.writers.get(&job) {
                    self.tell(Event::Gone { job, epoch: *epoch });
                }
            }
        }
    }

    /// A worker whose session has ended is dead or a zombie: its stream is closed, so that it hears of it. (One
    /// that was never seen here may have registered after this list was read.)
    fn set_registered(&mut self, workers: Vec<Incarnation>) {
        let now: BTreeSet<_> = workers.iter().cloned().collect();
        for worker in std::mem::replace(&mut self.registered, now.clone()).difference(&now) {
            if self.streams.remove(worker).is_some() {
                self.tell(Event::Detached { worker: worker.clone() });
            }
        }
        self.tell(Event::Registered { workers });
    }

    fn tell(&mut self, event: Event) {
        tracing::trace!(?event);
        if let Event::Gone { job, epoch } = &event
            && self.writers.get(job).is_some_and(|(current, _)| current == epoch)
        {
            self.writers.remove(job);
        }
        for action in self.scheduler.handle(event, self.context.clock.unix_ms()) {
            tracing::trace!(?action);
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Invite { worker } => self.say(&worker, Message::Work(Work { available: true })),
            Action::Decline { worker, slot, ahead } => {
                self.say(&worker, Message::Decline(Decline { slot, ahead }));
            }
            Action::Launch {
                worker,
                slot,
                job,
                epoch,
                task,
                attempt,
                user,
                code,
                timeout_ms,
                more,
                at_ms,
            } => {
                let assign = Assign {
                    user,
                    language: language(&code).into(),
                    digest: code.digest().to_owned(),
                    slot,
                    job: job.to_string(),
                    epoch: epoch.0,
                    task: task.to_string(),
                    attempt: attempt.to_string(),
                    timeout_ms: timeout_ms.unwrap_or(0),
                    more,
                };
                let to = self.streams.get(&worker).map(|stream| stream.sender.clone());
                let event = HistoryEvent::Launched { task, attempt, worker, at_ms };
                self.write(job, Command::Launch { event, dispatch: Dispatch { to, assign: Some(assign) } });
            }
            Action::Query { worker, job, epoch } => {
                self.say(&worker, Message::Query(Query { job: job.to_string(), epoch: epoch.0 }));
            }
            Action::Dismiss { worker, job } => {
                self.say(&worker, Message::Ended(JobEnded { job: job.to_string() }));
            }
            Action::Stop { worker, job, attempts } => {
                let attempts = attempts.iter().map(running_attempt).collect();
                self.say(&worker, Message::Stop(Stop { job: job.to_string(), attempts }));
            }
            Action::Recall { worker, job, attempts } => {
                let attempts = attempts.iter().map(running_attempt).collect();
                self.say(&worker, Message::Recall(Recall { job: job.to_string(), attempts }));
            }
            Action::Record { job, event } => self.write(job, Command::Record(event)),
            Action::Load { job } => self.write(job, Command::Load),
            Action::ReadMarker { job, task, lost } => self.write(job, Command::ReadMarker(task, lost)),
            Action::Seal { job, stage } => self.write(job, Command::Seal(stage)),
            Action::End { job, ending } => self.write(job, Command::End(ending)),
            Action::BePatient { job } => {
                self.later(self.context.lease, job, |job, epoch| Event::PatienceOver { job, epoch });
            }
            Action::RetryLater { job, task } => {
                self.later(RETRY_PAUSE, job, move |job, epoch| Event::Retry { job, epoch, task });
            }
        }
    }

    fn write(&self, job: JobId, command: Command) {
        if let Some((_, writer)) = self.writers.get(&job) {
            let _ = writer.send(command); // a writer that has stopped has said that the job is gone
        }
    }

    fn later(
        &mut self,
        pause: Duration,
        job: JobId,
        event: impl FnOnce(JobId, Epoch) -> Event + Send + 'static,
    ) {
        let Some((epoch, _)) = self.writers.get(&job) else { return };
        let (context, epoch) = (self.context.clone(), *epoch);
        self.tasks.spawn(async move {
            sleep(pause).await;
            context.tell(Input::Scheduler(event(job, epoch)));
        });
    }

    /// A stream that has closed says so by an [`Input::Detached`] of its own.
    fn say(&self, worker: &Incarnation, message: Message) {
        if let Some(stream) = self.streams.get(worker) {
            let _ = stream.sender.send(Ok(MasterMessage { message: Some(message) }));
        }
    }
}

/// An assignment that waits until it may be sent. One that never is gives the offered place back.
pub(crate) struct Dispatch {
    to: Option<UnboundedSender<Result<MasterMessage, Status>>>,
    assign: Option<Assign>,
}

impl Dispatch {
    pub(crate) fn send(mut self) {
        let message = self.assign.take().map(Message::Assign);
        self.say(message);
    }

    /// A stream that has closed says so itself.
    fn say(&self, message: Option<Message>) {
        if let Some(to) = &self.to {
            let _ = to.send(Ok(MasterMessage { message }));
        }
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        if let Some(Assign { slot, .. }) = self.assign {
            // Declined as a place ahead, whichever it was: the worker offers it again, if it is free.
            self.say(Some(Message::Decline(Decline { slot, ahead: true })));
        }
    }
}

fn language(code: &CodeRef) -> Language {
    match code {
        CodeRef::Python { .. } => Language::Python,
        CodeRef::Native { .. } => Language::Native,
        CodeRef::Commands { .. } => Language::Commands,
    }
}

fn running_attempt((task, attempt): &(TaskId, AttemptId)) -> RunningAttempt {
    RunningAttempt { task: task.to_string(), attempt: attempt.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(slot: u32) -> Assign {
        Assign { slot, ..Assign::default() }
    }

    #[test]
    fn an_assignment_that_is_never_sent_gives_its_place_back() {
        let (to, mut said) = unbounded_channel();
        drop(Dispatch { to: Some(to.clone()), assign: Some(assign(3)) });
        let Ok(MasterMessage { message: Some(Message::Decline(declined)) }) = said.try_recv().unwrap() else {
            panic!("the place is kept");
        };
        assert_eq!(declined, Decline { slot: 3, ahead: true });
        Dispatch { to: Some(to), assign: Some(assign(4)) }.send();
        let Ok(MasterMessage { message: Some(Message::Assign(sent)) }) = said.try_recv().unwrap() else {
            panic!("it is not sent");
        };
        assert_eq!(sent.slot, 4);
        assert!(said.try_recv().is_err(), "a place that was used is not given back");
    }
}
