//! Removing the jobs of a cluster that has ended from stores that are not in its directory, and what binds the two
//! together. The number of the last job stays in coordination, so that no id is ever given again.

use mapreduce_coordination::records;

use super::ClusterError;
use crate::{ClusterUrls, client::ClientError};

/// Removes every job, ended or not, and then the cluster itself. Nobody may be at work on them any more.
pub(super) async fn remove_cluster(urls: &ClusterUrls) -> Result<(), ClusterError> {
    remove(urls).await.map_err(|e| ClusterError::Left {
        coordination: urls.coordination.clone(),
        storage: urls.storage.clone(),
        why: e.to_string(),
    })
}

async fn remove(urls: &ClusterUrls) -> Result<(), ClientError> {
    let coordinator = mapreduce_coordination::open(&urls.coordination, None).await?;
    let store = mapreduce_storage::open(&urls.storage)?;
    for (record, version) in records::jobs(&*coordinator).await? {
        // Objects first: what is cut short can be repeated as long as the record is there.
        mapreduce_storage::delete_job(&store, record.job).await?;
        records::delete_job(&*coordinator, record.job, version).await?;
    }
    // Last: as long as anything of the cluster is there, no other one may take its place.
    mapreduce_storage::delete_claim(&store).await?;
    if let Some((_, version)) = records::cluster(&*coordinator).await? {
        records::delete_cluster(&*coordinator, version).await?;
    }
    coordinator.close().await;
    Ok(())
}
