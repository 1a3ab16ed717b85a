//! Stores that do not keep the rules are found out.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_coordination::{
    CoordinationError, Coordinator, Entry, Lifetime, Version, memory::MemoryStore, probe,
};
use tokio::sync::watch;

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    None,
    CreatesWhatIsThere,
    SetsAtAnyVersion,
    DeletesAtAnyVersion,
}

#[derive(Debug)]
struct Flawed {
    inner: Arc<dyn Coordinator>,
    flaw: Flaw,
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

async fn probed(flaw: Flaw) -> Result<(), CoordinationError> {
    probe(&Flawed { inner: MemoryStore::default().open(None).unwrap(), flaw }).await
}

#[tokio::test]
async fn a_store_that_does_not_compare_is_refused() {
    probed(Flaw::None).await.unwrap();
    let cases = [
        (Flaw::CreatesWhatIsThere, "64 of 64 contenders were told that they made it"),
        (Flaw::SetsAtAnyVersion, "64 of 64 contenders were told that they changed it"),
        (Flaw::DeletesAtAnyVersion, "an older version of it was deleted"),
    ];
    for (flaw, why) in cases {
        let error = probed(flaw).await.unwrap_err();
        assert!(matches!(error, CoordinationError::Lawless { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}
