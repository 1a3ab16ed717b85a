//! What masters do: take the job, load it, launch, seal, decide and end it (`master::ownership`, `recovery`,
//! `writer`).

use mapreduce_core::{AttemptId, Epoch, JobPhase, Stage};

use super::{
    Bug, Protocol,
    owner::{Launch, LaunchStage, Owner, Step},
    state::{
        AuditLine, Audited, JobOutcome, Late, MapManifest, N_MAPS, N_TASKS, N_WORKERS, Order, Record, Slot,
        State, stage_of,
    },
};

/// A step of one master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MasterStep {
    /// Reads the list of masters, before the record ([`Bug::MembersReadFirst`]).
    ReadMembers,
    /// Takes the job.
    Take,
    /// Tries to take the job and does not hear what became of it.
    TakeUnknown,
    /// Gives up on finding out ([`Bug::TakenUnawares`]).
    ForgetTake,
    /// Finds itself the owner and begins to act as such.
    BeginOwning,
    /// Reads the job's state from storage.
    Load,
    /// The same, with workers that have not answered for long.
    LoadImpatiently,
    /// Decides to launch the next task in the free slot of this worker.
    Launch(usize),
    /// Makes the history durable that tells of the launch.
    Record,
    /// Reads the record again.
    Confirm,
    /// Sends the assignment.
    Send,
    /// Reads the marker of a task.
    ReadMarker(usize),
    /// Writes a manifest.
    Seal,
    /// Writes a manifest and does not hear what became of it.
    SealUnknown,
    /// Writes what the history lacks, and the result.
    Decide,
    /// The same, and does not hear what became of the result.
    DecideUnknown,
    /// Shows the next phase in the record.
    Update,
    /// The same, and does not hear what became of it.
    UpdateUnknown,
    /// Saw that somebody wants the job cancelled.
    EndCancelled,
    /// Saw that somebody else owns the job, or that it has ended.
    Yield,
}

use MasterStep as Do;

/// Adds what this master can do now.
pub(super) fn enabled(protocol: &Protocol, s: &State, m: usize, out: &mut Vec<MasterStep>) {
    let Some(master) = &s.masters[m] else { return };
    match &master.owner {
        None => enabled_without_job(protocol, s, m, out),
        Some(owner) => {
            enabled_as_owner(protocol, s, m, owner, out);
            if s.record.owner != master.life || s.record.phase.is_terminal() {
                out.push(Do::Yield);
            }
        }
    }
}

fn enabled_without_job(protocol: &Protocol, s: &State, m: usize, out: &mut Vec<MasterStep>) {
    let Some(master) = s.masters[m].as_ref().filter(|_| !s.record.phase.is_terminal()) else { return };
    if s.record.owner == master.life {
        // A master that takes after a submission or a take of unknown outcome reads that the job is its own.
        if !protocol.has(Bug::TakenUnawares) || master.doubts_take {
            out.push(Do::BeginOwning);
        }
    } else if may_take(protocol, s, m) {
        out.push(Do::Take);
        if s.left.unknowns > 0 {
            out.push(Do::TakeUnknown);
        }
    }
    if protocol.has(Bug::MembersReadFirst) && master.seen.is_none() {
        out.push(Do::ReadMembers);
    }
    if master.doubts_take {
        out.push(Do::ForgetTake);
    }
}

/// The owner's entry is absent. It is read after the record, and an incarnation never comes back, so it is
/// still absent when the compare-and-set succeeds.
fn may_take(protocol: &Protocol, s: &State, m: usize) -> bool {
    let members = match s.masters[m].as_ref().and_then(|master| master.seen) {
        Some(seen) => seen,
        None if protocol.has(Bug::MembersReadFirst) => return false,
        None => s.registered_masters(),
    };
    !members.contains(&Some(s.record.owner)) || protocol.has(Bug::TakeFromLiveOwner)
}

