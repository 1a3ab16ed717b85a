//! A store that does not keep the rules.
#![allow(clippy::unwrap_used, dead_code, reason = "not every test that includes this file uses all of it")]

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_coordination::{CoordinationError, Coordinator, Entry, Lifetime, Version};
use tokio::sync::watch;

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Flaw {
    None,
    CreatesWhatIsThere,
    SetsAtAnyVersion,
    DeletesAtAnyVersion,
    /// Of the trial: its process is taken for dead just then.
    EndsSessionsAtDelete,
}

/// Another one, with a flaw.
#[derive(Debug)]
pub struct Flawed {
    pub inner: Arc<dyn Coordinator>,
    pub flaw: Flaw,
}

impl Flawed {
    async fn current(&self, path: &str, expected: Version) -> Version {
        self.inner.get(path).await.unwrap().map_or(expected, |entry| entry.version)
    }
}

#[async_trait]
impl Coordinator for Flawed {
    async fn create(&self, path: &str, value: Bytes, life: Lifetime) -> Result<Version, CoordinationError> {
        match self.inner.create(path, value.clone(), life).await {
            Err(CoordinationError::AlreadyExists { .. }) if self.flaw == Flaw::CreatesWhatIsThere => {
                self.inner.set(path, value, self.current(path, Version(0)).await).await
            }
            done => done,
        }
    }
    async fn get(&self, path: &str) -> Result<Option<Entry>, CoordinationError> {
        self.inner.get(path).await
    }
    async fn set(&self, path: &str, value: Bytes, expected: Version) -> Result<Version, CoordinationError> {
        let expected = match self.flaw {
            Flaw::SetsAtAnyVersion => self.current(path, expected).await,
            _ => expected,
        };
        self.inner.set(path, value, expected).await
    }
    async fn delete(&self, path: &str, expected: Version) -> Result<(), CoordinationError> {
        if self.flaw == Flaw::EndsSessionsAtDelete && path == "/trial" {
            return Err(CoordinationError::SessionLost);
        }
        let expected = match self.flaw {
            Flaw::DeletesAtAnyVersion => self.current(path, expected).await,
            _ => expected,
        };
        self.inner.delete(path, expected).await
    }
    async fn children(&self, parent: &str) -> Result<Vec<String>, CoordinationError> {
        self.inner.children(parent).await
    }
    fn watch(&self, parent: &str) -> watch::Receiver<u64> {
        self.inner.watch(parent)
    }
    fn session_lost(&self) -> watch::Receiver<bool> {
        self.inner.session_lost()
    }
    async fn close(&self) {
        self.inner.close().await;
    }
}
