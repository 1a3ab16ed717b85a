//! The agent of one worker: events in, actions out, like the master's scheduler. It owns the slots; no master
//! ever decides over a slot that was not offered to it, so no slot is given twice and nothing is locked.
//!
//! ```text
//!   slot:   Starting ──► Free ──► Offered(master) ──► Running ──► Free
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
    /// The user's code.
    pub code: CodeRef,
    /// Longest time it may take.
    pub timeout_ms: Option<u64>,
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
    /// A master has nothing for the slot it was offered.
    Declined(Incarnation, usize),
    /// A master gives an attempt to the slot it was offered.
    Assigned(Incarnation, usize, Assignment),
    /// A master owns a job and asks what runs for it.
    Queried(Incarnation, JobId, Epoch),
    /// A master wants attempts stopped.
    StopWanted(Vec<(TaskId, AttemptId)>, JobId),
    /// A job has ended.
    JobEnded(JobId),
    /// A slot's executor is warm and idle.
    SlotReady(usize),
    /// The attempt in a slot has ended. [`Event::SlotReady`] follows when the slot can take another.
    Ended(usize, Outcome),
    /// The worker is to go: nothing new is started.
    Drain,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Offer a slot to a master.
    Offer(Incarnation, usize),
    /// Tell a master what runs here for its job.
    Answer(Incarnation, JobId, Epoch, Vec<(TaskId, AttemptId)>),
    /// Tell a master how an attempt ended.
    Report(Incarnation, JobId, TaskId, AttemptId, Outcome),
    /// Run an attempt in a slot.
    Run(usize, Assignment),
    /// Kill what runs in a slot.
    Kill(usize),
    /// End the idle executor in a slot if it is of this job, so that the next job finds a new one ready.
    Leave(usize, JobId),
    /// Nothing runs any more and nothing will.
    Drained,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Starting,
    Free,
    Offered(Incarnation),
    Running { assignment: Assignment, stopping: bool },
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
            slots: vec![Slot::Starting; n_slots],
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
                    if *slot == Slot::Offered(master.clone()) {
                        *slot = Slot::Free;
                    }
                }
            }
            Event::Invited(master) => self.set_invited(&master, true),
            Event::Declined(master, slot) => {
                self.set_invited(&master, false);
                if self.slots.get(slot) == Some(&Slot::Offered(master)) {
                    self.slots[slot] = Slot::Free;
                }
            }
            Event::Assigned(master, slot, assignment) => self.assign(master, slot, assignment, out),
            Event::Queried(master, job, epoch) => {
                if self.recognise(job, epoch, &master) {
                    out.push(Action::Answer(master, job, epoch, self.running(job)));
                }
            }
            Event::StopWanted(attempts, job) => self.stop(&attempts, job, out),
            Event::JobEnded(job) => {
                let idle = |slot: &Slot| matches!(slot, Slot::Free | Slot::Offered(_));
                let idle = self.slots.iter().enumerate().filter(|(_, slot)| idle(slot));
                out.extend(idle.map(|(index, _)| Action::Leave(index, job)));
            }
            Event::SlotReady(slot) => {
                if let Some(state @ Slot::Starting) = self.slots.get_mut(slot) {
                    *state = Slot::Free;
                }
            }
            Event::Ended(slot, outcome) => self.ended(slot, outcome, out),
            Event::Drain => self.draining = true,
        }
        self.offer(out);
        let idle = !self.slots.iter().any(|slot| matches!(slot, Slot::Running { .. }));
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
        let assignments = self.slots.iter().filter_map(|slot| match slot {
            Slot::Running { assignment, stopping: false } => Some(assignment),
            _ => None,
        });
        assignments.filter(|a| a.job == job).map(|a| (a.task, a.attempt)).collect()
    }

    fn assign(&mut self, master: Incarnation, slot: usize, assignment: Assignment, out: &mut Vec<Action>) {
        let Assignment { job, epoch, task, attempt, .. } = assignment;
        let offered = self.slots.get(slot) == Some(&Slot::Offered(master.clone()));
        let may_run = offered && !self.draining && self.recognise(job, epoch, &master);
        if may_run {
            out.push(Action::Run(slot, assignment.clone()));
            self.slots[slot] = Slot::Running { assignment, stopping: false };
        } else {
            if offered {
                self.slots[slot] = Slot::Free;
            }
            out.push(Action::Report(master, job, task, attempt, Outcome::Refused));
        }
    }

    fn stop(&mut self, attempts: &[(TaskId, AttemptId)], job: JobId, out: &mut Vec<Action>) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Running { assignment, stopping: stopping @ false } = slot
                && assignment.job == job
                && attempts.contains(&(assignment.task, assignment.attempt))
            {
                *stopping = true;
                out.push(Action::Kill(index));
            }
        }
    }

    /// The report goes to whoever owns the job by now. With no owner in sight it is dropped: commits and
    /// failures are durable, and the next owner reads them.
    fn ended(&mut self, slot: usize, outcome: Outcome, out: &mut Vec<Action>) {
        let Some(Slot::Running { assignment, .. }) = self.slots.get(slot).cloned() else { return };
        self.slots[slot] = Slot::Starting;
        if let Some((_, owner)) = self.owners.get(&assignment.job)
            && self.masters.contains_key(owner)
        {
            let Assignment { job, task, attempt, .. } = assignment;
            out.push(Action::Report(owner.clone(), job, task, attempt, outcome));
        }
    }

    /// Offers every free slot to the inviting masters in turn.
    fn offer(&mut self, out: &mut Vec<Action>) {
        if self.draining {
            return;
        }
        for index in 0..self.slots.len() {
            if self.slots[index] == Slot::Free
                && let Some(master) = self.next_inviting()
            {
                self.turn = Some(master.clone());
                self.slots[index] = Slot::Offered(master.clone());
                out.push(Action::Offer(master, index));
            }
        }
    }

    fn next_inviting(&self) -> Option<Incarnation> {
        let mut inviting = self.masters.iter().filter(|(_, invited)| **invited).map(|(master, _)| master);
        let first = inviting.clone().next();
        let after = inviting.find(|master| Some(*master) > self.turn.as_ref());
        after.or(first).cloned()
    }
}