fn enabled_as_owner(protocol: &Protocol, s: &State, m: usize, owner: &Owner, out: &mut Vec<MasterStep>) {
    let unknown = s.left.unknowns > 0;
    match owner.step {
        Step::Awaiting => {
            if !owner.awaited.contains(&true) || protocol.has(Bug::LoadedBeforeAnswers) {
                out.push(Do::Load);
            } else if s.left.silences > 0 {
                out.push(Do::LoadImpatiently);
            }
        }
        Step::Running(_) => {
            let launchable = owner.launch.is_none() && owner.next_waiting().is_some();
            out.extend(free_workers(s, m, owner).filter(|_| launchable).map(Do::Launch));
        }
        Step::Sealing(_) => push_with_doubt(Do::Seal, Do::SealUnknown, unknown, out),
        Step::Deciding => push_with_doubt(Do::Decide, Do::DecideUnknown, unknown, out),
        // The writer is done with a launch before it turns to what was asked for later.
        Step::Advancing | Step::Closing(_)
            if owner.launch.is_some_and(|launch| launch.stage != LaunchStage::Decided) => {}
        Step::Advancing | Step::Closing(_) => push_with_doubt(Do::Update, Do::UpdateUnknown, unknown, out),
    }
    out.extend(owner.launch.map(|launch| next_of_launch(protocol, launch.stage)));
    out.extend((0..N_TASKS).filter(|task| owner.held[*task]).map(Do::ReadMarker));
    let ends = matches!(owner.step, Step::Closing(_));
    if s.record.cancel && s.record.owner == owner.record.owner && !ends {
        out.push(Do::EndCancelled);
    }
}

fn next_of_launch(protocol: &Protocol, stage: LaunchStage) -> MasterStep {
    match stage {
        LaunchStage::Decided if !protocol.has(Bug::SentBeforeRecorded) => Do::Record,
        LaunchStage::Recorded if !protocol.has(Bug::SentUnconfirmed) => Do::Confirm,
        _ => Do::Send,
    }
}

fn push_with_doubt(step: MasterStep, unknown: MasterStep, may_doubt: bool, out: &mut Vec<MasterStep>) {
    out.push(step);
    if may_doubt {
        out.push(unknown);
    }
}

/// Workers whose free slot this owner may use. Of two that nothing tells apart the first will do.
fn free_workers<'a>(s: &'a State, m: usize, owner: &'a Owner) -> impl Iterator<Item = usize> + 'a {
    let is_free = move |w: usize| {
        let free = s.workers[w].as_ref().is_some_and(|worker| worker.slot == Slot::Free);
        free && owner.attached[w] && s.links[m][w].is_open
    };
    let same_as_first = move |w: usize| {
        let apart = |s: &State, w: usize| {
            s.workers[w]
                .as_ref()
                .map(|worker| (worker.life.nth, worker.is_registered, worker.recognised, worker.slot))
        };
        apart(s, 0) == apart(s, w)
            && s.links.iter().all(|links| links[0] == links[w])
            && owner.attached[0] == owner.attached[w]
            && owner.running.iter().all(|(at, _, _)| *at != 0 && *at != w)
    };
    (0..N_WORKERS).filter(move |&w| is_free(w) && (w == 0 || !same_as_first(w)))
}

impl Protocol {
    pub(super) fn master_steps(&self, s: &mut State, m: usize, step: MasterStep) {
        let members = s.registered_masters();
        if let Some(master) = &mut s.masters[m] {
            master.seen = (step == Do::ReadMembers).then_some(members);
        }
        match step {
            Do::ReadMembers => {}
            Do::Take => self.take(s, m),
            Do::TakeUnknown => self.take_unknown(s, m),
            Do::ForgetTake => s.masters[m].iter_mut().for_each(|master| master.doubts_take = false),
            Do::BeginOwning => self.begin_owning(s, m),
            Do::Load => load(s, m),
            Do::LoadImpatiently => {
                s.left.silences -= 1;
                load(s, m);
            }
            Do::Launch(w) => self.launch(s, m, w),
            Do::Record => self.record_launch(s, m),
            Do::Confirm => self.confirm_launch(s, m),
            Do::Send => send(s, m),
            Do::ReadMarker(task) => {
                let winner = s.winner(task);
                s.owner_mut(m).into_iter().for_each(|owner| owner.marker_read(task, winner));
            }
            Do::Seal => self.seal(s, m, false),
            Do::SealUnknown => self.seal(s, m, true),
            Do::Decide => self.decide(s, m, false),
            Do::DecideUnknown => self.decide(s, m, true),
            Do::Update => self.update(s, m, false),
            Do::UpdateUnknown => self.update(s, m, true),
            Do::EndCancelled => self.end_cancelled(s, m),
            Do::Yield => self.lose_job(s, m),
        }
    }

