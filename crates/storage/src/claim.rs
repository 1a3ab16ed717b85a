//! `cluster`: whose storage this is, so that no two clusters ever write to one.

use mapreduce_core::{ClusterId, Persisted};
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use crate::{Created, StorageError, Store, create, paths, read};

/// A cluster's claim to its storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Whose it is.
    pub cluster: ClusterId,
    /// Where that was found when the claim was made, for people.
    pub coordination: String,
}

impl Persisted for Claim {
    const KIND: &'static str = "claim";
    const VERSION: u32 = 1;
}

/// Whose the storage is; none, if nobody has claimed it.
pub async fn claim(store: &Store) -> Result<Option<Claim>, StorageError> {
    read(store, &paths::claim()).await
}

/// Claims the storage, unless somebody has before: whether it is claimed by this now.
pub async fn make_claim(store: &Store, claim: &Claim) -> Result<bool, StorageError> {
    Ok(!matches!(create(store, &paths::claim(), claim).await?, Created::Other(_)))
}

/// Gives the storage up. Nobody may be using it any more.
pub async fn delete_claim(store: &Store) -> Result<(), StorageError> {
    match store.delete(&paths::claim()).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(StorageError::of(&paths::claim(), error)),
    }
}
