//! The workers, as one master sees them.

use std::collections::{BTreeMap, BTreeSet};

use mapreduce_core::{Incarnation, JobId};

#[derive(Debug, Default)]
pub(super) struct Pool {
    attached: BTreeMap<Incarnation, Worker>,
    /// Those of them that don't know that offers are welcome.
    uninvited: BTreeSet<Incarnation>,
    /// Of all attached workers.
    n_slots: usize,
    registered: BTreeSet<Incarnation>,
}

#[derive(Debug, Default)]
struct Worker {
    n_slots: u32,
    last_job: Option<JobId>,
}

impl Pool {
    pub(super) fn attach(&mut self, worker: Incarnation, n_slots: u32) {
        self.detach(&worker);
        // A worker without slots is never invited.
        if n_slots > 0 {
            self.uninvited.insert(worker.clone());
        }
        self.n_slots += n_slots as usize;
        self.attached.insert(worker, Worker { n_slots, last_job: None });
    }

    /// Whether it was attached.
    pub(super) fn detach(&mut self, worker: &Incarnation) -> bool {
        self.uninvited.remove(worker);
        let Some(state) = self.attached.remove(worker) else { return false };
        self.n_slots -= state.n_slots as usize;
        true
    }

    /// Of all attached workers.
    pub(super) fn n_slots(&self) -> usize {
        self.n_slots
    }

    pub(super) fn set_registered(&mut self, workers: Vec<Incarnation>) {
        self.registered = workers.into_iter().collect();
    }

    pub(super) fn is_attached(&self, worker: &Incarnation) -> bool {
        self.attached.contains_key(worker)
    }

    /// Whether it is alive as far as is known: attached, or registered and about to attach.
    pub(super) fn may_answer(&self, worker: &Incarnation) -> bool {
        self.is_attached(worker) || self.registered.contains(worker)
    }

    pub(super) fn may_answer_all(&self) -> Vec<Incarnation> {
        let all: BTreeSet<_> = self.attached.keys().chain(&self.registered).cloned().collect();
        all.into_iter().collect()
    }

    pub(super) fn uninvited(&self) -> &BTreeSet<Incarnation> {
        &self.uninvited
    }

    pub(super) fn set_invited(&mut self, worker: &Incarnation) {
        self.uninvited.remove(worker);
    }

    /// An attached worker was declined: it offers nothing before it is invited again.
    pub(super) fn set_declined(&mut self, worker: &Incarnation) {
        self.uninvited.insert(worker.clone());
    }

    pub(super) fn last_job(&self, worker: &Incarnation) -> Option<JobId> {
        self.attached.get(worker).and_then(|state| state.last_job)
    }

    pub(super) fn that_served_last(&self, job: JobId) -> Vec<Incarnation> {
        let served = self.attached.iter().filter(|(_, state)| state.last_job == Some(job));
        served.map(|(worker, _)| worker.clone()).collect()
    }

    pub(super) fn set_last_job(&mut self, worker: &Incarnation, job: JobId) {
        if let Some(state) = self.attached.get_mut(worker) {
            state.last_job = Some(job);
        }
    }
}
