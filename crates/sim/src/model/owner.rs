//! What an owner knows of its job and concludes from what it hears: the master's scheduler and the memory of its
//! writer (`master::scheduler::job`, `master::writer`), reduced to what the protocol depends on.

use mapreduce_core::{AttemptId, JobPhase, Stage};

use super::state::{AuditLine, Audited, N_TASKS, N_WORKERS, Outcome, Record, stage_of, tasks_of};

/// How far the owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// It waits for the workers' answers; then it reads storage.
    Awaiting,
    /// Tasks of this stage run.
    Running(Stage),
    /// The manifest of this stage is to be written.
    Sealing(Stage),
    /// The manifest of the map stage is durable, the record is to show it.
    Advancing,
    /// The result is to be written.
    Deciding,
    /// The record is to show this end.
    Closing(JobPhase),
}

/// An assignment on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Launch {
    /// To which worker.
    pub worker: usize,
    /// Which task.
    pub task: usize,
    /// As which attempt.
    pub attempt: AttemptId,
    /// How far it is.
    pub stage: LaunchStage,
}

/// What has been done for an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LaunchStage {
    /// It was decided on.
    Decided,
    /// The history tells of it.
    Recorded,
    /// After that the job was still its owner's, so it may be sent.
    Confirmed,
}

/// One ownership.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The record, as this owner last wrote or read it.
    pub record: Record,
    /// How far it is.
    pub step: Step,
    /// Workers whose streams it has.
    pub attached: [bool; N_WORKERS],
    /// Workers that may run something of the job and have not said.
    pub awaited: [bool; N_WORKERS],
    /// The winners it knows of.
    pub winners: [Option<AttemptId>; N_TASKS],
    /// How many attempts it launched at each task.
    pub n_launched: [u8; N_TASKS],
    /// What runs where, as far as it knows; sorted.
    pub running: Vec<(usize, usize, AttemptId)>,
    /// Tasks whose marker is to be read before anything else is decided about them.
    pub held: [bool; N_TASKS],
    /// What the history does not tell yet, by task.
    pub events: [Vec<AuditLine>; N_TASKS],
    /// What is being launched. The writer does one after another.
    pub launch: Option<Launch>,
}

impl Owner {
    /// Of a job that was submitted here: there is nothing to ask for and nothing to read.
    pub fn of_new_job(record: Record) -> Owner {
        let new = Owner::taken(record, [true; N_WORKERS], [false; N_WORKERS]);
        Owner { step: Step::Running(Stage::Map), ..new }
    }

    /// Of a job just taken, by a master with these streams.
    pub fn taken(record: Record, attached: [bool; N_WORKERS], awaited: [bool; N_WORKERS]) -> Owner {
        Owner {
            record,
            step: Step::Awaiting,
            attached,
            awaited,
            winners: [None; N_TASKS],
            n_launched: [0; N_TASKS],
            running: Vec::new(),
            held: [false; N_TASKS],
            events: Default::default(),
            launch: None,
        }
    }

    /// A worker said what it runs.
    pub fn answered(&mut self, worker: usize, running: Option<(usize, AttemptId)>) {
        self.awaited[worker] = false;
        let Some((task, attempt)) = running else { return };
        // While this waits for answers it only collects; what is useless is found when storage was read.
        if self.step == Step::Awaiting || self.can_matter(task) {
            let entry = (worker, task, attempt);
            if let Err(place) = self.running.binary_search(&entry) {
                self.running.insert(place, entry);
            }
        }
    }

    /// Storage was read: the markers of the stage that the record shows, and which of them the history misses.
    pub fn loaded(&mut self, winners: [Option<AttemptId>; N_TASKS], in_history: [bool; N_TASKS]) {
        let stage = if self.record.phase == JobPhase::Map { Stage::Map } else { Stage::Reduce };
        self.step = Step::Running(stage);
        for task in tasks_of(stage) {
            self.winners[task] = winners[task];
            if let Some(winner) = winners[task].filter(|_| !in_history[task]) {
                self.note(task, Audited::Committed, winner);
            }
        }
        let collected = std::mem::take(&mut self.running);
        self.running = collected.into_iter().filter(|(_, task, _)| self.can_matter(*task)).collect();
        self.seal_if_complete();
    }

    /// Whether an attempt at the task can still win, as far as this owner knows.
    fn can_matter(&self, task: usize) -> bool {
        self.step == Step::Running(stage_of(task)) && self.winners[task].is_none()
    }

    /// The task that is launched next.
    pub fn next_waiting(&self) -> Option<usize> {
        let Step::Running(stage) = self.step else { return None };
        let waits = |task: &usize| {
            let runs = self.running.iter().any(|(_, running, _)| running == task);
            self.winners[*task].is_none() && !self.held[*task] && !runs
        };
        tasks_of(stage).find(waits)
    }

    /// An attempt at the task is decided, in the slot of this worker.
    pub fn launch(&mut self, worker: usize, task: usize, attempt: AttemptId) {
        self.n_launched[task] += 1;
        self.running.push((worker, task, attempt));
        self.running.sort_unstable();
        self.note(task, Audited::Launched, attempt);
        self.launch = Some(Launch { worker, task, attempt, stage: LaunchStage::Decided });
    }

    /// A worker told how an attempt ended.
    pub fn reported(&mut self, worker: usize, task: usize, attempt: AttemptId, outcome: Outcome) {
        let Ok(place) = self.running.binary_search(&(worker, task, attempt)) else { return };
        self.running.remove(place);
        if self.can_matter(task) {
            match outcome {
                Outcome::Committed => self.commit(task, attempt),
                // What the attempt did last, only the marker tells.
                Outcome::Superseded | Outcome::Nothing => self.held[task] = true,
            }
        }
    }

    /// A worker's stream is gone; what ran there may be committed all the same.
    pub fn lose(&mut self, worker: usize) {
        self.attached[worker] = false;
        self.awaited[worker] = false;
        let lost: Vec<_> = self.running.extract_if(.., |(at, _, _)| *at == worker).collect();
        for (_, task, _) in lost {
            self.held[task] |= self.can_matter(task);
        }
        self.launch = self.launch.filter(|launch| launch.worker != worker);
    }

    /// The task's marker was read.
    pub fn marker_read(&mut self, task: usize, winner: Option<AttemptId>) {
        self.held[task] = false;
        if let Some(winner) = winner.filter(|_| self.can_matter(task)) {
            self.commit(task, winner);
        }
    }

    /// The record shows the reduce phase.
    pub fn advanced(&mut self) {
        self.step = Step::Running(Stage::Reduce);
    }

    fn commit(&mut self, task: usize, winner: AttemptId) {
        self.winners[task] = Some(winner);
        self.held[task] = false;
        self.note(task, Audited::Committed, winner);
        self.seal_if_complete();
    }

    fn seal_if_complete(&mut self) {
        if let Step::Running(stage) = self.step
            && tasks_of(stage).all(|task| self.winners[task].is_some())
        {
            self.step = Step::Sealing(stage);
        }
    }

    fn note(&mut self, task: usize, what: Audited, attempt: AttemptId) {
        let epoch = self.record.epoch;
        self.events[task].push(AuditLine { epoch, unread_by: None, what, attempt });
    }
}
