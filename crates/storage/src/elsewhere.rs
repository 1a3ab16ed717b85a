//! Stores with files that are not this program's: what jobs read and publish.

use std::sync::Arc;

use object_store::path::Path;
use url::Url;

use crate::{
    StorageError, Store, cloud, garbage,
    hdfs::{Directories, Hdfs},
};

/// All of a bucket, or of an HDFS, with everybody's files.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Its files, by their whole names.
    pub store: Store,
    /// Where directories are more than names.
    directories: Option<Directories>,
}

impl Elsewhere {
    /// Opens `s3://bucket`, `gs://bucket`, `az://container` or `hdfs://host:port`, with the options and environment
    /// variables of [`open`](crate::open). Nothing is sent yet.
    pub fn open(url: &str) -> Result<Self, StorageError> {
        let wrong = |why: String| StorageError::Url { url: url.to_owned(), why };
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if parsed.scheme() == "hdfs" {
            let hdfs = Hdfs::open_any(&parsed).map_err(wrong)?;
            let directories = Some(hdfs.directories());
            return Ok(Elsewhere { store: Arc::new(hdfs), directories });
        }
        Ok(Elsewhere::from(cloud::open_bucket(&parsed).map_err(wrong)?))
    }

    /// Whether directories are more than names: then a file can be renamed.
    pub fn has_directories(&self) -> bool {
        self.directories.is_some()
    }

    /// Removes everything below `directory`.
    pub async fn remove_dir(&self, directory: &Path) -> object_store::Result<()> {
        match &self.directories {
            Some(directories) => directories.remove(directory).await,
            None => garbage::delete_objects(&self.store, directory).await,
        }
    }

    /// Removes `directory` itself if nothing is in it.
    pub async fn remove_empty_dir(&self, directory: &Path) -> object_store::Result<()> {
        match &self.directories {
            Some(directories) => directories.remove_empty(directory).await,
            None => Ok(()),
        }
    }
}

impl From<Store> for Elsewhere {
    /// A store in which directories are nothing but names.
    fn from(store: Store) -> Self {
        Elsewhere { store, directories: None }
    }
}
