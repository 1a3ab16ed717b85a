//! Fetching partitions of files in storage.

use bytes::Bytes;
use mapreduce_core::JobId;
use mapreduce_storage::{FileRef, StorageError, Store, paths, read_range};

use super::{
    Entries, FormatError,
    index::{self, FOOTER_BYTES, Place},
};

/// What the first read takes of a file's end: small files are read at once, and the index of large ones.
const TAIL_BYTES: u64 = 32 << 10;

/// One partition of a file.
pub async fn fetch_partition(
    store: &Store,
    job: JobId,
    file: &FileRef,
    partition: u32,
) -> Result<Entries, StorageError> {
    let tail = Tail::read(store, job, file).await?;
    let place = tail.places.get(partition as usize).ok_or_else(|| damaged(file, FormatError::Index))?;
    tail.fetch(store, job, file, partition, *place).await
}

/// All partitions of a file.
pub async fn fetch_file(store: &Store, job: JobId, file: &FileRef) -> Result<Vec<Entries>, StorageError> {
    let tail = Tail::read(store, job, file).await?;
    let mut all = Vec::with_capacity(tail.places.len());
    for (partition, place) in (0..).zip(&tail.places) {
        all.push(tail.fetch(store, job, file, partition, *place).await?);
    }
    Ok(all)
}

/// What is wrong with a file, as storage's error.
pub(crate) fn damaged(file: &FileRef, error: FormatError) -> StorageError {
    StorageError::Damaged { path: file.path.clone(), why: error.to_string() }
}

/// The end of a file, with the index.
struct Tail {
    /// Where in the file it starts.
    start: u64,
    bytes: Bytes,
    places: Vec<Place>,
}

impl Tail {
    async fn read(store: &Store, job: JobId, file: &FileRef) -> Result<Tail, StorageError> {
        let path = paths::in_job(job, &file.path);
        let mut start = file.length.saturating_sub(TAIL_BYTES);
        let mut bytes = read_range(store, &path, start..file.length).await?;
        let footer = &bytes[bytes.len().saturating_sub(FOOTER_BYTES)..];
        let length = index::tail_length(footer).map_err(|error| damaged(file, error))?;
        let index_start = file.length.checked_sub(length).ok_or_else(|| damaged(file, FormatError::Index))?;
        if index_start < start {
            start = index_start;
            bytes = read_range(store, &path, start..file.length).await?;
        }
        let index = &bytes[(index_start - start) as usize..bytes.len() - FOOTER_BYTES];
        let places = index::parse_index(index, index_start).map_err(|error| damaged(file, error))?;
        Ok(Tail { start, bytes, places })
    }

    /// The index vouched that `place` is within the file.
    async fn fetch(
        &self,
        store: &Store,
        job: JobId,
        file: &FileRef,
        partition: u32,
        place: Place,
    ) -> Result<Entries, StorageError> {
        let stored = if place.offset >= self.start {
            let offset = (place.offset - self.start) as usize;
            self.bytes.slice(offset..offset + place.length as usize)
        } else {
            let range = place.offset..place.offset + place.length;
            read_range(store, &paths::in_job(job, &file.path), range).await?
        };
        Ok(Entries::new(file.path.clone(), partition, stored, place.n_entries))
    }
}
