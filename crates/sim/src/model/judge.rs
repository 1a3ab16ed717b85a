//! Judges every step by the invariants. Where the code has a function for one, it is that function.

use std::collections::BTreeMap;

use mapreduce_core::{
    AttemptEnd, AttemptId, Epoch, History, HistoryEvent, Incarnation, JobPhase, Role, Stage, TaskId,
    invariants::{self, Violation},
};

use super::{
    Protocol,
    state::{
        AuditLine, Audited, Executing, JobOutcome, N_MAPS, N_WORKERS, Slot, State, Store, Worker, task_id,
        tasks_of,
    },
};

/// An owner's record is replaced by that of a master that has no right to it yet.
pub const OWNED: &str = "a job is taken only from an owner that is gone";
/// Whatever runs is in the history, and was when the next owner read it.
pub const AUDITED: &str = "the history misses no attempt";
/// What a stage reads is durable before the stage begins.
pub const SEALED: &str = "the reduce stage begins with a durable manifest";
/// A new owner knows what runs on the workers it has heard.
pub const ADOPTED: &str = "no task is launched that a worker heard by its owner runs";
/// Without lost messages and lost sessions nothing is launched that storage knows to be committed.
pub const FINISHED: &str = "finished is finished";
/// The promise.
pub const ONE_RESULT: &str = "one result, of one attempt of each task";
/// Nothing that storage must hold is found missing.
pub const UNDAMAGED: &str = "no owner gives a job up";

/// Judges the step from `old` to `new`, and notes in `new` what it broke.
pub(super) fn step(old: &State, new: &mut State) {
    if let Err(why) = judge(old, new) {
        new.breaks(why);
    }
}

fn judge(old: &State, new: &State) -> Result<(), &'static str> {
    let number = |violation: Violation| violation.invariant;
    if old.record != new.record {
        invariants::job_record_step(&old.record.to_core(), &new.record.to_core()).map_err(number)?;
        record_change(old, new)?;
    }
    if new.is_cleared {
        return Ok(());
    }
    if old.store != new.store {
        store_step(&old.store, &new.store).map_err(number)?;
    }
    known_winners(new).map_err(number)?;
    all_audited(new)
}

fn record_change(old: &State, new: &State) -> Result<(), &'static str> {
    if new.record.owner != old.record.owner && new.registered_masters().contains(&Some(old.record.owner)) {
        return Err(OWNED);
    }
    match new.record.phase {
        JobPhase::Reduce if new.store.map_manifest.is_none() => Err(SEALED),
        JobPhase::Succeeded if !is_one_result(&new.store) => Err(ONE_RESULT),
        JobPhase::Failed => Err(UNDAMAGED),
        _ => Ok(()),
    }
}

/// The result names the attempt that won the reduce task, and that was made of what won the map tasks.
fn is_one_result(store: &Store) -> bool {
    let Some(JobOutcome::Succeeded(winner)) = store.result else { return false };
    let made_of = store.data.get(&(N_MAPS, winner)).copied().flatten();
    let maps = store.map_winners();
    store.reduce_manifest == Some(winner)
        && store.markers[N_MAPS].is_some_and(|marker| marker.attempt == winner)
        && maps.is_some()
        && made_of == maps
}

fn store_step(old: &Store, new: &Store) -> Result<(), Violation> {
    if old.markers != new.markers || old.data != new.data || old.map_manifest != new.map_manifest {
        markers_and_data(old, new)?;
    }
    if let Some(named) = new.map_manifest {
        invariants::manifest(tasks_of(Stage::Map).map(task_id), &named, &markers(new))?;
    }
    if let Some(named) = new.reduce_manifest {
        invariants::manifest(tasks_of(Stage::Reduce).map(task_id), &[named], &markers(new))?;
    }
    invariants::result_step(old.result.as_ref(), new.result.as_ref())?;
    if old.history != new.history { audit(new) } else { Ok(()) }
}

fn markers(store: &Store) -> BTreeMap<TaskId, AttemptId> {
    let marked = store.markers.iter().enumerate();
    marked.filter_map(|(task, marker)| Some((task_id(task), marker.as_ref()?.attempt))).collect()
}

