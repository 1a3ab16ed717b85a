//! Reads and writes of one entry. Its version is the revision of the store in which it was written last, which etcd calls
//! `mod_revision` and never gives twice.

use bytes::Bytes;

use super::{
    session::Session,
    wire::{self, PutRequest, RangeRequest},
};
use crate::{
    CoordinationError, Entry, Version, child_name,
    remote::{Failure, check_length},
};

impl Session {
    /// Where the entry lies: apart from the sessions, whatever its path.
    fn key(&self, path: &str) -> Bytes {
        format!("{}entries/{}", self.servers.prefix(), path.trim_start_matches('/')).into()
    }

    pub async fn get(&self, path: &str) -> Result<Option<Entry>, Failure> {
        let found = self.read(wire::at(&self.key(path))).await?.into_iter().next();
        Ok(found.map(|found| Entry { value: found.value, version: version(found.mod_revision) }))
    }

    pub async fn children(&self, parent: &str) -> Result<Vec<String>, Failure> {
        let directory = match parent.trim_matches('/') {
            "" => format!("{}entries", self.servers.prefix()),
            parent => format!("{}entries/{parent}", self.servers.prefix()),
        };
        let range = RangeRequest { keys_only: true, ..wire::below(&format!("{directory}/")) };
        let found = self.read(range).await?;
        let keys = found.iter().map(|found| String::from_utf8_lossy(&found.key));
        let mut names: Vec<String> =
            keys.filter_map(|key| child_name(&directory, &key).map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    pub async fn create(&self, path: &str, value: Bytes, lives_with_us: bool) -> Result<Version, Failure> {
        check_length(path, &value, "etcd")?;
        let key = self.key(path);
        let lease = if lives_with_us { self.own().lease } else { 0 };
        let condition = wire::made_in(&key, 0);
        let put = wire::put(PutRequest { key, value, lease, ..PutRequest::default() });
        let exists = || CoordinationError::AlreadyExists { path: path.to_owned() };
        self.write(condition, put).await?.map(version).ok_or_else(|| Failure::Answer(exists()))
    }

    pub async fn set(&self, path: &str, value: Bytes, expected: Version) -> Result<Version, Failure> {
        check_length(path, &value, "etcd")?;
        let key = self.key(path);
        let condition = wire::written_in(&key, revision(expected));
        // It lives on with whatever session it was made by.
        let put = wire::put(PutRequest { key, value, ignore_lease: true, ..PutRequest::default() });
        self.write(condition, put).await?.map(version).ok_or_else(|| conflict(path))
    }

    pub async fn delete(&self, path: &str, expected: Version) -> Result<(), Failure> {
        let key = self.key(path);
        let condition = wire::written_in(&key, revision(expected));
        self.write(condition, wire::delete(&key)).await?.map(|_| ()).ok_or_else(|| conflict(path))
    }
}

fn conflict(path: &str) -> Failure {
    Failure::Answer(CoordinationError::Conflict { path: path.to_owned() })
}

fn version(revision: i64) -> Version {
    Version(revision.cast_unsigned())
}

fn revision(version: Version) -> i64 {
    version.0.cast_signed()
}
