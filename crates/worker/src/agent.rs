//! The agent of one worker: events in, actions out, like the master's scheduler. It owns the slots; no master
//! ever decides over a slot that was not offered to it, so no slot is given twice and nothing is locked.
//!
//! The place behind a running attempt is offered as well while one master alone has work, and far more of it than there
//! are slots: so short tasks follow each other without waiting for what a master does between them. What waits there
//! has been launched as far as masters know, and is given back when another slot would be free for it.
//!
//! ```text
//!   slot:   Starting ──► Free ──► Offered(master) ──► Running ──► Starting
//!              ▲          ▲            │ declined          │ executor killed or died
//!              │          └────────────┘                   │
//!              └───────────────────────────────────────────┘
//! ```

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;

use std::collections::BTreeMap;

use mapreduce_core::{AttemptId, CodeRef, Epoch, Incarnation, JobId, TaskId};

/// An attempt that a master hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Its job.
    pub job: JobId,
    /// The epoch at which the master owns the job.
    pub epoch: Epoch,
    /// Its task.
    pub task: TaskId,
    /// Its id.
    pub attempt: AttemptId,
    /// Who submitted the job.
    pub user: String,
    /// The user's code.
    pub code: CodeRef,
    /// Longest time it may take.
    pub timeout_ms: Option<u64>,
    /// Whether the master welcomes an offer of the place behind it.
    pub more: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its marker is durable.
    Committed,
    /// Another attempt's marker was there first.
    Superseded,
    /// It failed; these are the bytes of the durable record.
    Failed(Vec<u8>),
    /// It was stopped, or its failure could not be recorded.
    Stopped,
    /// It never started.
    Refused,
    /// It never started, and can be launched elsewhere at once.
    Returned,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The stream to a master is open.
    MasterAttached(Incarnation),
    /// The stream to a master has closed.
    MasterDetached(Incarnation),
    /// A master has work for this worker.
    Invited(Incarnation),
    /// A master has nothing for the slot it was offered, or for the place ahead in it.
    Declined(Incarnation, usize, Place),
    /// A master gives an attempt to the place it was offered in a slot.
    Assigned(Incarnation, usize, Assignment),
    /// A master owns a job and asks what runs for it.
    Queried(Incarnation, JobId, Epoch),
    /// A master wants attempts stopped.
    StopWanted(Vec<(TaskId, AttemptId)>, JobId),
    /// A master wants those back that have not begun.
    Recalled(Vec<(TaskId, AttemptId)>, JobId),
    /// A job has ended.
    JobEnded(JobId),
    /// A slot's executor is warm and idle.
    SlotReady(usize),
    /// The attempt in a slot has ended. [`Event::SlotReady`] follows when the slot can take another.
    Ended(usize, Outcome),
    /// The worker is to go: nothing new is started.
    Drain,
    /// The worker is to go now: what runs is stopped.
    Hurry,
}

/// Which place of a slot is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The slot itself, which is free.
    Now,
    /// Behind the attempt that runs in it.
    Ahead,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Offer a place in a slot to a master.
    Offer(Incarnation, usize, Place),
    /// Tell a master what runs here for its job.
    Answer(Incarnation, JobId, Epoch, Vec<(TaskId, AttemptId)>),
    /// Tell a master how an attempt ended.
    Report(Incarnation, JobId, TaskId, AttemptId, Outcome),
    /// Run an attempt in a slot.
    Run(usize, Assignment),
    /// Kill what runs in a slot.
    Kill(usize),
    /// Tell a slot that it may end the executor that it keeps for this job.
    Leave(usize, JobId),
    /// Nothing runs any more and nothing will.
    Drained,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Now {
    Starting,
    Free,
    Offered(Incarnation),
    Running { assignment: Assignment, stopping: bool },
}

/// The place ahead; empty unless the slot runs an attempt or starts after one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Ahead {
    #[default]
    Empty,
    Offered(Incarnation),
    Waiting(Assignment),
}

#[derive(Debug, Clone)]
struct Slot {
    now: Now,
    ahead: Ahead,
}

/// The state of one worker.
#[derive(Debug)]
pub struct Agent {
    slots: Vec<Slot>,
    /// The attached masters, and whether each has work for us.
    masters: BTreeMap<Incarnation, bool>,
    /// The master that was offered a slot last; the next offer goes to the one after it.
    turn: Option<Incarnation>,
    /// The highest epoch seen of each job and the master that spoke at it: whoever speaks for the job at a
    /// lower one has lost it.
    owners: BTreeMap<JobId, (Epoch, Incarnation)>,
    draining: bool,
}

