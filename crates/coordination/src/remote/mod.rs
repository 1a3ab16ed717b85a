//! What backends with servers elsewhere, ZooKeeper and etcd, have in common: their URLs, how long they wait for a server,
//! and what a call that went wrong means.

mod failure;
mod url;

use std::time::Duration;

use bytes::Bytes;

pub(crate) use self::{
    failure::Failure,
    url::{Login, Place, shown},
};

/// How long to look for a server at the start, and how long a call waits for one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Both kinds of servers take little more, unless they are told to: 1 MiB for a whole message, 1.5 MiB for a request.
const VALUE_BYTES_MAX: usize = 1_000_000;

/// Refuses what the servers would, some of them by cutting the connection.
pub(crate) fn check_length(path: &str, value: &Bytes, servers: &str) -> Result<(), Failure> {
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let n = value.len();
    Err(Failure::NotDone(format!("{path} would hold {n} bytes, and {servers} takes {VALUE_BYTES_MAX}")))
}
