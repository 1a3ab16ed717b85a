//! Writing objects whose bytes are all there.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{
    connection::{Connection, PATIENCE, PAUSE},
    draft::{Draft, Target, Written},
    failure::Failure,
};

/// Makes an object of `chunks`.
pub(super) async fn put(
    connection: Arc<Connection>,
    file: &str,
    chunks: &[Bytes],
    target: Target,
) -> Result<(), Failure> {
    if target == Target::MustBeAbsent {
        // Who comes late need not write anything; closing a file takes long. The decision is the rename's.
        match connection.status(file).await {
            Ok(_) => return Err(Failure::Exists),
            Err(Failure::Absent) => {}
            Err(failure) => return Err(failure),
        }
    }
    patiently(&connection, file, chunks).await?.publish(file, target).await
}

/// Writes them, again if it fails: it has no effect yet, and the next file goes to other DataNodes. The NameNode goes on
/// sending writers to one that died until it notices, after ten minutes unless it is told otherwise.
async fn patiently(connection: &Arc<Connection>, file: &str, chunks: &[Bytes]) -> Result<Written, Failure> {
    let began = Instant::now();
    loop {
        match write(connection, file, chunks).await {
            Err(failure) if failure.may_pass() && began.elapsed() < PATIENCE => sleep(PAUSE).await,
            // Nothing is in doubt before the rename.
            Err(Failure::Unknown(why)) => return Err(Failure::NotNow(why)),
            done => return done,
        }
    }
}

async fn write(connection: &Arc<Connection>, file: &str, chunks: &[Bytes]) -> Result<Written, Failure> {
    let mut draft = Draft::begin(connection.clone(), file).await?;
    for chunk in chunks {
        if let Err(failure) = draft.write(chunk.clone()).await {
            draft.discard().await;
            return Err(failure);
        }
    }
    draft.close().await
}
