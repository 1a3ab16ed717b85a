//! A local cluster's directory, as far as it is the keeper's business: made before anything runs, and taken
//! away when it was temporary or somebody wants its state gone.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{KeeperError, protocol, system};
use crate::{
    by_hand,
    files::{new_key, write_once},
    urls::{STORES, Stores, TEMPORARY},
};
use mapreduce_core::Persisted;

/// Every name that a cluster makes in its directory; in one that a person gave, nothing else is touched.
const NAMES: [&str; 10] = [
    "cluster.key",
    STORES,
    "coordination.db",
    "coordination.db-shm",
    "coordination.db-wal",
    "bell",
    "sessions",
    "storage",
    "scratch",
    "logs",
];

/// The file in a local cluster's directory with the secret that workers show to masters.
pub fn key_file(directory: &Path) -> PathBuf {
    directory.join("cluster.key")
}

/// A cluster's directory.
pub(super) struct State {
    directory: PathBuf,
    temporary: bool,
}

impl State {
    /// Makes `directory`, for its owner alone, or a temporary one. One that may outlive its client, and with it whatever
    /// knows of it, is not marked as such.
    pub fn prepare(directory: Option<&Path>, keep_alive: bool) -> Result<State, KeeperError> {
        match directory {
            Some(directory) => {
                let what = || format!("can't make the cluster's directory {}", directory.display());
                DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(system(what()))?;
                Ok(State { directory: directory.to_owned(), temporary: false })
            }
            None => {
                let owner_only = fs::Permissions::from_mode(0o700);
                let made = tempfile::Builder::new().prefix("mapreduce-").permissions(owner_only).tempdir();
                let directory = made.map_err(system("can't make a temporary directory"))?.keep();
                if !keep_alive {
                    let mark = directory.join(TEMPORARY);
                    fs::write(&mark, "").map_err(system(format!("can't make {}", mark.display())))?;
                }
                Ok(State { directory, temporary: true })
            }
        }
    }

    /// The directory as a keeper that was killed left it.
    pub fn existing(directory: &Path, temporary: bool) -> State {
        State { directory: directory.to_owned(), temporary }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the cluster's key, unless it has one: 256 random bits in hexadecimal, readable by its owner.
    pub fn create_key(&self) -> Result<(), KeeperError> {
        let path = key_file(&self.directory);
        let write = || write_once(&path, new_key()?.as_bytes()).map(|_| ());
        write().map_err(system(format!("can't make {}", path.display())))
    }

    /// Keeps where the stores are that are not in the directory, from the first start on. A cluster that is carried on finds
    /// them where they were; others would be another cluster's.
    pub fn set_stores(&self, wanted: &Stores) -> Result<(), KeeperError> {
        let there = Stores { users: None, ..Stores::of(&self.directory)? };
        if *wanted == Stores::default() || *wanted == there {
            return Ok(());
        }
        if there != Stores::default() || self.directory.join("coordination.db").exists() {
            return Err(KeeperError::OtherStores {
                directory: self.directory.clone(),
                there: Box::new(there),
                wanted: Box::new(wanted.clone()),
            });
        }
        let path = self.directory.join(STORES);
        let made = match write_once(&path, &wanted.encode()) {
            // The lock is ours, and nobody else makes one that says nothing.
            Ok(false) => Err(io::ErrorKind::AlreadyExists.into()),
            made => made,
        };
        made.map(|_| ()).map_err(system(format!("can't make {}", path.display())))
    }

    /// The directory of log files, made if need be; what users print may be nobody else's business.
    pub fn create_logs(&self) -> Result<PathBuf, KeeperError> {
        let logs = self.directory.join("logs");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&logs);
        made.map_err(system(format!("can't make {}", logs.display())))?;
        Ok(logs)
    }

    /// Removes what only a running cluster has; with `cleanup`, all of its state; a temporary directory always.
    pub fn remove(&self, cleanup: bool) -> Result<(), KeeperError> {
        let failed = |path: &Path| system(format!("can't remove {}", path.display()));
        protocol::remove_socket(&self.directory).map_err(failed(&self.directory))?;
        if self.temporary {
            return remove(&self.directory).map_err(failed(&self.directory));
        }
        for name in NAMES.iter().chain(&by_hand::NAMES).filter(|_| cleanup) {
            let path = self.directory.join(name);
            remove(&path).map_err(failed(&path))?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_is_its_owners_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let state = State::prepare(Some(&scratch.path().join("a/b")), false).unwrap();
        assert_eq!(state.directory().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        state.create_key().unwrap();
        let path = key_file(state.directory());
        let key = fs::read_to_string(&path).unwrap();
        assert_eq!(key.len(), 64);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        state.create_key().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), key);
    }

    #[test]
    fn stores_elsewhere_are_kept_and_never_changed() {
        let scratch = tempfile::tempdir().unwrap();
        let state = State::prepare(Some(scratch.path()), false).unwrap();
        let stores = |url: &str| Stores { coordination: Some(url.into()), ..Stores::default() };
        state.set_stores(&Stores::default()).unwrap();
        assert_eq!(Stores::of(scratch.path()), Ok(Stores::default()));
        state.set_stores(&stores("zookeeper://a/x")).unwrap();
        state.set_stores(&stores("zookeeper://a/x")).unwrap();
        state.set_stores(&Stores::default()).unwrap();
        assert_eq!(Stores::of(scratch.path()), Ok(stores("zookeeper://a/x")));
        let text = state.set_stores(&stores("zookeeper://b/x")).unwrap_err().to_string();
        assert!(text.contains("zookeeper://a/x") && text.contains("zookeeper://b/x"), "{text}");

        let embedded = tempfile::tempdir().unwrap();
        fs::write(embedded.path().join("coordination.db"), "").unwrap();
        let state = State::prepare(Some(embedded.path()), false).unwrap();
        let text = state.set_stores(&stores("zookeeper://b/x")).unwrap_err().to_string();
        assert!(text.contains("the directory and the directory"), "{text}");
    }

    #[test]
    fn cleaning_up_takes_the_clusters_own_and_nothing_else() {
        let scratch = tempfile::tempdir().unwrap();
        let state = State::prepare(Some(scratch.path()), false).unwrap();
        state.create_key().unwrap();
        fs::create_dir_all(scratch.path().join("storage/jobs")).unwrap();
        fs::write(scratch.path().join("thesis.txt"), "mine").unwrap();
        state.remove(false).unwrap();
        assert!(key_file(scratch.path()).exists());
        state.remove(true).unwrap();
        let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["thesis.txt"]);
    }

    #[test]
    fn a_temporary_directory_goes_even_without_cleaning_up() {
        let state = State::prepare(None, false).unwrap();
        assert!(state.directory().join(TEMPORARY).exists());
        state.create_logs().unwrap();
        state.remove(false).unwrap();
        assert!(!state.directory().exists());
    }
}
