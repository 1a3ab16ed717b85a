//! What happens to the processes and the stores: deaths, lost sessions, restarts, late writes, users.

use mapreduce_core::JobPhase;

use super::{
    Protocol,
    state::{Executing, Late, Life, Master, N_MASTERS, N_WORKERS, Outcome, Slot, State, Store, Worker},
};

/// One of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// A master.
    Master(usize),
    /// A worker.
    Worker(usize),
}

/// Something that happens to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorldStep {
    /// A process dies.
    Crash(Process),
    /// Others take a process for dead. It lives on, not knowing it.
    Expire(Process),
    /// A process hears that it was taken for dead, and ends.
    Notice(Process),
    /// A process starts, as a new incarnation.
    Start(Process),
    /// An executor dies; its worker lives on.
    ExecutorDies(usize),
    /// A write arrives of which nobody knew whether it would.
    Arrive(usize),
    /// Somebody wants the job cancelled.
    Cancel,
    /// The job has ended and is cleared.
    Clear,
}

use WorldStep as Do;

/// Adds what can happen now.
pub(super) fn enabled(protocol: &Protocol, s: &State, out: &mut Vec<WorldStep>) {
    let masters =
        (0..N_MASTERS).map(|m| (Process::Master(m), s.masters[m].as_ref().map(|p| p.is_registered)));
    let workers =
        (0..N_WORKERS).map(|w| (Process::Worker(w), s.workers[w].as_ref().map(|p| p.is_registered)));
    let is_live = !s.record.phase.is_terminal();
    for (process, is_registered) in masters.chain(workers) {
        match is_registered {
            // Where the job has ended, deaths teach nothing new.
            Some(true) if is_live => {
                if s.left.crashes > 0 {
                    out.push(Do::Crash(process));
                }
                if may_expire(s, process) {
                    out.push(Do::Expire(process));
                }
            }
            Some(true) => {}
            Some(false) => out.push(Do::Notice(process)),
            None => out.push(Do::Start(process)),
        }
    }
    let dies = |w: &usize| matches!(s.workers[*w], Some(Worker { slot: Slot::Running(..), .. }));
    if s.left.crashes > 0 && is_live {
        out.extend((0..N_WORKERS).filter(dies).map(Do::ExecutorDies));
    }
    out.extend((0..s.late.len()).map(Do::Arrive));
    if s.left.cancels > 0 && is_live && !s.record.cancel {
        out.push(Do::Cancel);
    }
    if protocol.clears && !is_live && !s.is_cleared {
        out.push(Do::Clear);
    }
}

/// A master can become a zombie as soon as it has taken the job; before that it has nothing to do harm with.
fn may_expire(s: &State, process: Process) -> bool {
    match process {
        Process::Master(m) => s.left.zombie_owners > 0 && s.owner(m).is_some(),
        Process::Worker(_) => s.left.zombie_workers > 0,
    }
}

impl Protocol {
    pub(super) fn world_steps(&self, s: &mut State, step: WorldStep) {
        match step {
            Do::Crash(process) => {
                s.left.crashes -= 1;
                end(s, process);
            }
            Do::Expire(Process::Master(m)) => {
                s.left.zombie_owners -= 1;
                s.masters[m].iter_mut().for_each(|master| master.is_registered = false);
            }
            Do::Expire(Process::Worker(w)) => {
                s.left.zombie_workers -= 1;
                s.workers[w].iter_mut().for_each(|worker| worker.is_registered = false);
            }
            Do::Notice(process) => end(s, process),
            Do::Start(process) => start(s, process),
            Do::ExecutorDies(w) => {
                s.left.crashes -= 1;
                if let Some(Worker { slot: Slot::Running(_, _, executing), .. }) = &mut s.workers[w] {
                    *executing = Executing::Done(Outcome::Nothing);
                }
            }
            Do::Arrive(index) => arrive(s, index),
            Do::Cancel => {
                s.left.cancels -= 1;
                s.record.cancel = true;
            }
            Do::Clear => {
                s.store = Store::default();
                s.is_cleared = true;
            }
        }
    }
}

fn end(s: &mut State, process: Process) {
    match process {
        Process::Master(m) => {
            s.masters[m] = None;
            (0..N_WORKERS).for_each(|w| s.close(m, w));
        }
        Process::Worker(w) => {
            s.workers[w] = None;
            (0..N_MASTERS).for_each(|m| s.close(m, w));
            // A worker that is gone from the register is awaited no more by owners that had no stream to it.
            for owner in s.masters.iter_mut().flatten().filter_map(|master| master.owner.as_mut()) {
                owner.awaited[w] &= owner.attached[w];
            }
        }
    }
}

fn start(s: &mut State, process: Process) {
    match process {
        Process::Master(m) => {
            s.lives.0[m] += 1;
            s.masters[m] = Some(Master::new(Life { at: m as u8, nth: s.lives.0[m] }));
        }
        Process::Worker(w) => {
            s.lives.1[w] += 1;
            s.workers[w] = Some(Worker::new(Life { at: w as u8, nth: s.lives.1[w] }));
        }
    }
    // Where no owner has to hear of it, streams are opened at once.
    for (m, links) in s.links.iter_mut().enumerate() {
        let Some(Master { is_registered: true, owner: None, .. }) = s.masters[m] else { continue };
        for (link, worker) in links.iter_mut().zip(&s.workers) {
            link.is_open |= worker.as_ref().is_some_and(|worker| worker.is_registered);
        }
    }
}

fn arrive(s: &mut State, index: usize) {
    match s.late.remove(index) {
        Late::Record(expected, new) if s.record == expected => s.record = new,
        Late::Record(..) => {}
        // What is written below a cleared job's directory is never looked at.
        _ if s.is_cleared => {}
        write => s.store.create(write),
    }
}

/// Whether the job has ended and nothing of it is left in a slot.
pub(super) fn is_over(s: &State) -> bool {
    s.record.phase != JobPhase::Map
        && s.record.phase.is_terminal()
        && s.workers.iter().flatten().all(|worker| worker.slot == Slot::Free)
}
