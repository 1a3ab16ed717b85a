//! Finding masters that live: coordination says who does, and when that changes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mapreduce_coordination::{
    Coordinator,
    records::{Member, RecordError, cluster, is_alive, members},
};
use mapreduce_core::{Incarnation, Role};
use mapreduce_identity::{NoWay, endpoint};
use mapreduce_rpc::{MESSAGE_BYTES_MAX, control::jobs_client::JobsClient, headers::is_other_version};
use tokio::sync::{Mutex, watch};
use tonic::{Status, transport::Channel};

use super::{ClientError, error::with_sources};

/// A local connection is made in microseconds; a remote one in one round trip.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A master that is registered.
#[derive(Debug, Clone)]
pub(super) struct Master {
    pub incarnation: Incarnation,
    address: String,
    channel: Channel,
}

impl Master {
    fn connect_lazily(member: &Member, ca: Option<&str>) -> Result<Master, NoWay> {
        let address = member.address.clone().unwrap_or_default();
        let channel = endpoint(&address, ca, CONNECT_TIMEOUT)?.connect_lazy();
        Ok(Master { incarnation: member.incarnation.clone(), address, channel })
    }

    /// That it is none of those that answered, and why.
    pub fn unreachable(&self, status: &Status) -> String {
        // What tonic says itself is where it comes from, and that there was an error.
        let why = std::error::Error::source(status).map_or_else(|| status.to_string(), with_sources);
        format!("{} at {} ({why})", self.incarnation, self.address)
    }

    /// What its answer means.
    pub fn error(&self, status: Status) -> ClientError {
        match is_other_version(&status) {
            true => ClientError::OtherVersion {
                master: self.incarnation.clone(),
                address: self.address.clone(),
                why: status.message().to_owned(),
            },
            false => status.into(),
        }
    }

    pub fn client(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// The masters of a cluster, and open connections to them.
#[derive(Debug)]
pub(super) struct Masters {
    pub coordinator: Arc<dyn Coordinator>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    changes: watch::Receiver<u64>,
    live: Vec<Master>,
    turn: usize,
}

impl Masters {
    pub fn new(coordinator: Arc<dyn Coordinator>) -> Masters {
        let mut changes = coordinator.watch("/masters");
        changes.mark_changed();
        Masters { coordinator, known: Mutex::new(Known { changes, live: Vec::new(), turn: 0 }) }
    }

    /// The live masters, a different one first at every call, so that they share the work.
    pub async fn live(&self) -> Result<Vec<Master>, ClientError> {
        let mut known = self.known.lock().await;
        // An error means that coordination was closed, and shows in the next read.
        if known.changes.has_changed().unwrap_or(true) {
            known.changes.borrow_and_update();
            let (registered, ca) = self.registered().await.inspect_err(|_| known.changes.mark_changed())?;
            let mut open: HashMap<Incarnation, Master> =
                known.live.drain(..).map(|master| (master.incarnation.clone(), master)).collect();
            let kept_or_new = |member: &Member| match open.remove(&member.incarnation) {
                Some(master) => Ok(master),
                None => Master::connect_lazily(member, ca.as_deref()),
            };
            let live: Result<_, NoWay> = registered.iter().map(kept_or_new).collect();
            known.live = live.inspect_err(|_| known.changes.mark_changed())?;
        }
        let mut live = known.live.clone();
        if !live.is_empty() {
            known.turn = (known.turn + 1) % live.len();
            live.rotate_left(known.turn);
        }
        Ok(live)
    }

    /// The registered masters, and the authority by whose certificate they are known, if they speak TLS.
    async fn registered(&self) -> Result<(Vec<Member>, Option<String>), RecordError> {
        let registered = members(&*self.coordinator, Role::Master).await?;
        // Read after them: masters make the record before they register.
        let record = cluster(&*self.coordinator).await?;
        Ok((registered, record.and_then(|(record, _)| record.ca)))
    }

    /// Tells of changes among the masters.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.coordinator.watch("/masters")
    }

    /// Returns when `incarnation` is no longer registered.
    pub async fn gone(&self, incarnation: &Incarnation) -> Result<(), RecordError> {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            if !is_alive(&*self.coordinator, incarnation).await? || changes.changed().await.is_err() {
                return Ok(());
            }
        }
    }
}
