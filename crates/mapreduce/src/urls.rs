//! Where a cluster's state is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use mapreduce_core::Persisted;
use mapreduce_identity::auth_file;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::ClientError;

/// The three stores that every part of a cluster is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterUrls {
    /// Who is alive, who owns which job: `sqlite://<directory>`.
    pub coordination: String,
    /// Input, map output, markers, results: `file://<directory>/storage`.
    pub storage: String,
    /// Who may log in: `sqlite://<home>/users`; the same for all clusters of a person.
    pub users: String,
}

/// A file in the directory of a cluster that goes with its client and takes all of its state with it. So nothing in it
/// is ever needed after the machine has crashed, and nothing in it is synced.
pub(crate) const TEMPORARY: &str = "temporary";

/// The file in a cluster's directory that names the stores which are not in it. Whoever is told the directory
/// learns of them by it: masters and workers, commands, a later cluster there.
pub(crate) const STORES: &str = "stores.json";

/// The file beside it with the name and password for coordination, where that has one. No URL there names it, so that the
/// directory is the same wherever it is.
pub(crate) const LOGIN: &str = "coordination.auth";

/// The stores of a cluster that are not in its directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stores {
    /// Who is alive, who owns which job, such as `zookeeper://host:port,host:port/path` or `etcd://…`.
    pub coordination: Option<String>,
    /// Input, map output, markers, results, such as `file:///absolute/directory`.
    pub storage: Option<String>,
    /// Who may log in, if not the users of the person; where coordination is, in clusters that are started by hand.
    pub users: Option<String>,
}

impl Persisted for Stores {
    const KIND: &'static str = "stores";
    const VERSION: u32 = 1;
}

impl Stores {
    /// What the directory's file says; that all are in the directory, if there is none.
    pub(crate) fn of(directory: &Path) -> Result<Stores, BadDirectory> {
        let path = directory.join(STORES);
        let read = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Stores::default()),
            read => read.map_err(|e| e.to_string()),
        };
        let stores = read.and_then(|bytes| Stores::decode(&bytes).map_err(|e| e.to_string()));
        stores.map_err(|why| BadDirectory::Stores { path, why })
    }
}

/// A directory that can't be a cluster's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDirectory {
    /// No URL can name it.
    #[error("{path:?} can't be a cluster's directory: give an absolute path in UTF-8")]
    Path {
        /// The directory.
        path: PathBuf,
    },
    /// Nobody can tell where its stores are.
    #[error("{path:?}, which says where the cluster's stores are, can't be read: {why}; restore it")]
    Stores {
        /// The file.
        path: PathBuf,
        /// What happened.
        why: String,
    },
}

impl ClusterUrls {
    /// The directory of the storage, if it is one of this machine.
    pub(crate) fn storage_directory(&self) -> Option<PathBuf> {
        Url::parse(&self.storage).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
    }

    /// The stores of the cluster whose coordination is at this URL, where its users are, too, as far as is known. An error
    /// if there is none; nothing is made.
    pub async fn find(coordination: &str) -> Result<ClusterUrls, ClientError> {
        let record = mapreduce_identity::find(coordination).await?;
        let (coordination, storage) = (coordination.to_owned(), record.storage);
        Ok(ClusterUrls { users: coordination.clone(), coordination, storage })
    }

    /// The stores of the cluster in `directory`, an absolute path; its users are at `users` unless it says otherwise. What
    /// a temporary one writes is not synced.
    pub fn local(directory: &Path, users: impl Into<String>) -> Result<ClusterUrls, BadDirectory> {
        let bad = || BadDirectory::Path { path: directory.to_owned() };
        let elsewhere = Stores::of(directory)?;
        let option = if directory.join(TEMPORARY).exists() { "?sync=no" } else { "" };
        let storage = Url::from_file_path(directory.join("storage")).map_err(|()| bad())?;
        let coordination = format!("sqlite://{}{option}", directory.to_str().ok_or_else(bad)?);
        let mut urls = ClusterUrls {
            coordination: elsewhere.coordination.unwrap_or(coordination),
            storage: elsewhere.storage.unwrap_or_else(|| format!("{storage}{option}")),
            users: elsewhere.users.unwrap_or_else(|| users.into()),
        };
        let login = directory.join(LOGIN);
        if login.exists() {
            urls.log_in_by(login.to_str().ok_or_else(bad)?);
        }
        Ok(urls)
    }

    /// With the name and password in this file, unless the URL names another.
    fn log_in_by(&mut self, login: &str) {
        let coordination = self.coordination.clone();
        if auth_file(&coordination).is_none() {
            for url in [&mut self.coordination, &mut self.users] {
                // Users may be in another store.
                if *url == coordination {
                    url.push_str(&format!("?auth={login}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_name_a_cluster() {
        let urls = ClusterUrls::local(Path::new("/data/a b"), "sqlite:///home/users").unwrap();
        assert_eq!(urls.coordination, "sqlite:///data/a b");
        assert_eq!(urls.storage, "file:///data/a%20b/storage");
        assert_eq!(urls.storage_directory().unwrap(), Path::new("/data/a b/storage"));
        assert!(ClusterUrls::local(Path::new("data"), "").is_err());
    }

    #[test]
    fn the_login_is_found_beside_the_stores_wherever_the_directory_is() {
        let place = tempfile::tempdir().unwrap();
        let (here, there) = (place.path().join("here"), place.path().join("there"));
        fs::create_dir(&here).unwrap();
        let write = |coordination: &str, users: &str| {
            let named = |url: &str| Some(url.to_owned());
            let stores = Stores { coordination: named(coordination), users: named(users), storage: None };
            fs::write(here.join(STORES), stores.encode()).unwrap();
        };
        write("etcd://a:1/x", "etcd://a:1/x");
        fs::write(here.join(LOGIN), "ada:secret").unwrap();
        fs::rename(&here, &there).unwrap();
        let urls = ClusterUrls::local(&there, "").unwrap();
        assert_eq!(urls.coordination, format!("etcd://a:1/x?auth={}/{LOGIN}", there.display()));
        assert_eq!(urls.users, urls.coordination);

        fs::rename(&there, &here).unwrap();
        write("etcd://a:1/x", "etcd://b:1/y?auth=/b");
        let urls = ClusterUrls::local(&here, "").unwrap();
        assert_eq!(urls.users, "etcd://b:1/y?auth=/b", "another store has another login");
        write("etcd://a:1/x?auth=/a", "etcd://a:1/x?auth=/a");
        assert_eq!(ClusterUrls::local(&here, "").unwrap().coordination, "etcd://a:1/x?auth=/a");
    }

    #[tokio::test]
    async fn only_what_goes_with_its_cluster_is_not_synced() {
        let directory = tempfile::tempdir().unwrap();
        let urls = || ClusterUrls::local(directory.path(), "sqlite:///home/users").unwrap();
        let synced = urls();
        assert!(!synced.storage.contains('?') && !synced.coordination.contains('?'), "{synced:?}");
        std::fs::write(directory.path().join(TEMPORARY), "").unwrap();
        let unsynced = urls();
        assert_eq!(unsynced.storage, format!("{}?sync=no", synced.storage));
        assert_eq!(unsynced.coordination, format!("{}?sync=no", synced.coordination));
        assert_eq!(unsynced.users, synced.users);
        assert_eq!(unsynced.storage_directory(), synced.storage_directory());
        mapreduce_storage::open(&unsynced.storage).unwrap();
        mapreduce_coordination::open(&unsynced.coordination, None).await.unwrap();
        assert!(directory.path().join("coordination.db").exists());
    }
}
