//! Copies of objects on the local disk, of which the processes of a machine share one: found by digest, and there
//! whole or not at all.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path as LocalPath,
};

use futures::TryStreamExt;
use mapreduce_core::FailureKind;
use object_store::{GetResultPayload, ObjectStoreExt, path::Path};
use tempfile::NamedTempFile;

use crate::{StorageError, Store};

/// How much of a stored file is read at one time.
const PART_BYTES: usize = 256 << 10;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum LocalCopyError {
    /// The object can't be read, or is not what its name says.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The local disk does not take it: the node's fault, not the object's.
    #[error("{path} can't be written: {source}; free some space there, or name another scratch directory")]
    Disk {
        /// The copy.
        path: String,
        /// What the system says.
        source: io::Error,
    },
}

impl LocalCopyError {
    /// What an attempt that ends with this error failed of.
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            LocalCopyError::Storage(error) => error.failure_kind(),
            LocalCopyError::Disk { .. } => FailureKind::Storage,
        }
    }
}

/// Copies an object whose BLAKE3 is `digest`, hexadecimal, to the file `to`, for its owner alone, with these
/// permissions; answers the file, to be read from its beginning. Under a name of its own first: another process may do
/// the same at the same time, or die on the way.
pub async fn copy_locally(
    store: &Store,
    object: &Path,
    digest: &str,
    to: &LocalPath,
    mode: u32,
) -> Result<File, LocalCopyError> {
    let disk = |source| LocalCopyError::Disk { path: to.display().to_string(), source };
    let stored = |error| StorageError::of(object, error);
    let mut copy = Copy::beside(to, mode).map_err(disk)?;
    match store.get(object).await.map_err(stored)?.payload {
        GetResultPayload::File(mut file, _) => {
            let mut part = vec![0; PART_BYTES];
            loop {
                let generic = |e: io::Error| object_store::Error::Generic {
                    store: "LocalFileSystem",
                    source: e.into(),
                };
                match file.read(&mut part).map_err(generic).map_err(stored)? {
                    0 => break,
                    n => copy.write(&part[..n]).map_err(disk)?,
                }
            }
        }
        GetResultPayload::Stream(mut parts) => {
            while let Some(part) = parts.try_next().await.map_err(stored)? {
                copy.write(&part).map_err(disk)?;
            }
        }
    }
    if copy.hasher.finalize().to_hex().as_str() != digest {
        return Err(StorageError::damaged(object, "its digest is not its name").into());
    }
    copy.install(to).map_err(disk)
}

/// A copy that is being written. What is left behind of one whose process was killed goes with its directory.
struct Copy {
    file: NamedTempFile,
    hasher: blake3::Hasher,
}

impl Copy {
    fn beside(to: &LocalPath, mode: u32) -> io::Result<Copy> {
        let name = to.file_name().unwrap_or_default();
        let mut builder = tempfile::Builder::new();
        builder.prefix(name).suffix(".new").permissions(Permissions::from_mode(mode));
        let file = builder.tempfile_in(to.parent().unwrap_or(LocalPath::new(".")))?;
        Ok(Copy { file, hasher: blake3::Hasher::new() })
    }

    fn write(&mut self, part: &[u8]) -> io::Result<()> {
        self.hasher.update(part);
        self.file.write_all(part)
    }

    /// Gives it its name; answers it, to be read. By then nobody has it open to write, or it could not be run.
    fn install(self, to: &LocalPath) -> io::Result<File> {
        let (writer, path) = self.file.into_parts();
        let file = File::open(&path)?;
        drop(writer);
        path.persist(to).map_err(|error| error.error)?;
        Ok(file)
    }
}