    fn taken_by(s: &State, m: usize) -> Option<Record> {
        let owner = s.masters[m].as_ref()?.life;
        Some(Record { owner, epoch: s.record.epoch.next(), ..s.record })
    }

    fn take(&self, s: &mut State, m: usize) {
        let Some(mine) = Self::taken_by(s, m) else { return };
        s.record = mine;
        self.begin_owning(s, m);
    }

    /// The master reads the record to find out, or gives up: it has the job if the write arrives.
    fn take_unknown(&self, s: &mut State, m: usize) {
        let Some(mine) = Self::taken_by(s, m) else { return };
        s.leave_open(Late::Record(s.record, mine));
        if let Some(master) = &mut s.masters[m] {
            master.doubts_take = self.has(Bug::TakenUnawares);
        }
    }

    /// Asks every worker that may know something.
    fn begin_owning(&self, s: &mut State, m: usize) {
        let attached = std::array::from_fn(|w| s.links[m][w].is_open);
        let registered = |w: usize| s.workers[w].as_ref().is_some_and(|worker| worker.is_registered);
        let awaited = std::array::from_fn(|w| attached[w] || registered(w));
        for link in s.links[m].iter_mut().filter(|link| link.is_open) {
            link.orders.push(Order::Query(s.record.epoch));
        }
        let record = s.record;
        if let Some(master) = &mut s.masters[m] {
            master.doubts_take = false;
            master.owner = Some(Owner::taken(record, attached, awaited));
        }
    }

    fn launch(&self, s: &mut State, m: usize, w: usize) {
        let Some(owner) = s.owner(m) else { return };
        let Some(task) = owner.next_waiting() else { return };
        let epoch = if self.has(Bug::AttemptIdReused) { Epoch(0) } else { owner.record.epoch };
        let attempt = AttemptId { epoch, number: u32::from(owner.n_launched[task]) + 1 };
        self.judge_launch(s, m, task);
        s.owner_mut(m).into_iter().for_each(|owner| owner.launch(w, task, attempt));
        s.workers[w].iter_mut().for_each(|worker| worker.slot = Slot::Offered(m));
    }

    fn record_launch(&self, s: &mut State, m: usize) {
        self.write_history(s, m);
        set_launch(s, m, LaunchStage::Recorded);
    }

    /// A former owner stops here.
    fn confirm_launch(&self, s: &mut State, m: usize) {
        if !reread(s, m) {
            return self.lose_job(s, m);
        }
        set_launch(s, m, LaunchStage::Confirmed);
    }

    /// Objects are named by epoch, so the order of the lines is that of epochs, whoever writes last.
    fn write_history(&self, s: &mut State, m: usize) {
        let Some(owner) = s.masters[m].as_mut().and_then(|master| master.owner.as_mut()) else { return };
        let events = std::mem::take(&mut owner.events);
        let reader = s.store.history_reader;
        let unread_by = if self.has(Bug::LateHistoryTakenForRead) { None } else { reader };
        for (lines, new) in s.store.history.iter_mut().zip(events) {
            lines.extend(new.into_iter().map(|line| AuditLine { unread_by, ..line }));
            lines.sort_by_key(|line| line.epoch);
        }
    }

