//! What workers and their executors do: look at storage, write data, commit, report (`worker::agent`,
//! `executor::task`).

use super::{
    Bug, Protocol,
    state::{Executing, Late, Marker, News, Outcome, Slot, State, Worker},
};

/// A step of one worker or its executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerStep {
    /// Looks whether the task is committed; if not, writes data.
    Work,
    /// Creates the marker; a loser deletes its data.
    Commit,
    /// Creates the marker and does not hear what became of it.
    CommitUnknown,
    /// Reads the marker, to find out.
    Reread,
    /// Ends without having found out.
    GiveUp,
    /// Tells the job's owner how the attempt ended.
    Report,
}

use WorkerStep as Do;

/// Adds what this worker can do now.
pub(super) fn enabled(s: &State, w: usize, out: &mut Vec<WorkerStep>) {
    let Some(Worker { slot: Slot::Running(_, _, executing), .. }) = s.workers[w] else { return };
    match executing {
        Executing::Begun => out.push(Do::Work),
        Executing::Written => {
            out.push(Do::Commit);
            if s.left.unknowns > 0 {
                out.push(Do::CommitUnknown);
            }
        }
        Executing::Unsure => out.extend([Do::Reread, Do::GiveUp]),
        Executing::Done(_) => out.push(Do::Report),
    }
}

impl Protocol {
    pub(super) fn worker_steps(&self, s: &mut State, w: usize, step: WorkerStep) {
        let Some(Worker { slot: Slot::Running(task, attempt, executing), .. }) = s.workers[w] else { return };
        let next = match step {
            Do::Work => self.work(s, task, attempt),
            Do::Commit => self.commit(s, task, attempt),
            Do::CommitUnknown => {
                s.leave_open(Late::Marker(task, marker(s, task, attempt)));
                let is_sure = self.has(Bug::UnknownTakenForSuccess);
                if is_sure { Executing::Done(Outcome::Committed) } else { Executing::Unsure }
            }
            Do::Reread => match s.winner(task) {
                None => Executing::Written,
                Some(winner) if winner == attempt => Executing::Done(Outcome::Committed),
                Some(_) => self.lost(s, task, attempt),
            },
            // The marker may still appear, so the data stays.
            Do::GiveUp => Executing::Done(Outcome::Nothing),
            Do::Report => return self.report(s, w, executing),
        };
        s.workers[w].iter_mut().for_each(|worker| worker.slot = Slot::Running(task, attempt, next));
    }

    fn work(&self, s: &mut State, task: usize, attempt: super::AttemptId) -> Executing {
        match s.winner(task) {
            Some(winner) if winner == attempt => return Executing::Done(Outcome::Committed),
            Some(_) => return Executing::Done(Outcome::Superseded),
            None => {}
        }
        let is_reduce = task == super::state::N_MAPS;
        if s.is_cleared || (is_reduce && s.store.map_manifest.is_none()) {
            return Executing::Done(Outcome::Nothing);
        }
        let input = s.store.map_manifest.filter(|_| is_reduce);
        for (map, winner) in input.into_iter().flatten().enumerate() {
            if !s.store.data.contains_key(&(map, winner)) {
                s.breaks("I11");
            }
        }
        if !self.has(Bug::MarkerBeforeData) {
            s.store.data.insert((task, attempt), input);
        }
        Executing::Written
    }

    fn commit(&self, s: &mut State, task: usize, attempt: super::AttemptId) -> Executing {
        let marker = marker(s, task, attempt);
        if self.has(Bug::MarkerOverwritten) {
            s.store.markers[task] = Some(marker);
        }
        s.store.create(Late::Marker(task, marker));
        if s.winner(task) == Some(attempt) {
            Executing::Done(Outcome::Committed)
        } else {
            self.lost(s, task, attempt)
        }
    }

    /// A loser deletes what it wrote.
    fn lost(&self, s: &mut State, task: usize, attempt: super::AttemptId) -> Executing {
        let doomed = if self.has(Bug::LoserDeletesWinner) { s.winner(task) } else { Some(attempt) };
        doomed.into_iter().for_each(|attempt| _ = s.store.data.remove(&(task, attempt)));
        Executing::Done(Outcome::Superseded)
    }

    /// To whoever owns the job by now. With no owner in sight it is dropped.
    fn report(&self, s: &mut State, w: usize, executing: Executing) {
        let Some(worker) = &mut s.workers[w] else { return };
        let Slot::Running(task, attempt, _) = std::mem::replace(&mut worker.slot, Slot::Free) else { return };
        let Executing::Done(outcome) = executing else { return };
        let Some((_, owner)) = worker.recognised else { return };
        let m = usize::from(owner.at);
        let lives = s.masters[m].as_ref().is_some_and(|master| master.life == owner);
        if lives && s.links[m][w].is_open {
            s.links[m][w].news.push(News::Report(task, attempt, outcome));
        }
    }
}

fn marker(s: &State, task: usize, attempt: super::AttemptId) -> Marker {
    Marker { attempt, input: s.store.data.get(&(task, attempt)).copied().flatten() }
}
