//! Stores that do not keep the rules are found out.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "support/flawed.rs"]
mod flawed;

use flawed::{Flaw, Flawed};
use mapreduce_coordination::{CoordinationError, memory::MemoryStore, probe};
use mapreduce_core::{Incarnation, Role};

async fn probed(flaw: Flaw) -> Result<(), CoordinationError> {
    let session = Incarnation::new(Role::Master, 1);
    let inner = MemoryStore::default().open(Some(session)).unwrap();
    let probed = probe(&Flawed { inner: inner.clone(), flaw }).await;
    inner.close().await;
    assert_eq!(
        inner.children("").await.unwrap(),
        [""; 0],
        "what was tried goes with the session at the latest"
    );
    probed
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