    fn seal(&self, s: &mut State, m: usize, unknown: bool) {
        let Some(Step::Sealing(stage)) = s.owner(m).map(|owner| owner.step) else { return };
        if stage == Stage::Map && self.has(Bug::PhaseBeforeManifest) {
            return set_step(s, m, Step::Advancing);
        }
        let named: [Option<AttemptId>; N_TASKS] = std::array::from_fn(|task| self.named_by_manifest(s, task));
        let (write, there, next) = match (stage, named) {
            (Stage::Map, [Some(first), Some(second), _]) => {
                let there = s.store.map_manifest.map(Late::MapManifest);
                (Late::MapManifest([first, second]), there, Step::Advancing)
            }
            (Stage::Reduce, [_, _, Some(winner)]) => {
                let there = s.store.reduce_manifest.map(Late::ReduceManifest);
                (Late::ReduceManifest(winner), there, Step::Deciding)
            }
            // Markers that were there are gone: no owner could go on.
            _ => return self.give_up(s, m),
        };
        match there {
            Some(there) if there != write => self.give_up(s, m),
            _ if unknown => {
                s.leave_open(write);
                if self.has(Bug::UnknownTakenForSuccess) {
                    set_step(s, m, next);
                }
            }
            _ => {
                s.store.create(write);
                set_step(s, m, next);
            }
        }
    }

    fn named_by_manifest(&self, s: &State, task: usize) -> Option<AttemptId> {
        if self.has(Bug::SealByListingData) {
            return s.store.data.keys().rfind(|(of, _)| *of == task).map(|(_, attempt)| *attempt);
        }
        s.winner(task)
    }

    fn give_up(&self, s: &mut State, m: usize) {
        self.write_history(s, m);
        s.store.create(Late::Result(JobOutcome::Failed));
        set_step(s, m, Step::Closing(JobPhase::Failed));
    }

    /// A result that is there already binds.
    fn decide(&self, s: &mut State, m: usize, unknown: bool) {
        let Some(winner) = s.owner(m).and_then(|owner| owner.winners[N_MAPS]) else { return };
        self.write_history(s, m);
        let wanted = Late::Result(JobOutcome::Succeeded(winner));
        if unknown {
            s.leave_open(wanted);
            if !self.has(Bug::UnknownTakenForSuccess) {
                return;
            }
        } else {
            s.store.create(wanted);
        }
        let phase = match s.store.result {
            Some(JobOutcome::Failed) => JobPhase::Failed,
            _ => JobPhase::Succeeded,
        };
        set_step(s, m, Step::Closing(phase));
    }

    /// Changes the record, at this owner's epoch or not at all.
    fn update(&self, s: &mut State, m: usize, unknown: bool) {
        let Some(owner) = s.owner(m) else { return };
        let known = owner.record;
        let Some(wanted) = wanted(known, owner.step) else { return };
        if unknown {
            s.leave_open(Late::Record(known, wanted));
            if self.has(Bug::UnknownTakenForSuccess) {
                self.updated(s, m, wanted);
            }
        } else if s.record == known || self.has(Bug::EpochNotChecked) {
            s.record = wanted;
            self.updated(s, m, wanted);
        } else if s.record == wanted {
            // An earlier try of unknown outcome has arrived.
            self.updated(s, m, wanted);
        } else if !reread(s, m) {
            self.lose_job(s, m);
        }
    }

    fn updated(&self, s: &mut State, m: usize, wanted: Record) {
        if wanted.phase.is_terminal() {
            return self.lose_job(s, m);
        }
        if let Some(owner) = s.owner_mut(m) {
            owner.record = wanted;
            owner.advanced();
        }
    }

    /// What has not been sent is not sent any more.
    fn end_cancelled(&self, s: &mut State, m: usize) {
        let launch = s
            .owner_mut(m)
            .and_then(|owner| owner.launch.take_if(|launch| launch.stage == LaunchStage::Decided));
        self.withdraw(s, m, launch);
        set_step(s, m, Step::Closing(JobPhase::Cancelled));
    }

