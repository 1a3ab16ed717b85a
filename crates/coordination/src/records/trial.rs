//! `/trial`: somebody tries the stores before there is a cluster in them. The entry is ephemeral: whoever dies meanwhile
//! leaves it to the next.

use bytes::Bytes;

use super::{RecordError, Write};
use crate::{CoordinationError, Coordinator, Lifetime, Version};

const PATH: &str = "/trial";

/// Takes the trial; `by` is a number that nobody else has. None: another process has it.
pub async fn begin_trial(c: &dyn Coordinator, by: u64) -> Result<Option<Version>, RecordError> {
    let value = Bytes::from(format!("{by:016x}"));
    match Write::Create(value, Lifetime::Session).apply(c, PATH).await {
        Ok(version) => Ok(Some(version)),
        Err(CoordinationError::AlreadyExists { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns when nobody has the trial.
pub async fn trial_over(c: &dyn Coordinator) -> Result<(), RecordError> {
    let mut changes = c.watch("/");
    loop {
        changes.borrow_and_update();
        // An error means that coordination was closed, and shows in the next read.
        if c.get(PATH).await?.is_none() || changes.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Leaves the trial that was begun at `version`.
pub async fn end_trial(c: &dyn Coordinator, version: Version) -> Result<(), RecordError> {
    Write::Delete(version).apply(c, PATH).await?;
    Ok(())
}
