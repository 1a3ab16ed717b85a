//! The loop around the agent: it owns the links to the masters and the slots, feeds the agent what happens and
//! does what it asks for. One call of [`serve`] is one incarnation.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use mapreduce_coordination::{
    Coordinator,
    records::{self, Member, RecordError},
};
use mapreduce_core::{Incarnation, Role};
use mapreduce_rpc::control::{
    self, Hello, Offer, Report, Running, RunningAttempt, WorkerMessage, worker_message::Message as ToMaster,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::{Stream, StreamExt};

use crate::{
    WorkerError,
    agent::{Action, Agent, Event, Outcome, Place},
    incarnation::{Ended, Means, Network},
    link::{self, Link},
    program::Programs,
    slot::{Command, Shared, Slot},
};

/// How long to wait before masters that could not be read are read again.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// How long a worker that goes waits for the tasks that it has stopped; and for masters to hear of it. Whoever asks it to
/// go should give it twice this time beyond the grace.
const FAREWELL: Duration = Duration::from_secs(2);

/// What comes in from links and slots. The channel is unbounded, and holds at most a few messages for each
/// slot and master: each side waits for an answer before it speaks again.
#[derive(Debug)]
pub(crate) enum Input {
    Agent(Event),
    /// A stream is open; this is where to write.
    Attached(Incarnation, UnboundedSender<WorkerMessage>),
    /// A master does not want this worker, and says why.
    Refused(Member, String),
    Fatal(WorkerError),
}

struct Shell {
    /// Who this is, until the first slot is ready: a worker that can't run anything is nobody's worker.
    unregistered: Option<Member>,
    agent: Agent,
    coordinator: Arc<dyn Coordinator>,
    network: Arc<dyn Network>,
    introduction: Hello,
    inputs: UnboundedSender<Input>,
    links: BTreeMap<Incarnation, Link>,
    streams: BTreeMap<Incarnation, UnboundedSender<WorkerMessage>>,
    slots: Vec<UnboundedSender<Command>>,
    /// Whether any master ever has.
    was_let_in: bool,
    drained: bool,
}

/// Which masters are registered, as soon as that is known.
type Look = Pin<Box<dyn Future<Output = Result<Vec<Member>, RecordError>> + Send>>;

/// The end of a look that is under way.
async fn end_of(look: &mut Option<Look>) -> Result<Vec<Member>, RecordError> {
    match look {
        Some(look) => look.await,
        None => pending().await,
    }
}

/// Registers, serves, and leaves no process behind. Told to go, by an item of `asked`, it lets running tasks end; told
/// again, it does not wait for them.
pub async fn serve(means: Means, asked: Pin<&mut impl Stream<Item = ()>>) -> Result<Ended, WorkerError> {
    let Means { member, options, coordinator, store, clock, network, launcher } = means;
    let (inputs, received) = unbounded_channel();
    let worker = member.incarnation.clone();
    let (n_slots, grace) = (options.n_slots, options.grace);
    let programs = Programs::default();
    let shared = Shared { options, store, clock, launcher, worker, inputs: inputs.clone(), programs };
    let shared = Arc::new(shared);
    let mut tasks = JoinSet::new();
    let mut slots = Vec::new();
    for index in 0..n_slots as usize {
        let (sender, commands) = unbounded_channel();
        slots.push(sender);
        tasks.spawn(Slot::new(index, shared.clone(), commands).serve());
    }
    let shell = Shell {
        introduction: Hello { worker: member.incarnation.to_string(), n_slots },
        unregistered: Some(member),
        agent: Agent::new(slots.len()),
        coordinator,
        network,
        inputs,
        links: BTreeMap::new(),
        streams: BTreeMap::new(),
        slots,
        was_let_in: false,
        drained: false,
    };
    let ended = shell.serve(received, asked, grace).await;
    // Dropping a slot's task drops its executor, and that kills the process group.
    tasks.shutdown().await;
    ended
}

impl Shell {
    async fn serve(
        mut self,
        mut received: UnboundedReceiver<Input>,
        mut asked: Pin<&mut impl Stream<Item = ()>>,
        grace: Duration,
    ) -> Result<Ended, WorkerError> {
        let mut changes = self.coordinator.watch(records::directory(Role::Master));
        let mut session_lost = self.coordinator.session_lost();
        let (mut deadline, mut in_a_hurry, mut look_again) = (None, false, None);
        // Beside everything else: as long as coordination can't be reached, a look takes long, and tasks go on.
        let mut look = None;
        changes.mark_changed();
        while !self.drained {
            tokio::select! {
                biased;
                // Who was told to go needs no other incarnation.
                Ok(_) = session_lost.wait_for(|lost| *lost) => {
                    return Ok(if deadline.is_some() { Ended::Drained } else { Ended::SessionLost });
                }
                Some(()) = asked.next() => {
                    let patience = if deadline.is_none() { grace } else { Duration::ZERO };
                    deadline = Some(Instant::now() + patience);
                    tracing::info!("told to go within {patience:?}");
                    self.tell(Event::Drain);
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    if in_a_hurry {
                        break;
                    }
                    tracing::warn!("the grace period is over; what still runs is stopped and will run elsewhere");
                    in_a_hurry = true;
                    deadline = Some(Instant::now() + FAREWELL);
                    self.tell(Event::Hurry);
                }
                Ok(()) = changes.changed(), if look.is_none() => {
                    changes.borrow_and_update();
                    look = Some(self.look());
                }
                // Nothing need change before what could not be read can be.
                () = sleep_until(look_again.unwrap_or_else(Instant::now)), if look_again.is_some() && look.is_none() => {
                    look = Some(self.look());
                }
                seen = end_of(&mut look) => {
                    look = None;
                    look_again = self.follow(seen);
                }
                Some(input) = received.recv() => match input {
                    Input::Agent(event) => {
                        self.register_when_ready(&event).await?;
                        self.tell(event);
                    }
                    Input::Attached(master, stream) => {
                        self.was_let_in = true;
                        self.streams.insert(master.clone(), stream);
                        self.tell(Event::MasterAttached(master));
                    }
                    Input::Refused(master, why) => self.refused(master, why)?,
                    Input::Fatal(error) => return Err(error),
                },
            }
        }
        self.take_leave(received).await;
        Ok(Ended::Drained)
    }

    /// Ends the streams, and waits until each master has heard the last of what was said in its own: it ends its side then.
    /// One that does not, hears of this worker's end another way.
    async fn take_leave(&mut self, mut received: UnboundedReceiver<Input>) {
        let mut listening: BTreeSet<_> = std::mem::take(&mut self.streams).into_keys().collect();
        let heard = async {
            while !listening.is_empty()
                && let Some(input) = received.recv().await
            {
                if let Input::Agent(Event::MasterDetached(master)) = input {
                    listening.remove(&master);
                }
            }
        };
        if timeout(FAREWELL, heard).await.is_err() {
            tracing::warn!("a master does not answer; it learns by itself that this worker has gone");
        }
    }

    async fn register_when_ready(&mut self, event: &Event) -> Result<(), WorkerError> {
        if let Event::SlotReady(_) = event
            && let Some(member) = self.unregistered.take()
        {
            records::register(self.coordinator.as_ref(), &member).await?;
            tracing::info!(worker = %member.incarnation, "registered");
        }
        Ok(())
    }

    /// Whom no master has ever let in was told something wrong at its start, and had better say so. Later, it is that master
    /// who is different, and the others need this worker.
    fn refused(&self, master: Member, why: String) -> Result<(), WorkerError> {
        let address = master.address.unwrap_or_default();
        let error = WorkerError::Refused { master: master.incarnation, address, why };
        if self.was_let_in {
            tracing::error!("{error}");
            return Ok(());
        }
        Err(error)
    }

    fn look(&self) -> Look {
        let coordinator = self.coordinator.clone();
        Box::pin(async move { records::members(coordinator.as_ref(), Role::Master).await })
    }

    /// One link to each registered master. If they can't be read, the links that there are go on; answers when to look
    /// again.
    fn follow(&mut self, seen: Result<Vec<Member>, RecordError>) -> Option<Instant> {
        let masters = match seen {
            Ok(masters) => masters,
            Err(e) => {
                tracing::warn!("the masters can't be read: {e}");
                return Some(Instant::now() + LOOK_PAUSE);
            }
        };
        let gone: Vec<_> =
            self.links.keys().filter(|m| !masters.iter().any(|r| r.incarnation == **m)).cloned().collect();
        for master in gone {
            self.links.remove(&master);
            self.tell(Event::MasterDetached(master));
        }
        for master in masters {
            let open = || {
                let network = self.network.clone();
                link::open(network, master.clone(), self.introduction.clone(), self.inputs.clone())
            };
            self.links.entry(master.incarnation.clone()).or_insert_with(open);
        }
        None
    }

    fn tell(&mut self, event: Event) {
        if let Event::MasterDetached(master) = &event {
            self.streams.remove(master);
        }
        tracing::trace!(?event);
        for action in self.agent.handle(event) {
            tracing::trace!(?action);
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Offer(master, slot, place) => {
                let offer = Offer { slot: slot as u32, ahead: place == Place::Ahead };
                self.say(&master, ToMaster::Offer(offer));
            }
            Action::Answer(master, job, epoch, attempts) => {
                let attempts = attempts
                    .iter()
                    .map(|(task, attempt)| RunningAttempt {
                        task: task.to_string(),
                        attempt: attempt.to_string(),
                    })
                    .collect();
                let running = Running { job: job.to_string(), epoch: epoch.0, attempts };
                self.say(&master, ToMaster::Running(running));
            }
            Action::Report(master, job, task, attempt, outcome) => {
                let (outcome, failure) = to_wire(outcome);
                let (job, task, attempt) = (job.to_string(), task.to_string(), attempt.to_string());
                self.say(&master, ToMaster::Report(Report { job, task, attempt, outcome, failure }));
            }
            Action::Run(slot, assignment) => self.command(slot, Command::Run(assignment)),
            Action::Leave(slot, job) => self.command(slot, Command::Leave(job)),
            Action::Kill(slot) => self.command(slot, Command::Kill),
            Action::Drained => self.drained = true,
        }
    }

    /// A stream that has closed says so by a [`Event::MasterDetached`] of its own; what is said into it until
    /// then is as lost as the master.
    fn say(&self, master: &Incarnation, message: ToMaster) {
        if let Some(stream) = self.streams.get(master) {
            let _ = stream.send(WorkerMessage { message: Some(message) });
        }
    }

    /// A slot that no longer listens has reported why as [`Input::Fatal`].
    fn command(&self, slot: usize, command: Command) {
        let _ = self.slots[slot].send(command);
    }
}

fn to_wire(outcome: Outcome) -> (i32, Vec<u8>) {
    let (outcome, failure) = match outcome {
        Outcome::Committed => (control::Outcome::Committed, Vec::new()),
        Outcome::Superseded => (control::Outcome::Superseded, Vec::new()),
        Outcome::Failed(failure) => (control::Outcome::Failed, failure),
        Outcome::Stopped => (control::Outcome::Stopped, Vec::new()),
        Outcome::Refused => (control::Outcome::Refused, Vec::new()),
        Outcome::Returned => (control::Outcome::Returned, Vec::new()),
    };
    (outcome.into(), failure)
}
