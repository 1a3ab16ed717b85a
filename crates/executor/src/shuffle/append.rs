//! Where a file of map output is written to.

use std::{fs::File, io::Write};

use mapreduce_storage::{FileRef, FileUpload};
use object_store::path::Path;

use crate::{Resources, TaskError};

/// Takes bytes, one piece behind the other.
pub trait Append {
    /// Takes some more.
    fn append(&mut self, bytes: &[u8]) -> Result<(), TaskError>;
}

/// A file in storage.
#[derive(Debug)]
pub struct Stored {
    upload: FileUpload,
    resources: Resources,
}

impl Stored {
    /// A new file at `path`; one of so few bytes is not made, but given back.
    pub fn new(resources: &Resources, path: Path, content_bytes_max: u64) -> Self {
        let upload = FileUpload::new(resources.store.clone(), path).with_content(content_bytes_max);
        Stored { upload, resources: resources.clone() }
    }

    /// Makes it durable.
    pub fn finish(self) -> Result<FileRef, TaskError> {
        Ok(self.resources.wait(self.upload.finish())?)
    }
}

impl Append for Stored {
    fn append(&mut self, bytes: &[u8]) -> Result<(), TaskError> {
        Ok(self.resources.wait(self.upload.write(bytes))?)
    }
}

/// A file on the local disk.
#[derive(Debug)]
pub(crate) struct Spilled {
    pub(crate) file: File,
    resources: Resources,
}

impl Spilled {
    pub(crate) fn new(resources: &Resources) -> Result<Self, TaskError> {
        Ok(Spilled { file: resources.scratch_file()?, resources: resources.clone() })
    }
}

impl Append for Spilled {
    fn append(&mut self, bytes: &[u8]) -> Result<(), TaskError> {
        self.file.write_all(bytes).map_err(TaskError::scratch(&self.resources.scratch))
    }
}
