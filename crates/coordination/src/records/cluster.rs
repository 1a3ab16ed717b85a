//! `/cluster`: which cluster this is, and what whoever knows its coordination must be told of the rest.

use mapreduce_core::{ClusterId, Persisted};
use serde::{Deserialize, Serialize};

use super::{RecordError, Write, read};
use crate::{Coordinator, Lifetime, Version};

const PATH: &str = "/cluster";

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// The same in its storage.
    pub id: ClusterId,
    /// The storage's URL, without options.
    pub storage: String,
    /// The certificate, in PEM, that masters' certificates are signed with; none: the cluster lives on loopback.
    pub ca: Option<String>,
}

impl Persisted for ClusterRecord {
    const KIND: &'static str = "cluster";
    const VERSION: u32 = 1;
}

/// Which cluster it is; none, if there never was a master or worker.
pub async fn cluster(c: &dyn Coordinator) -> Result<Option<(ClusterRecord, Version)>, RecordError> {
    read(c, PATH).await
}

/// Makes the record. `AlreadyExists` if there is another.
pub async fn create_cluster(c: &dyn Coordinator, record: &ClusterRecord) -> Result<Version, RecordError> {
    Ok(Write::Create(record.encode().into(), Lifetime::Durable).apply(c, PATH).await?)
}

/// Replaces the record that is at `version`.
pub async fn update_cluster(
    c: &dyn Coordinator,
    record: &ClusterRecord,
    version: Version,
) -> Result<Version, RecordError> {
    Ok(Write::Set(record.encode().into(), version).apply(c, PATH).await?)
}

/// Removes the record that is at `version`.
pub async fn delete_cluster(c: &dyn Coordinator, version: Version) -> Result<(), RecordError> {
    Write::Delete(version).apply(c, PATH).await?;
    Ok(())
}
