//! Coordination within one process, for simulation and tests. A [`MemoryStore`] plays the server; every
//! [`Coordinator`] opened from it plays one process's connection, and [`MemoryStore::end_session`] plays the
//! death of that process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_core::Incarnation;
use tokio::sync::watch;

use crate::{CoordinationError, Coordinator, Entry, Lifetime, Version, child_name};

const URL: &str = "memory";

/// The entries and sessions that several coordinators share. Clones are the same store.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<String, (Entry, Option<Incarnation>)>,
    sessions: BTreeMap<Incarnation, watch::Sender<bool>>,
    ended: BTreeSet<Incarnation>,
    last_version: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore { state: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl MemoryStore {
    /// Connects to the store, with a session if there is an incarnation for it. Incarnations are never reused.
    pub fn open(&self, session: Option<Incarnation>) -> Result<Arc<dyn Coordinator>, CoordinationError> {
        let lost = watch::Sender::new(false);
        if let Some(incarnation) = &session {
            let mut state = self.lock();
            if state.sessions.contains_key(incarnation) || state.ended.contains(incarnation) {
                let why =
                    format!("{incarnation} had a session before: make a new incarnation at every start");
                return Err(CoordinationError::Unavailable { url: URL.to_owned(), why });
            }
            state.sessions.insert(incarnation.clone(), lost.clone());
        }
        Ok(Arc::new(Memory { store: self.clone(), session, lost }))
    }

    /// Ends a session as the death of its process would: its entries vanish, its writes fail from now on.
    pub fn end_session(&self, incarnation: &Incarnation) {
        let mut state = self.lock();
        let Some(lost) = state.sessions.remove(incarnation) else { return };
        state.ended.insert(incarnation.clone());
        state.entries.retain(|_, (_, session)| session.as_ref() != Some(incarnation));
        drop(state);
        lost.send_replace(true);
        self.changed();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }
}

impl State {
    fn next_version(&mut self) -> Version {
        self.last_version += 1;
        Version(self.last_version)
    }

    fn expect(&self, path: &str, expected: Version) -> Result<(), CoordinationError> {
        match self.entries.get(path) {
            Some((entry, _)) if entry.version == expected => Ok(()),
            _ => Err(CoordinationError::Conflict { path: path.to_owned() }),
        }
    }
}

/// One process's connection.
#[derive(Debug)]
struct Memory {
    store: MemoryStore,
    session: Option<Incarnation>,
    lost: watch::Sender<bool>,
}

impl Memory {
    fn write<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, CoordinationError>,
    ) -> Result<T, CoordinationError> {
        let mut state = self.store.lock();
        if self.session.as_ref().is_some_and(|session| !state.sessions.contains_key(session)) {
            return Err(CoordinationError::SessionLost);
        }
        let done = change(&mut state)?;
        drop(state);
        self.store.changed();
        Ok(done)
    }
}

#[async_trait]
impl Coordinator for Memory {
    async fn create(
        &self,
        path: &str,
        value: Bytes,
        lifetime: Lifetime,
    ) -> Result<Version, CoordinationError> {
        let session = lifetime.session(self.session.as_ref(), URL, path)?;
        self.write(|state| {
            if state.entries.contains_key(path) {
                return Err(CoordinationError::AlreadyExists { path: path.to_owned() });
            }
            let version = state.next_version();
            state.entries.insert(path.to_owned(), (Entry { value, version }, session.cloned()));
            Ok(version)
        })
    }

    async fn get(&self, path: &str) -> Result<Option<Entry>, CoordinationError> {
        Ok(self.store.lock().entries.get(path).map(|(entry, _)| entry.clone()))
    }

    async fn set(&self, path: &str, value: Bytes, expected: Version) -> Result<Version, CoordinationError> {
        self.write(|state| {
            state.expect(path, expected)?;
            let version = state.next_version();
            state.entries.entry(path.to_owned()).and_modify(|(entry, _)| *entry = Entry { value, version });
            Ok(version)
        })
    }

    async fn delete(&self, path: &str, expected: Version) -> Result<(), CoordinationError> {
        self.write(|state| {
            state.expect(path, expected)?;
            state.entries.remove(path);
            Ok(())
        })
    }

    async fn children(&self, parent: &str) -> Result<Vec<String>, CoordinationError> {
        let state = self.store.lock();
        Ok(state.entries.keys().filter_map(|path| child_name(parent, path)).map(str::to_owned).collect())
    }

    fn watch(&self, _parent: &str) -> watch::Receiver<u64> {
        self.store.changes.subscribe()
    }

    fn session_lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    async fn close(&self) {
        if let Some(session) = &self.session {
            self.store.end_session(session);
        }
    }
}
