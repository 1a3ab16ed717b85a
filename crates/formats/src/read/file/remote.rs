//! A file of a store. Whatever is read of it comes with the check that it is still the file it was: by the store, if
//! that tells versions apart (`If-Match`), else by its length and time of writing.

use std::{
    collections::BTreeMap,
    process,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use mapreduce_core::InputFile;
use mapreduce_storage::{Elsewhere, StorageError, background};
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::{FormatError, remote::Remote, remote::wait};

/// The stores that were opened, by process and URL: connections are made once, not once a file.
static STORES: Mutex<BTreeMap<(u32, String), Elsewhere>> = Mutex::new(BTreeMap::new());

/// The store that `url` names, opened or known.
pub(super) fn store(url: &str) -> Result<Elsewhere, StorageError> {
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (process::id(), url.to_owned());
    if let Some(known) = stores.get(&key) {
        return Ok(known.clone());
    }
    Ok(stores.entry(key).or_insert(Elsewhere::open(url)?).clone())
}

#[derive(Clone)]
pub(super) struct RemoteFile {
    place: Remote,
    length: u64,
    modified_ms: u64,
    e_tag: Option<String>,
}

impl RemoteFile {
    pub(super) fn open(place: Remote, input: &InputFile) -> Result<Self, FormatError> {
        let (length, modified_ms, e_tag) = (input.length, input.modified_ms, input.e_tag.clone());
        let file = RemoteFile { place, length, modified_ms, e_tag };
        if length == 0 {
            // Nothing will be read of it.
            let options = GetOptions { head: true, if_match: file.e_tag.clone(), ..GetOptions::default() };
            let found = wait(file.place.files.store.get_opts(&file.place.path, options));
            file.check(&found.map_err(|error| file.failed(error))?.meta)?;
        }
        Ok(file)
    }

    /// These bytes.
    pub(super) fn get(&self, offset: u64, length: usize) -> Result<Bytes, FormatError> {
        wait(async { Ok(self.fetch(offset, length).await) }).map_err(|error| self.failed(error))?
    }

    /// The same, while the caller does something else.
    pub(super) fn begin(&self, offset: u64, length: usize) -> Result<Fetch, FormatError> {
        let file = self.clone();
        let threads = background::handle().map_err(|error| self.failed(error))?;
        Ok(Fetch(threads.spawn(async move { file.fetch(offset, length).await })))
    }

    async fn fetch(&self, offset: u64, length: usize) -> Result<Bytes, FormatError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let range = Some(GetRange::Bounded(offset..offset + length as u64));
        let options = GetOptions { range, if_match: self.e_tag.clone(), ..GetOptions::default() };
        let got = match self.place.files.store.get_opts(&self.place.path, options).await {
            Ok(got) => got,
            Err(error) => return Err(self.changed_before(error).await),
        };
        self.check(&got.meta)?;
        let bytes = got.bytes().await.map_err(|error| self.failed(error))?;
        match bytes.len() == length {
            true => Ok(bytes),
            false => Err(self.changed(format!("it ends at byte {}", offset + bytes.len() as u64))),
        }
    }

    /// What `error` means. Where versions are not told apart, a file that is shorter now is asked for what it lacks.
    async fn changed_before(&self, error: Error) -> FormatError {
        if self.e_tag.is_none()
            && let Ok(found) = self.place.files.store.head(&self.place.path).await
            && let Err(changed) = self.check(&found)
        {
            return changed;
        }
        self.failed(error)
    }

    fn check(&self, found: &ObjectMeta) -> Result<(), FormatError> {
        let modified_ms = found.last_modified.timestamp_millis();
        if found.size != self.length {
            return Err(self.changed(format!("it had {} bytes and has {}", self.length, found.size)));
        }
        if self.e_tag.is_none() && modified_ms != self.modified_ms.cast_signed() {
            let later = modified_ms - self.modified_ms.cast_signed();
            return Err(self.changed(format!("it was written {later} ms later")));
        }
        Ok(())
    }

    fn changed(&self, how: String) -> FormatError {
        FormatError::Changed { url: self.place.shown(), how }
    }

    fn failed(&self, error: Error) -> FormatError {
        match error {
            Error::Precondition { .. } => self.changed("another version of it is there".to_owned()),
            error => self.place.unreadable(error),
        }
    }
}

/// Bytes that are on their way. They are not waited for any more if it is dropped.
pub(super) struct Fetch(tokio::task::JoinHandle<Result<Bytes, FormatError>>);

impl Fetch {
    pub(super) fn wait(&mut self, file: &RemoteFile) -> Result<Bytes, FormatError> {
        let broke = |error: tokio::task::JoinError| file.failed(background::broke(error));
        futures::executor::block_on(&mut self.0).map_err(broke)?
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
