//! Reads and writes of one entry.
//!
//! ZooKeeper's own condition on a write is the node's data version, which begins at 0 with every node: by it alone, a
//! node that was deleted and made again would pass for the old one. So whoever makes a node writes to its directory as
//! well, in the same transaction, and the directory's data version counts the nodes ever made in it. A conditional
//! write then is:
//!
//! 1. read the directory's version, then the entry's `mzxid` and version;
//! 2. another `mzxid` than expected: conflict;
//! 3. in one transaction, write if directory and entry both are at the versions read.
//!
//! If the directory is unchanged, no node was made in it since step 1, so that the entry is the same node that had the
//! expected `mzxid` then; and a node's data version changes with every write. If the directory is not, another entry
//! was made meanwhile, perhaps next to this one: begin again. That happens once for each entry that others make, and so
//! comes to an end.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time::sleep;
use zookeeper_client::{Client, CreateMode, Error, MultiWriteError, MultiWriteResult, MultiWriter, Stat};

use super::{
    connect::Servers,
    failure::is_unknown,
    names::{Node, decoded},
    session::Session,
};
use crate::{
    CoordinationError, Entry, Version,
    remote::{Failure, PATIENCE, check_length},
};

/// Before a read that a broken connection cut off is made again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Where the write of the entry stands in the transactions below, and where the one of its directory.
const ENTRY: usize = 0;
const DIRECTORY: usize = 1;

/// Makes a directory below the root, unless somebody else does.
pub(super) async fn make_directory(servers: &Servers, client: &Client, directory: &str) -> Result<(), Error> {
    match client.create(directory, b"", &servers.access.made(CreateMode::Persistent)).await {
        Ok(_) | Err(Error::NodeExists) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a read may give, and when.
type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<Result<T, Error>, Failure>> + Send + 'a>>;

impl Session {
    pub async fn get(&self, node: &Node) -> Result<Option<Entry>, Failure> {
        let root = &self.servers.place.root;
        let read = || -> Reading<'_, _> {
            Box::pin(self.call(async |client| {
                let (synced, read) = tokio::join!(client.sync(root), client.get_data(&node.path));
                synced.and(read)
            }))
        };
        match self.read(read).await? {
            Ok((value, stat)) => Ok(Some(Entry { value: value.into(), version: version(&stat) })),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub async fn children(&self, directory: &str) -> Result<Vec<String>, Failure> {
        let root = &self.servers.place.root;
        let read = || -> Reading<'_, _> {
            Box::pin(self.call(async |client| {
                let (synced, read) = tokio::join!(client.sync(root), client.list_children(directory));
                synced.and(read)
            }))
        };
        match self.read(read).await? {
            Ok(names) => {
                let mut names: Vec<String> = names.iter().map(|name| decoded(name)).collect();
                names.sort_unstable();
                Ok(names)
            }
            Err(Error::NoNode) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads again what a broken connection cut off, for as long as a call may wait: it changes nothing.
    async fn read<'a, T>(&self, read: impl Fn() -> Reading<'a, T>) -> Result<Result<T, Error>, Failure> {
        let began = Instant::now();
        loop {
            let may_again = began.elapsed() < PATIENCE;
            match read().await {
                Ok(Err(error)) if may_again && is_unknown(&error) => sleep(RETRY_PAUSE).await,
                Err(Failure::Unknown(_)) if may_again => {}
                done => return done.map_err(Failure::of_a_read),
            }
        }
    }

    pub async fn create(
        &self,
        path: &str,
        node: &Node,
        value: &Bytes,
        mode: CreateMode,
    ) -> Result<Version, Failure> {
        check_length(path, value, "ZooKeeper")?;
        loop {
            let made = self.call(async |client| {
                let mut transaction = client.new_multi_writer();
                transaction.add_create(&node.path, value, &self.servers.access.made(mode))?;
                transaction.add_set_data(&node.directory, b"", None)?;
                transaction.commit().await
            });
            match made.await? {
                // Not the node's own, which old servers don't tell: it is the same transaction.
                Ok(results) => return version_in(&results, DIRECTORY),
                Err(MultiWriteError::OperationFailed { source: Error::NodeExists, .. }) => {
                    let exists = CoordinationError::AlreadyExists { path: path.to_owned() };
                    return Err(Failure::Answer(exists));
                }
                Err(MultiWriteError::OperationFailed { source: Error::NoNode, .. }) => {
                    let make =
                        async |client: &Client| make_directory(&self.servers, client, &node.directory).await;
                    self.call(make).await??;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub async fn set(
        &self,
        path: &str,
        node: &Node,
        value: &Bytes,
        expected: Version,
    ) -> Result<Version, Failure> {
        check_length(path, value, "ZooKeeper")?;
        let set = |transaction: &mut MultiWriter<'_>, version| {
            transaction.add_set_data(&node.path, value, Some(version))
        };
        version_in(&self.write_if_unchanged(path, node, expected, set).await?, ENTRY)
    }

    pub async fn delete(&self, path: &str, node: &Node, expected: Version) -> Result<(), Failure> {
        let delete =
            |transaction: &mut MultiWriter<'_>, version| transaction.add_delete(&node.path, Some(version));
        self.write_if_unchanged(path, node, expected, delete).await?;
        Ok(())
    }

    /// `write` adds the write at a data version to the transaction.
    async fn write_if_unchanged(
        &self,
        path: &str,
        node: &Node,
        expected: Version,
        write: impl Fn(&mut MultiWriter<'_>, i32) -> Result<(), Error>,
    ) -> Result<Vec<MultiWriteResult>, Failure> {
        let conflict = || Failure::Answer(CoordinationError::Conflict { path: path.to_owned() });
        loop {
            let Some((directory, entry)) = self.stats(node).await? else { return Err(conflict()) };
            if version(&entry) != expected {
                return Err(conflict());
            }
            let written = self.call(async |client| {
                let mut transaction = client.new_multi_writer();
                write(&mut transaction, entry.version)?;
                transaction.add_check_version(&node.directory, directory.version)?;
                transaction.commit().await
            });
            match written.await? {
                Ok(results) => return Ok(results),
                Err(MultiWriteError::OperationFailed {
                    index,
                    source: Error::BadVersion | Error::NoNode,
                }) => {
                    if index == ENTRY {
                        return Err(conflict());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Of the directory, and then of the entry; none if it isn't there.
    async fn stats(&self, node: &Node) -> Result<Option<(Stat, Stat)>, Failure> {
        let root = &self.servers.place.root;
        let read = || -> Reading<'_, _> {
            Box::pin(self.call(async |client| {
                // One session's requests are answered in their order.
                let (synced, directory, entry) = tokio::join!(
                    client.sync(root),
                    client.check_stat(&node.directory),
                    client.check_stat(&node.path)
                );
                synced?;
                Ok(directory?.zip(entry?))
            }))
        };
        self.read(read).await?.map_err(|error| Failure::from(error).of_a_read())
    }
}

fn version(stat: &Stat) -> Version {
    Version(stat.mzxid.cast_unsigned())
}

/// The version that a transaction made, told by its write at `index`.
fn version_in(results: &[MultiWriteResult], index: usize) -> Result<Version, Failure> {
    match results.get(index) {
        Some(MultiWriteResult::SetData { stat }) => Ok(version(stat)),
        other => Err(Failure::Unknown(format!("the servers' answer can't be understood: {other:?}"))),
    }
}
