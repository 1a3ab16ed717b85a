//! `/tokens/<id>`: what lets one more machine join the cluster, once.

use mapreduce_core::{Persisted, Role};
use serde::{Deserialize, Serialize};

use super::{RecordError, Write, read};
use crate::{CoordinationError, Coordinator, Lifetime, Version};

const PARENT: &str = "/tokens";

fn path(id: &str) -> String {
    format!("{PARENT}/{id}")
}

/// A token as the cluster knows it, without what only its bearer knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// BLAKE3 of the bearer's secret, hexadecimal.
    pub hash: String,
    /// What the bearer's machine may run.
    pub role: Role,
    /// When it ends, in milliseconds since 1970.
    pub expires_at_ms: u64,
}

impl Persisted for TokenRecord {
    const KIND: &'static str = "token-record";
    const VERSION: u32 = 1;
}

/// Makes the record of a new token.
pub async fn create_token(c: &dyn Coordinator, id: &str, record: &TokenRecord) -> Result<(), RecordError> {
    Write::Create(record.encode().into(), Lifetime::Durable).apply(c, &path(id)).await?;
    Ok(())
}

/// The token's record, if it was not used and has not ended long ago. A name that no token can have is no token's.
pub async fn token(c: &dyn Coordinator, id: &str) -> Result<Option<(TokenRecord, Version)>, RecordError> {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    read(c, &path(id)).await
}

/// Uses the token up: whether this is who does. Of any number of contenders one does, or none: a doubt is an error, and
/// another token has to be made.
pub async fn take_token(c: &dyn Coordinator, id: &str, version: Version) -> Result<bool, RecordError> {
    match c.delete(&path(id), version).await {
        Ok(()) => Ok(true),
        Err(CoordinationError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes tokens that have ended.
pub async fn remove_tokens(c: &dyn Coordinator, now_ms: u64) -> Result<(), RecordError> {
    for id in c.children(PARENT).await? {
        let Some((record, version)) = token(c, &id).await? else { continue };
        if record.expires_at_ms <= now_ms {
            take_token(c, &id, version).await?;
        }
    }
    Ok(())
}
