//! One keeper a directory: an OS lock on `<directory>/keeper.lock`, which ends with its process however that ends.
//!
//! It is a POSIX record lock, because of those one can ask who holds them. Their price: the holder must never
//! open and close the file a second time, so a keeper never asks for [`holder`] of its own directory.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, fcntl_lock},
    io::Errno,
    process::{Flock, FlockType, fcntl_getlk},
};

const NAME: &str = "keeper.lock";

/// The directory's lock, held.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    /// Keeps the lock.
    _file: File,
    path: PathBuf,
}

impl DirectoryLock {
    /// Takes the lock of `directory`, or says that another keeper has it.
    pub fn take(directory: &Path) -> io::Result<Option<DirectoryLock>> {
        let path = directory.join(NAME);
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::ACCESS) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
            // An ending keeper removes the file: a lock on a removed file keeps nobody out.
            let same =
                fs::metadata(&path).is_ok_and(|now| file.metadata().is_ok_and(|m| m.ino() == now.ino()));
            if same {
                return Ok(Some(DirectoryLock { _file: file, path }));
            }
        }
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Before the lock goes, so that nobody's new file is removed.
        if let Err(e) = fs::remove_file(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{} stays behind: {e}", self.path.display());
        }
    }
}

/// The process id of the keeper that holds `directory`, if one does.
pub(crate) fn holder(directory: &Path) -> io::Result<Option<u32>> {
    let file = match File::options().write(true).open(directory.join(NAME)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let conflict = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock))?;
    Ok(conflict.and_then(|lock| lock.pid).map(|pid| pid.as_raw_nonzero().get().unsigned_abs()))
}