    /// The job has got another owner, or has ended.
    fn lose_job(&self, s: &mut State, m: usize) {
        let owner = s.masters[m].as_mut().and_then(|master| master.owner.take());
        self.withdraw(s, m, owner.and_then(|owner| owner.launch));
    }

    /// The worker must hear that nothing comes for the slot it offered.
    fn withdraw(&self, s: &mut State, m: usize, launch: Option<Launch>) {
        if let Some(launch) = launch
            && !self.has(Bug::OfferForgotten)
            && s.links[m][launch.worker].is_open
        {
            s.links[m][launch.worker].orders.push(Order::Decline);
        }
    }
}

/// What the record is to show after this step.
fn wanted(known: Record, step: Step) -> Option<Record> {
    match step {
        Step::Advancing => Some(Record { phase: JobPhase::Reduce, ..known }),
        Step::Closing(_) if known.cancel => Some(Record { phase: JobPhase::Cancelled, ..known }),
        Step::Closing(phase) => Some(Record { phase, ..known }),
        _ => None,
    }
}

fn set_launch(s: &mut State, m: usize, stage: LaunchStage) {
    s.owner_mut(m)
        .and_then(|owner| owner.launch.as_mut())
        .into_iter()
        .for_each(|launch| launch.stage = stage);
}

fn set_step(s: &mut State, m: usize, step: Step) {
    s.owner_mut(m).into_iter().for_each(|owner| owner.step = step);
}

/// Whether the job is still this master's.
fn reread(s: &mut State, m: usize) -> bool {
    let record = s.record;
    let Some(owner) = s.owner_mut(m) else { return false };
    let is_mine = (record.owner, record.epoch) == (owner.record.owner, owner.record.epoch);
    if is_mine && !record.phase.is_terminal() {
        owner.record = record;
        return true;
    }
    false
}

fn load(s: &mut State, m: usize) {
    let Some(record) = s.owner(m).map(|owner| owner.record) else { return };
    s.store.history_reader = s.store.history_reader.max(Some(record.epoch));
    let stage = if record.phase == JobPhase::Map { Stage::Map } else { Stage::Reduce };
    let winners = std::array::from_fn(|task| s.winner(task).filter(|_| stage_of(task) == stage));
    let in_history = std::array::from_fn(|task| {
        let knows = |line: &AuditLine| line.what == Audited::Committed;
        s.store.history[task].iter().any(knows)
    });
    s.owner_mut(m).into_iter().for_each(|owner| owner.loaded(winners, in_history));
}

/// Into the stream over which the slot was offered; an owner that lost it has dropped the launch.
fn send(s: &mut State, m: usize) {
    let Some(owner) = s.owner_mut(m) else { return };
    let epoch = owner.record.epoch;
    let Some(Launch { worker, task, attempt, .. }) = owner.launch.take() else { return };
    if s.links[m][worker].is_open {
        s.links[m][worker].orders.push(Order::Assign(epoch, task, attempt));
    }
}

impl State {
    /// The sender does not know what becomes of this write.
    pub(super) fn leave_open(&mut self, write: Late) {
        self.left.unknowns -= 1;
        self.late.push(write);
    }
}

impl super::state::Store {
    /// Creates an object unless it is there.
    pub(super) fn create(&mut self, write: Late) {
        match write {
            Late::Marker(task, marker) => _ = self.markers[task].get_or_insert(marker),
            Late::MapManifest(manifest) => _ = self.map_manifest.get_or_insert(manifest),
            Late::ReduceManifest(winner) => _ = self.reduce_manifest.get_or_insert(winner),
            Late::Result(result) => _ = self.result.get_or_insert(result),
            Late::Record(..) => {}
        }
    }

    /// The map stage's manifest, as the markers have it.
    pub(super) fn map_winners(&self) -> Option<MapManifest> {
        let [Some(first), Some(second), _] = self.markers else { return None };
        Some([first.attempt, second.attempt])
    }
}
