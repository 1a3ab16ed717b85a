//! Where the stored bytes of a partition come from, a part at a time.

use std::{fs::File, ops::Range, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use mapreduce_storage::read_range;
use object_store::path::Path;

use crate::{Resources, TaskError};

/// Bytes of a file that were not read yet.
#[derive(Debug)]
pub(super) struct Source {
    place: Place,
    rest: Range<u64>,
    /// How many are read at one time, if there are as many.
    part_bytes: u64,
}

#[derive(Debug)]
enum Place {
    /// There is nothing more.
    Nowhere,
    Stored(Resources, Path),
    Spilled(Resources, Arc<File>),
}

impl Source {
    pub(super) fn empty() -> Self {
        Source { place: Place::Nowhere, rest: 0..0, part_bytes: 0 }
    }

    pub(super) fn stored(resources: &Resources, path: Path, rest: Range<u64>, part_bytes: u64) -> Self {
        Source { place: Place::Stored(resources.clone(), path), rest, part_bytes }
    }

    pub(super) fn spilled(resources: &Resources, file: Arc<File>, rest: Range<u64>, part_bytes: u64) -> Self {
        Source { place: Place::Spilled(resources.clone(), file), rest, part_bytes }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes: at least `least`, if so many are left.
    pub(super) fn read(&mut self, least: usize) -> Result<Bytes, TaskError> {
        let end = self.rest.end.min(self.rest.start + self.part_bytes.max(least as u64));
        let range = self.rest.start..end;
        self.rest.start = end;
        match &self.place {
            Place::Nowhere => Ok(Bytes::new()),
            Place::Stored(resources, path) => {
                Ok(resources.wait(read_range(&resources.store, path, range))?)
            }
            Place::Spilled(resources, file) => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                let read = file.read_exact_at(&mut bytes, range.start);
                read.map_err(TaskError::scratch(&resources.scratch))?;
                Ok(bytes.into())
            }
        }
    }
}
