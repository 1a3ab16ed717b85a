//! A file of a store.

use std::io;

use mapreduce_storage::{FileRef, FileUpload, StorageError};
use object_store::{Error, ObjectStoreExt};

use crate::{
    FormatError,
    remote::{Remote, said, wait},
};

/// What buckets copy at one time, as they must for a file to get another name.
const COPIED_BYTES_MAX: u64 = 5 << 30;

/// So many pieces of 8 MiB are on their way while the next is made: one at a time would mostly wait for answers.
const PARTS_AT_ONCE: usize = 4;

pub(super) struct RemotePart {
    place: Remote,
    /// None if it is finished.
    upload: Option<FileUpload>,
    length: u64,
}

impl RemotePart {
    pub(super) fn new(place: Remote) -> Self {
        let upload = FileUpload::new(place.files.store.clone(), place.path.clone());
        let upload = upload.sending_at_once(PARTS_AT_ONCE);
        RemotePart { place, upload: Some(upload), length: 0 }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        if self.length > COPIED_BYTES_MAX && !self.place.files.has_directories() {
            let why = "a bucket can't move a file of more than 5 GiB: use more partitions";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        if let Some(upload) = &mut self.upload {
            wait(async { Ok(upload.write(bytes).await) }).map_err(said)?.map_err(words)?;
        }
        Ok(bytes.len())
    }

    pub(super) fn finish(mut self) -> Result<FileRef, FormatError> {
        let shown = self.place.shown();
        let upload = self.upload.take();
        let upload = upload.ok_or_else(|| FormatError::unsuitable(&shown, "it has been finished before"))?;
        let finished = wait(async { Ok(upload.finish().await) });
        match finished.map_err(|error| self.place.unwritable(error))? {
            Ok(file) => Ok(FileRef { path: shown, ..file }),
            Err(StorageError::Mismatch { wrote, found, .. }) => {
                Err(StorageError::Mismatch { path: shown, wrote, found }.into())
            }
            Err(error) => Err(FormatError::unwritable(&shown, words(error))),
        }
    }
}

impl Drop for RemotePart {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            // What made the file useless is told; what stays behind is in nobody's way.
            let _ = wait(async { Ok(upload.abort().await) });
        }
    }
}

pub(super) fn delete(place: &Remote) -> Result<(), FormatError> {
    match wait(async { place.files.store.delete(&place.path).await }) {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(place.unwritable(error)),
    }
}

fn words(error: StorageError) -> io::Error {
    match error {
        StorageError::Unavailable { source, .. } | StorageError::Full { source, .. } => said(source),
        StorageError::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, error),
        other => io::Error::other(other),
    }
}