impl Agent {
    /// A worker whose executors are about to start.
    pub fn new(n_slots: usize) -> Agent {
        Agent {
            slots: vec![Slot { now: Now::Starting, ahead: Ahead::Empty }; n_slots],
            masters: BTreeMap::new(),
            turn: None,
            owners: BTreeMap::new(),
            draining: false,
        }
    }

    /// Takes in what happened and says what to do about it, in order.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let out = &mut actions;
        match event {
            Event::MasterAttached(master) => {
                self.masters.insert(master, false);
            }
            Event::MasterDetached(master) => {
                self.masters.remove(&master);
                for slot in &mut self.slots {
                    slot.take_back(&master);
                }
            }
            Event::Invited(master) => self.set_invited(&master, true),
            Event::Declined(master, slot, place) => self.declined(&master, slot, place),
            Event::Assigned(master, slot, assignment) => self.assign(master, slot, assignment, out),
            Event::Queried(master, job, epoch) => {
                if self.recognise(job, epoch, &master) {
                    out.push(Action::Answer(master, job, epoch, self.running(job)));
                }
            }
            Event::StopWanted(attempts, job) => {
                self.stop(|a| a.job == job && attempts.contains(&(a.task, a.attempt)), out);
            }
            Event::Recalled(attempts, job) => {
                let recalled = |a: &Assignment| a.job == job && attempts.contains(&(a.task, a.attempt));
                self.clear_ahead(recalled, Outcome::Returned, out);
            }
            Event::JobEnded(job) => out.extend((0..self.slots.len()).map(|slot| Action::Leave(slot, job))),
            Event::SlotReady(slot) => self.ready(slot, out),
            Event::Ended(slot, outcome) => self.ended(slot, outcome, out),
            Event::Drain => {
                self.draining = true;
                self.clear_ahead(|_| true, Outcome::Returned, out);
            }
            Event::Hurry => self.stop(|_| true, out),
        }
        self.offer(out);
        let idle = !self.slots.iter().any(|slot| matches!(slot.now, Now::Running { .. }));
        if self.draining && idle {
            out.push(Action::Drained);
        }
        actions
    }

    fn set_invited(&mut self, master: &Incarnation, invited: bool) {
        if let Some(state) = self.masters.get_mut(master) {
            *state = invited;
        }
    }

    /// Whether `master` may speak for the job at `epoch`; if so it is the one that hears of it from now on.
    fn recognise(&mut self, job: JobId, epoch: Epoch, master: &Incarnation) -> bool {
        if self.owners.get(&job).is_some_and(|(highest, _)| epoch < *highest) {
            return false;
        }
        self.owners.insert(job, (epoch, master.clone()));
        true
    }

    fn running(&self, job: JobId) -> Vec<(TaskId, AttemptId)> {
        let assignments = self.slots.iter().flat_map(|slot| {
            let now = match &slot.now {
                Now::Running { assignment, stopping: false } => Some(assignment),
                _ => None,
            };
            now.into_iter().chain(slot.waiting())
        });
        assignments.filter(|a| a.job == job).map(|a| (a.task, a.attempt)).collect()
    }

    /// An offer ahead that has become one of the slot itself, since its attempt has ended, is declined as what it was:
    /// the slot is free, and the master may still have something for it.
    fn declined(&mut self, master: &Incarnation, slot: usize, place: Place) {
        if place == Place::Now {
            self.set_invited(master, false);
        }
        if let Some(slot) = self.slots.get_mut(slot)
            && slot.take_back(master)
            && let Now::Running { assignment, .. } = &mut slot.now
        {
            assignment.more = false;
        }
    }

    fn assign(&mut self, master: Incarnation, slot: usize, assignment: Assignment, out: &mut Vec<Action>) {
        let Assignment { job, epoch, task, attempt, .. } = assignment;
        let offered = self.slots.get_mut(slot).is_some_and(|slot| slot.take_back(&master));
        if !offered || !self.recognise(job, epoch, &master) {
            out.push(Action::Report(master, job, task, attempt, Outcome::Refused));
            return;
        }
        // It was on its way when the worker was told to go.
        if self.draining {
            out.push(Action::Report(master, job, task, attempt, Outcome::Returned));
            return;
        }
        match self.slots[slot].now {
            Now::Free => self.run(slot, assignment, out),
            _ => self.slots[slot].ahead = Ahead::Waiting(assignment),
        }
    }

    fn run(&mut self, slot: usize, assignment: Assignment, out: &mut Vec<Action>) {
        out.push(Action::Run(slot, assignment.clone()));
        self.slots[slot].now = Now::Running { assignment, stopping: false };
    }

    /// An executor is warm: whatever the place ahead is, it is the slot's own now.
    fn ready(&mut self, slot: usize, out: &mut Vec<Action>) {
        let Some(state) = self.slots.get_mut(slot).filter(|state| state.now == Now::Starting) else { return };
        match std::mem::take(&mut state.ahead) {
            Ahead::Empty => state.now = Now::Free,
            Ahead::Offered(master) => state.now = Now::Offered(master),
            Ahead::Waiting(assignment) => self.run(slot, assignment, out),
        }
    }

    fn stop(&mut self, wanted: impl Fn(&Assignment) -> bool, out: &mut Vec<Action>) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Now::Running { assignment, stopping: stopping @ false } = &mut slot.now
                && wanted(assignment)
            {
                *stopping = true;
                out.push(Action::Kill(index));
            }
        }
        self.clear_ahead(wanted, Outcome::Stopped, out);
    }

    /// What waits ahead and is one of `which` will not begin.
    fn clear_ahead(&mut self, which: impl Fn(&Assignment) -> bool, outcome: Outcome, out: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            if let Some(assignment) = self.slots[index].waiting().filter(|a| which(a)).cloned() {
                self.slots[index].ahead = Ahead::Empty;
                self.report(&assignment, outcome.clone(), out);
            }
        }
    }

    fn ended(&mut self, slot: usize, outcome: Outcome, out: &mut Vec<Action>) {
        let Some(slot) = self.slots.get_mut(slot) else { return };
        if let Now::Running { assignment, .. } = &slot.now {
            let assignment = assignment.clone();
            slot.now = Now::Starting;
            self.report(&assignment, outcome, out);
        }
    }

    /// The report goes to whoever owns the job by now. With no owner in sight it is dropped: commits and
    /// failures are durable, and the next owner reads them.
    fn report(&self, assignment: &Assignment, outcome: Outcome, out: &mut Vec<Action>) {
        let Assignment { job, task, attempt, .. } = *assignment;
        if let Some((_, owner)) = self.owners.get(&job)
            && self.masters.contains_key(owner)
        {
            out.push(Action::Report(owner.clone(), job, task, attempt, outcome));
        }
    }

    /// Offers every free slot to the inviting masters in turn. Places ahead are offered only if there is one: a slot
    /// in which always something waits would never be free for the others.
    fn offer(&mut self, out: &mut Vec<Action>) {
        if self.draining {
            return;
        }
        for index in 0..self.slots.len() {
            if self.slots[index].now == Now::Free
                && let Some(master) = self.next_inviting()
            {
                self.turn = Some(master.clone());
                self.slots[index].now = Now::Offered(master.clone());
                out.push(Action::Offer(master, index, Place::Now));
            }
        }
        let inviting: Vec<_> = self.inviting().cloned().collect();
        let [master] = &inviting[..] else { return };
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.ahead == Ahead::Empty
                && let Now::Running { assignment: Assignment { more: true, .. }, stopping: false } = slot.now
            {
                slot.ahead = Ahead::Offered(master.clone());
                out.push(Action::Offer(master.clone(), index, Place::Ahead));
            }
        }
    }

    fn inviting(&self) -> impl Iterator<Item = &Incarnation> + Clone {
        self.masters.iter().filter(|(_, invited)| **invited).map(|(master, _)| master)
    }

    fn next_inviting(&self) -> Option<Incarnation> {
        let mut inviting = self.inviting();
        let first = inviting.clone().next();
        let after = inviting.find(|master| Some(*master) > self.turn.as_ref());
        after.or(first).cloned()
    }
}

impl Slot {
    fn waiting(&self) -> Option<&Assignment> {
        match &self.ahead {
            Ahead::Waiting(assignment) => Some(assignment),
            _ => None,
        }
    }

    /// The place that `master` was offered is no longer. Whether there was one.
    fn take_back(&mut self, master: &Incarnation) -> bool {
        let now = matches!(&self.now, Now::Offered(to) if to == master);
        let ahead = matches!(&self.ahead, Ahead::Offered(to) if to == master);
        if now {
            self.now = Now::Free;
        }
        if ahead {
            self.ahead = Ahead::Empty;
        }
        now || ahead
    }
}
