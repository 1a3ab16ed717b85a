//! Writing objects whose bytes are all there.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    connection::Connection,
    draft::{Draft, Target, patiently},
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
    let written = patiently(|| async { Draft::of(connection.clone(), file, chunks).await?.close().await });
    written.await?.publish(file, target).await
}
