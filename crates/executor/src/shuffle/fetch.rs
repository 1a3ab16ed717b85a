//! Opening partitions of files in storage.

use std::ops::Range;

use bytes::Bytes;
use mapreduce_core::{Content, JobId};
use mapreduce_storage::{FileRef, StorageError, paths, read_range};

use super::{
    Entries, FormatError,
    index::{self, FOOTER_BYTES, Place},
    source::Source,
};
use crate::Resources;

/// What the first read takes of a file's end: small files are read at once, and the index of large ones.
const TAIL_BYTES: u64 = 32 << 10;

/// One partition of a file, of which `part_bytes` are read at a time.
pub async fn fetch_partition(
    resources: &Resources,
    job: JobId,
    file: &FileRef,
    partition: u32,
    part_bytes: u64,
) -> Result<Entries, StorageError> {
    let tail = Tail::read(resources, job, file).await?;
    let place = tail.places.get(partition as usize).ok_or_else(|| damaged(file, FormatError::Index))?;
    tail.open(resources, job, file, (partition, *place), part_bytes).await
}

/// All partitions of a file, of which `part_bytes` are read at a time.
pub async fn fetch_file(
    resources: &Resources,
    job: JobId,
    file: &FileRef,
    part_bytes: u64,
) -> Result<Vec<Entries>, StorageError> {
    let tail = Tail::read(resources, job, file).await?;
    let mut all = Vec::with_capacity(tail.places.len());
    for place in (0..).zip(tail.places.iter().copied()) {
        all.push(tail.open(resources, job, file, place, part_bytes).await?);
    }
    Ok(all)
}

fn damaged(file: &FileRef, error: FormatError) -> StorageError {
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
    async fn read(resources: &Resources, job: JobId, file: &FileRef) -> Result<Tail, StorageError> {
        let path = paths::in_job(job, &file.path);
        let read = async |range: Range<u64>| read_range(&resources.store, &path, range).await;
        let (mut start, mut bytes) = match &file.content {
            Some(Content(bytes)) if bytes.len() as u64 == file.length => (0, Bytes::copy_from_slice(bytes)),
            Some(_) => return Err(damaged(file, FormatError::Footer)),
            None => {
                let start = file.length.saturating_sub(TAIL_BYTES);
                (start, read(start..file.length).await?)
            }
        };
        let footer = &bytes[bytes.len().saturating_sub(FOOTER_BYTES)..];
        let length = index::tail_length(footer).map_err(|error| damaged(file, error))?;
        let index_start = file.length.checked_sub(length).ok_or_else(|| damaged(file, FormatError::Index))?;
        if index_start < start {
            start = index_start;
            bytes = read(start..file.length).await?;
        }
        let index = &bytes[(index_start - start) as usize..bytes.len() - FOOTER_BYTES];
        let places = index::parse_index(index, index_start).map_err(|error| damaged(file, error))?;
        Ok(Tail { start, bytes, places })
    }

    /// The index vouched that the place is within the file. The first part is read now, so that the first parts of
    /// many files can be read at the same time.
    async fn open(
        &self,
        resources: &Resources,
        job: JobId,
        file: &FileRef,
        (partition, place): (u32, Place),
        part_bytes: u64,
    ) -> Result<Entries, StorageError> {
        let path = paths::in_job(job, &file.path);
        let end = place.offset + place.length;
        let (stored, source) = if place.offset >= self.start {
            let offset = (place.offset - self.start) as usize;
            (self.bytes.slice(offset..offset + place.length as usize), Source::empty())
        } else {
            let first_end = end.min(place.offset + part_bytes);
            let first = read_range(&resources.store, &path, place.offset..first_end).await?;
            (first, Source::stored(resources, path, first_end..end, part_bytes))
        };
        Ok(Entries::new(file.path.clone(), partition, stored, source, place.n_entries))
    }
}
