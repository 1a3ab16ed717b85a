//! A person's directory on this machine: the users, who are the same in all of their clusters, and one file
//! for each local cluster that runs, by which the command line finds it.

use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::keeper::lock;

/// The home directory can't be found or used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Nothing says where it is.
    #[error(
        "none of MAPREDUCE_HOME, XDG_DATA_HOME and HOME is set: set MAPREDUCE_HOME to a directory of yours"
    )]
    Unset,
    /// It can't be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    move |source| HomeError::Io { path: path.to_owned(), source }
}

/// `$MAPREDUCE_HOME`, else `$XDG_DATA_HOME/mapreduce`, else `~/.local/share/mapreduce`.
pub fn directory() -> Result<PathBuf, HomeError> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("MAPREDUCE_HOME")
        .or_else(|| Some(set("XDG_DATA_HOME")?.join("mapreduce")))
        .or_else(|| Some(set("HOME")?.join(".local/share/mapreduce")))
        .ok_or(HomeError::Unset)?;
    std::path::absolute(&home).map_err(io_error(&home))
}

/// Where users are kept unless somebody says otherwise.
pub fn users_url() -> Result<String, HomeError> {
    Ok(format!("sqlite://{}/users", directory()?.display()))
}

/// A local cluster that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningCluster {
    /// Its directory, absolute.
    pub directory: PathBuf,
    /// Where its masters look up users.
    pub users: String,
    /// Its keeper's process id.
    pub keeper_pid: u32,
    /// How long a worker that is told to go lets its tasks run.
    pub grace_ms: u64,
}

/// The local clusters of this person that run now, by directory. Files that a killed keeper left are removed.
pub fn running_clusters() -> Result<Vec<RunningCluster>, HomeError> {
    let registry = directory()?.join("clusters");
    let entries = match fs::read_dir(&registry) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error(&registry))?,
    };
    let mut running = Vec::new();
    for entry in entries {
        let path = entry.map_err(io_error(&registry))?.path();
        match read_entry(&path).map_err(io_error(&path))? {
            Some(cluster) => running.push(cluster),
            None => remove_if_there(&path).map_err(io_error(&path))?,
        }
    }
    running.sort_by(|a, b| a.directory.cmp(&b.directory));
    Ok(running)
}

/// The cluster that `path` tells of, if it still runs: its keeper holds the lock in its directory.
fn read_entry(path: &Path) -> io::Result<Option<RunningCluster>> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let Ok(cluster) = serde_json::from_slice::<RunningCluster>(&bytes) else { return Ok(None) };
    Ok((lock::holder(&cluster.directory)? == Some(cluster.keeper_pid)).then_some(cluster))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A keeper's entry in the registry, there as long as this value.
#[derive(Debug)]
pub(crate) struct Registration {
    path: PathBuf,
}

impl Registration {
    /// Makes `cluster` known. Its keeper must hold the directory's lock already, or a reader takes it for dead.
    pub fn new(cluster: &RunningCluster) -> Result<Registration, HomeError> {
        let home = directory()?;
        let registry = home.join("clusters");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&registry).map_err(io_error(&registry))?;
        let path = registry.join(format!("{}.json", cluster.keeper_pid));
        // Readers must never see half of it.
        let complete = serde_json::to_vec(cluster).map_err(io::Error::from).and_then(|bytes| {
            let mut file = tempfile::NamedTempFile::new_in(&home)?;
            io::Write::write_all(&mut file, &bytes)?;
            file.persist(&path).map_err(|e| e.error)
        });
        complete.map_err(io_error(&path))?;
        Ok(Registration { path })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Err(e) = remove_if_there(&self.path) {
            tracing::warn!("{} stays behind: {e}", self.path.display());
        }
    }
}
