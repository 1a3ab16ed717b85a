//! Before a cluster is made in stores, they are tried: do they keep the rules that the protocol stands on?

use mapreduce_coordination::{
    CoordinationError,
    records::{self, ClusterRecord, RecordError},
};
use mapreduce_storage::{self as storage, StorageError};

use crate::{IdentityError, Stores, error::of_record, public_url};

impl Stores<'_> {
    /// Whether no cluster in these stores ever leaves this machine. Then its kernel keeps the rules: there is nothing that a
    /// trial from one machine could find out. (What a file system on a network does wrong shows between two.)
    pub(crate) fn are_local(self) -> bool {
        self.coordination.starts_with("sqlite://") && self.storage.starts_with("file://")
    }

    /// Tries both stores and makes the record, if one is given and both keep the rules. One process does so at a time: of
    /// any number that start at once one tries, and what it leaves in storage when it dies is deleted by the next. False:
    /// another process was first; look again.
    pub(crate) async fn begin(self, new: Option<&ClusterRecord>) -> Result<bool, IdentityError> {
        let me = getrandom::u64().map_err(IdentityError::Random)?;
        let Some(turn) = records::begin_trial(self.coordinator, me).await? else {
            tracing::info!("waiting for another process, which tries the stores");
            records::trial_over(self.coordinator).await?;
            return Ok(false);
        };
        let begun = self.begin_in_turn(new).await;
        match records::end_trial(self.coordinator, turn).await {
            // Others went on without this process; what it saw may be what they did.
            Err(error @ RecordError::Coordination(CoordinationError::SessionLost)) => Err(error.into()),
            ended => begun.and_then(|begun| Ok(ended.map(|()| begun)?)),
        }
    }

    async fn begin_in_turn(self, new: Option<&ClusterRecord>) -> Result<bool, IdentityError> {
        let found = records::cluster(self.coordinator).await;
        if found.map_err(of_record(self.coordination))?.is_some() {
            return Ok(false);
        }
        self.try_both().await?;
        if let Some(record) = new {
            self.create(record).await?;
        }
        Ok(true)
    }

    async fn try_both(self) -> Result<(), IdentityError> {
        let lawless = |url: &str, why: String| Err(IdentityError::Lawless { url: public_url(url), why });
        match mapreduce_coordination::probe(self.coordinator).await {
            Err(error @ CoordinationError::Lawless { .. }) => {
                return lawless(self.coordination, error.to_string());
            }
            tried => tried.map_err(RecordError::from)?,
        }
        match storage::probe(self.store).await {
            Err(error @ StorageError::Lawless { .. }) => lawless(self.storage, error.to_string()),
            tried => Ok(tried?),
        }
    }
}
