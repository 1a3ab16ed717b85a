//! Where a master or worker finds its cluster: URL by URL, or as one local directory.

use std::path::{Path, PathBuf};

use mapreduce_core::Secret;
use mapreduce_identity::Authority;

use crate::{ClusterUrls, by_hand, home, keeper};

use super::Result;

/// The stores that masters and workers share.
#[derive(Debug, clap::Args)]
pub(crate) struct Stores {
    /// A cluster's directory on this machine, which stands for all of the URLs below.
    #[arg(long, value_name = "DIR", required_unless_present_all = ["coordination", "storage", "cluster_key_file"])]
    directory: Option<PathBuf>,
    /// Who is alive and who owns which job, such as sqlite:///absolute/directory,
    /// zookeeper://host:port,host:port/path or etcd://host:port,host:port/path.
    #[arg(long, value_name = "URL")]
    coordination: Option<String>,
    /// Data, markers and results: file:///absolute/directory, hdfs://host:port/directory or s3://bucket/path.
    #[arg(long, value_name = "URL")]
    storage: Option<String>,
    /// The file that holds the secret that workers show to masters; the same text for all.
    #[arg(long, value_name = "PATH")]
    cluster_key_file: Option<PathBuf>,
}

/// What masters and workers must know.
pub(crate) struct Resolved {
    pub urls: ClusterUrls,
    pub cluster_key: Secret,
    /// Of a cluster on several machines, if masters may run on this one.
    pub authority: Option<Authority>,
    /// The authority's certificate, in PEM.
    pub ca: Option<String>,
}

impl Stores {
    /// The local cluster's directory, if there is one.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The stores, with users at `users`, and the cluster's key. Unless they are elsewhere, a local cluster's users are the
    /// person's own, and any other cluster's are where its coordination is.
    pub fn resolve(self, users: Option<String>) -> Result<Resolved> {
        let local = self.directory.map(std::path::absolute).transpose()?;
        let local_urls = match &local {
            // Who has users of its own may have no home.
            Some(directory) => Some(ClusterUrls::local(directory, home::users_url().unwrap_or_default())?),
            None => None,
        };
        // Clap has seen to it that what is absent here follows from the directory.
        let absent = || "give --directory, or --coordination, --storage and --cluster-key-file";
        let key_file = self.cluster_key_file.or(local.as_deref().map(keeper::key_file)).ok_or_else(absent)?;
        let coordination = self
            .coordination
            .or(local_urls.as_ref().map(|urls| urls.coordination.clone()))
            .ok_or_else(absent)?;
        let urls = ClusterUrls {
            storage: self
                .storage
                .or(local_urls.as_ref().map(|urls| urls.storage.clone()))
                .ok_or_else(absent)?,
            users: users.or(local_urls.map(|urls| urls.users)).unwrap_or_else(|| coordination.clone()),
            coordination,
        };
        let authority = local.as_deref().map(by_hand::authority).transpose()?.flatten();
        let ca = local.as_deref().map(by_hand::ca).transpose()?.flatten();
        Ok(Resolved { urls, cluster_key: read_secret(&key_file, "the cluster's key")?, authority, ca })
    }
}

/// What a file holds for this process alone; on a command line, everybody could read it.
pub(crate) fn read_secret(path: &Path, what: &str) -> Result<Secret> {
    let secret = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let secret = secret.trim();
    if secret.is_empty() {
        return Err(format!("{} is empty: it must hold {what}", path.display()).into());
    }
    Ok(Secret::new(secret))
}
