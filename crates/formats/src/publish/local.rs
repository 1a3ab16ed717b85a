//! An output in a directory of this machine, or of what is mounted on it.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{Directory, TEMPORARY};
use crate::{FormatError, location};

pub(super) struct LocalDirectory(pub(super) PathBuf);

impl Directory for LocalDirectory {
    fn url(&self) -> String {
        location::url_of(&self.0).unwrap_or_else(|_| self.0.display().to_string())
    }

    fn entries(&self) -> Result<Vec<String>, FormatError> {
        let list =
            || -> io::Result<Vec<String>> {
                let mut names = Vec::new();
                for entry in fs::read_dir(&self.0)? {
                    names.push(entry?.file_name().into_string().map_err(|name| {
                        io::Error::other(format!("{} is no text: remove it", name.display()))
                    })?);
                }
                names.retain(|name| name != TEMPORARY);
                Ok(names)
            };
        match list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| refused(&self.0, error)),
        }
    }

    fn missing(&self, names: &[String]) -> Result<Option<String>, FormatError> {
        for name in names {
            if !exists(&self.0.join(name))? {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FormatError> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused(&path, error)),
        }
    }

    fn write(&self, name: &str, mark: &str) -> Result<(), FormatError> {
        let (path, temporary) = (self.0.join(name), self.0.join(TEMPORARY).join(mark));
        let beside = temporary.join(format!("_marking.{}", std::process::id()));
        let write = || {
            // Absent if the job has no parts.
            fs::create_dir_all(&temporary)?;
            fs::write(&beside, mark)?;
            File::open(&beside)?.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(|error| refused(&path, error))?;
        sync_dir(path.parent().unwrap_or(&path))
    }

    fn rename(&self, moves: &[(String, String)]) -> Result<(), FormatError> {
        for (source, name) in moves {
            move_durably(&self.0.join(source), &self.0.join(name))?;
        }
        self.sync_directories()
    }

    fn remove(&self, names: &[String], kept: &HashSet<&str>) -> Result<(), FormatError> {
        for name in names {
            let path = self.0.join(name);
            if !kept.contains(&**name) || path.is_dir() {
                remove(&path)?;
            }
        }
        sync_dir(&self.0)
    }

    fn remove_temporary(&self, mark: &str) -> Result<(), FormatError> {
        let above = self.0.join(TEMPORARY);
        if !exists(&above)? {
            return Ok(());
        }
        remove(&above.join(mark))?;
        match fs::remove_dir(&above) {
            Err(error)
                if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) =>
            {
                Err(refused(&above, error))
            }
            _ => sync_dir(&self.0),
        }
    }
}

impl LocalDirectory {
    /// Puts on disk what the output's directory holds, and that directory itself in those above it, which the
    /// executors may have made. Of one that we may not read we have made nothing.
    fn sync_directories(&self) -> Result<(), FormatError> {
        sync_dir(&self.0)?;
        for above in self.0.ancestors().skip(1) {
            match File::open(above).and_then(|above| above.sync_all()) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                    return Err(refused(above, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Renames `source`, on disk, to `target`, unless that has been done.
fn move_durably(source: &Path, target: &Path) -> Result<(), FormatError> {
    let moved = File::open(source).and_then(|file| file.sync_all()).and_then(|()| fs::rename(source, target));
    match moved {
        Err(error) if error.kind() == io::ErrorKind::NotFound && exists(target)? => Ok(()),
        moved => moved.map_err(|error| refused(source, error)),
    }
}

fn sync_dir(directory: &Path) -> Result<(), FormatError> {
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(|error| refused(directory, error)),
    }
}

/// Removes a file, or a directory with all that is in it, unless it is gone.
fn remove(path: &Path) -> Result<(), FormatError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(path, error)),
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> Result<bool, FormatError> {
    path.try_exists().map_err(|error| refused(path, error))
}

fn refused(path: &Path, error: io::Error) -> FormatError {
    match error.kind() {
        io::ErrorKind::NotFound => FormatError::Missing { url: path.to_string_lossy().into_owned() },
        _ => FormatError::unwritable(&path.to_string_lossy(), error),
    }
}
