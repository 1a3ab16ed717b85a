//! Whether a store keeps the rules that the protocol stands on.

use bytes::Bytes;
use futures::future::join_all;

use crate::{CoordinationError, Coordinator, Lifetime, Version};

/// How many want to write one entry at one time.
const CONTENDERS: usize = 64;

/// Tries on an entry of its own, `/probe-<random>`, whether exactly one of 64 contenders makes it, whether exactly one of
/// 64 changes it from there, whether an older version can't be deleted, and whether everybody then reads what the winners
/// wrote. A store that fails is refused by [`CoordinationError::Lawless`]. Needs a session: the entry lives with it, so that
/// nothing is left of a probe that is cut short.
pub async fn probe(coordinator: &dyn Coordinator) -> Result<(), CoordinationError> {
    let random = getrandom::u64().map_err(|error| CoordinationError::Unavailable {
        url: "/probe".to_owned(),
        why: format!("no randomness: {error}"),
    })?;
    Probe { coordinator, path: &format!("/probe-{random:016x}") }.run().await
}

struct Probe<'a> {
    coordinator: &'a dyn Coordinator,
    path: &'a str,
}

impl Probe<'_> {
    async fn run(&self) -> Result<(), CoordinationError> {
        let create = |n: usize| self.coordinator.create(self.path, value(n), Lifetime::Session);
        let created = self.winner("made", join_all((0..CONTENDERS).map(create)).await).await?;
        let set = |n: usize| self.coordinator.set(self.path, value(n), created);
        let changed = self.winner("changed", join_all((0..CONTENDERS).map(set)).await).await?;
        match self.coordinator.delete(self.path, created).await {
            Err(CoordinationError::Conflict { .. }) => {}
            Ok(()) => return Err(self.lawless("an older version of it was deleted".to_owned())),
            Err(error) => return Err(error),
        }
        self.coordinator.delete(self.path, changed).await?;
        match self.coordinator.get(self.path).await? {
            None => Ok(()),
            Some(_) => Err(self.lawless("what was deleted is still there".to_owned())),
        }
    }

    /// The version of the one write that took effect; it must be what is read.
    async fn winner(
        &self,
        done: &str,
        outcomes: Vec<Result<Version, CoordinationError>>,
    ) -> Result<Version, CoordinationError> {
        let mut winners = Vec::new();
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(version) => winners.push((n, version)),
                Err(CoordinationError::AlreadyExists { .. } | CoordinationError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let [(n, version)] = winners[..] else {
            let told = winners.len();
            return Err(
                self.lawless(format!("{told} of {CONTENDERS} contenders were told that they {done} it"))
            );
        };
        match self.coordinator.get(self.path).await? {
            Some(entry) if entry.version == version && entry.value == value(n) => Ok(version),
            found => Err(self.lawless(format!("what was {done} at {version:?} reads back as {found:?}"))),
        }
    }

    fn lawless(&self, why: String) -> CoordinationError {
        CoordinationError::Lawless { path: self.path.to_owned(), why }
    }
}

fn value(n: usize) -> Bytes {
    Bytes::from(n.to_string())
}
