//! What stands for a session at the servers: a lease, and a key that goes with it.

use std::time::Duration;

use bytes::Bytes;
use mapreduce_core::Incarnation;

use super::{
    connect::{Connection, Servers},
    failure::Trouble,
    wire::{self, PutRequest, TxnRequest},
};

/// The lease of who has no entries that live with a session. It says how soon a dead connection is noticed.
const LEASE_OF_READERS: Duration = Duration::from_secs(10);

/// What the servers know of the session.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub key: Bytes,
    pub lease: i64,
    /// What the servers granted, which may be more than was asked for.
    pub granted: Duration,
    /// In which revision the key was made.
    pub created: i64,
    /// In which revision the key was written last, as far as is known.
    pub fence: i64,
    /// How many writes are of unknown outcome, and how many of them can't take effect any more, if they have not yet.
    pub doubts: u64,
    pub settled: u64,
}

/// A lease that was granted: its number, and for how long it is.
pub(super) type Granted = (i64, Duration);

/// Makes the key; none if there is one of this name already. `granted` keeps the lease for another try, which by it finds
/// what an earlier one made whose answer was lost.
pub(super) async fn begin(
    servers: &Servers,
    connection: &Connection,
    incarnation: Option<&Incarnation>,
    lease: Option<Duration>,
    granted: &mut Option<Granted>,
) -> Result<Option<Own>, Trouble> {
    let (lease, granted) = match granted {
        Some(granted) => *granted,
        None => *granted.insert(connection.grant(lease.unwrap_or(LEASE_OF_READERS)).await?),
    };
    let name = incarnation.map_or_else(|| format!("client-{lease:x}"), ToString::to_string);
    let key: Bytes = format!("{}sessions/{name}", servers.prefix()).into();
    let transaction = TxnRequest {
        compare: vec![wire::made_in(&key, 0)],
        success: vec![wire::put(PutRequest { key: key.clone(), lease, ..PutRequest::default() })],
        failure: vec![wire::get(&key)],
    };
    let answer = connection.txn(transaction).await?;
    let (created, fence) = match answer.found() {
        None => (answer.revision(), answer.revision()),
        Some(found) if found.lease == lease => (found.create_revision, found.mod_revision),
        Some(_) => return Ok(None),
    };
    Ok(Some(Own { key, lease, granted, created, fence, doubts: 0, settled: 0 }))
}
