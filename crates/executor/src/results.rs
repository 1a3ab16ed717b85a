//! Reading the result of a job that has succeeded.

use mapreduce_core::{JobId, Stage};
use mapreduce_storage::{Manifest, StorageError, paths, read};

use crate::{
    Resources, TaskError,
    reduce::{Merge, fan_in},
    shuffle::{Entries, fetch_file, fetch_partition},
};

/// How many bytes the result takes in storage.
pub fn stored_bytes(resources: &Resources, job: JobId) -> Result<u64, TaskError> {
    let manifest = read_manifest(resources, job)?;
    let lengths = manifest.entries.iter().flat_map(|entry| &entry.files).map(|file| file.length);
    // For people to read.
    Ok(lengths.fold(0, u64::saturating_add))
}

fn read_manifest(resources: &Resources, job: JobId) -> Result<Manifest, TaskError> {
    let path = paths::manifest(job, Stage::Reduce);
    let manifest: Option<Manifest> = resources.wait(read(&resources.store, &path))?;
    Ok(manifest.ok_or_else(|| StorageError::NotFound { path: path.to_string() })?)
}

/// One partition of a result; none if there is no such partition.
pub fn partition(resources: &Resources, job: JobId, index: u32) -> Result<Option<Entries>, TaskError> {
    let manifest = read_manifest(resources, job)?;
    let file = manifest.entries.get(index as usize).and_then(|entry| entry.files.first());
    let Some(file) = file else { return Ok(None) };
    let (_, part_bytes) = fan_in(resources.memory_bytes, 1);
    Ok(Some(resources.wait(fetch_partition(resources, job, file, 0, part_bytes))?))
}

/// The result, in the order of the encoded keys: groups of one encoded value each.
pub fn merge(resources: &Resources, job: JobId) -> Result<Merge, TaskError> {
    let manifest = read_manifest(resources, job)?;
    let files: Vec<_> = manifest.entries.iter().flat_map(|entry| &entry.files).collect();
    Merge::fetching(&files, resources, |file, part_bytes| fetch_file(resources, job, file, part_bytes))
}