fn markers_and_data(old: &Store, new: &Store) -> Result<(), Violation> {
    for (task, (before, after)) in old.markers.iter().zip(&new.markers).enumerate() {
        invariants::marker_step(task_id(task), before.as_ref(), after.as_ref())?;
    }
    let index = |id: TaskId| tasks_of(id.stage).start + id.index as usize;
    invariants::marked_data(&markers(new), |task, attempt| new.data.contains_key(&(index(task), attempt)))?;
    match &new.markers[N_MAPS] {
        Some(marker) => {
            invariants::reduce_input(task_id(N_MAPS), marker.input.as_ref(), new.map_manifest.as_ref())
        }
        None => Ok(()),
    }
}

/// I1, I5 and I9.
fn audit(store: &Store) -> Result<(), Violation> {
    let lines: Vec<_> = store
        .history
        .iter()
        .enumerate()
        .flat_map(|(task, lines)| lines.iter().map(move |l| (task, l)))
        .collect();
    let last = lines.iter().map(|(_, line)| line.epoch.0).max().unwrap_or(0);
    let objects = (1..=last).flat_map(|epoch| {
        // The sequence of a line's object is the owner that has read the history last when the line comes.
        let read = Some((1..epoch).map(|earlier| (Epoch(earlier), epoch - 1)).collect());
        let owned = HistoryEvent::Owned { owner: Incarnation::new(Role::Master, epoch), read, at_ms: 0 };
        let own = lines.iter().filter(move |(_, line)| line.epoch.0 == epoch);
        let told = own.map(|(task, line)| (line.unread_by.map_or(0, |epoch| epoch.0), told(*task, line)));
        let object = move |(sequence, event)| History { epoch: Epoch(epoch), sequence, events: vec![event] };
        std::iter::once((0, owned)).chain(told).map(object)
    });
    invariants::history(&objects.collect::<Vec<_>>())
}

fn told(task: usize, line: &AuditLine) -> HistoryEvent {
    let (task, attempt, at_ms) = (task_id(task), line.attempt, 0);
    match line.what {
        Audited::Launched => {
            HistoryEvent::Launched { task, attempt, worker: Incarnation::new(Role::Worker, 0), at_ms }
        }
        Audited::Committed => HistoryEvent::Ended { task, attempt, end: AttemptEnd::Committed, at_ms },
    }
}

fn known_winners(s: &State) -> Result<(), Violation> {
    for owner in s.masters.iter().flatten().filter_map(|master| master.owner.as_ref()) {
        for (task, known) in owner.winners.iter().enumerate() {
            if let Some(known) = known {
                invariants::known_winner(task_id(task), *known, s.winner(task))?;
            }
        }
    }
    Ok(())
}

fn all_audited(s: &State) -> Result<(), &'static str> {
    for worker in s.workers.iter().flatten() {
        let Slot::Running(task, attempt, Executing::Begun) = worker.slot else { continue };
        let tells = |line: &AuditLine| {
            let was_there = line.unread_by.is_none_or(|reader| reader <= line.epoch);
            line.what == Audited::Launched && line.attempt == attempt && was_there
        };
        if !s.store.history[task].iter().any(tells) {
            return Err(AUDITED);
        }
    }
    Ok(())
}

impl Protocol {
    /// The master has decided to launch the task.
    pub(super) fn judge_launch(&self, s: &mut State, m: usize, task: usize) {
        let Some(owner) = s.owner(m) else { return };
        let speaker = Some((owner.record.epoch, owner.record.owner));
        let is_heard = |w: &usize| {
            let link = &s.links[m][*w];
            let quiet = link.orders.is_empty() && link.news.is_empty();
            owner.attached[*w] && link.is_open && quiet
        };
        let runs = |w: usize| match &s.workers[w] {
            Some(Worker { recognised, slot: Slot::Running(running, ..), .. }) => {
                *recognised == speaker && *running == task
            }
            _ => false,
        };
        let doubled = (0..N_WORKERS).filter(is_heard).any(runs);
        let repeated = self.faults.only_crashes() && s.winner(task).is_some();
        if doubled {
            s.breaks(ADOPTED);
        }
        if repeated {
            s.breaks(FINISHED);
        }
    }
}
