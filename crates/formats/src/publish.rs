//! Making a job's output visible in the directory that the user asked for.
//!
//! Parts are written below `<output>/_temporary/<job>` and moved from there once the job has succeeded, each by
//! one rename. `_SUCCESS`, written last, says that the output is complete, and of which job it is. An
//! interrupted publication is repeated, by this master or another, and ends in the same:
//!
//! ```text
//! old content removed ─► _temporary/<job>/_publishing ─► parts moved ─► _SUCCESS ─► _temporary/<job> removed
//!                        from here on nothing is removed
//! ```
//!
//! Every arrow waits until what was done before it is on disk. Before `_publishing` is there, all parts must
//! be in their places below `_temporary`; after it, a part that is not is in the output. So old content is
//! never taken for ours, nor ours for old.
//!
//! Two jobs that publish into one directory at the same moment are not kept apart; one after the other are.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use mapreduce_core::{JobId, OutputDescription};

use crate::{FormatError, file_ending, location};

const TEMPORARY: &str = "_temporary";
const PUBLISHING: &str = "_publishing";
const SUCCESS: &str = "_SUCCESS";

/// The directory in which the executors write the parts of `job`. `output` is a path or a `file://` URL.
pub fn temporary_dir(output: &str, job: JobId) -> Result<PathBuf, FormatError> {
    Ok(location::local_path(output)?.join(TEMPORARY).join(job.to_string()))
}

/// The names of the files of an output, partition by partition: `part-00000.txt` and so on.
pub fn part_names(output: &OutputDescription) -> impl Iterator<Item = String> + use<> {
    let ending = file_ending(&output.format, output.compression);
    (0u32..).map(move |n| format!("part-{n:05}{ending}"))
}

/// Whether a job may write into `output`, asked before it starts: it must be absent or an empty directory,
/// unless it is to be overwritten. What jobs left that did not succeed (`_temporary`) does not count.
pub fn check_output(output: &str, overwrite: bool) -> Result<(), FormatError> {
    let directory = location::local_path(output)?;
    let entries = entries(&directory)?;
    if overwrite || entries.is_empty() {
        return Ok(());
    }
    Err(FormatError::OutputExists { url: location::url_of(&directory)? })
}

/// Moves the `parts` of `job`, each a file in [`temporary_dir`] and the name that it gets, into `output`, and
/// marks that as complete. To be repeated with the same arguments if it was interrupted; when it has succeeded,
/// repeating it changes nothing. With `overwrite` the old content of `output` is removed, without it there may
/// be none.
pub async fn publish(
    output: &str,
    job: JobId,
    parts: &[(PathBuf, String)],
    overwrite: bool,
) -> Result<(), FormatError> {
    let publication = Publication {
        directory: location::local_path(output)?,
        temporary: temporary_dir(output, job)?,
        job,
        parts: parts.to_vec(),
    };
    let published = tokio::task::spawn_blocking(move || publication.run(overwrite)).await;
    published.map_err(|error| FormatError::unwritable(output, error.into()))?
}

/// Removes what the attempts of a job that did not succeed have written.
pub async fn discard(output: &str, job: JobId) -> Result<(), FormatError> {
    let publication = Publication {
        directory: location::local_path(output)?,
        temporary: temporary_dir(output, job)?,
        job,
        parts: Vec::new(),
    };
    let exists = publication.temporary.exists();
    let discarded =
        tokio::task::spawn_blocking(move || if exists { publication.clean_up() } else { Ok(()) }).await;
    discarded.map_err(|error| FormatError::unwritable(output, error.into()))?
}

struct Publication {
    directory: PathBuf,
    temporary: PathBuf,
    job: JobId,
    parts: Vec<(PathBuf, String)>,
}

impl Publication {
    fn run(&self, overwrite: bool) -> Result<(), FormatError> {
        self.check_names()?;
        // Listed before it is asked how far publication has come: whoever publishes this job at the same time
        // can then not make its parts look like old content.
        let old = entries(&self.directory)?;
        let marker = self.temporary.join(PUBLISHING);
        if !exists(&marker)? {
            if self.is_done()? {
                return self.clean_up();
            }
            if !overwrite && !old.is_empty() {
                return Err(FormatError::OutputExists { url: location::url_of(&self.directory)? });
            }
            self.check_parts()?;
            self.remove_old(&old)?;
            self.mark(&marker)?;
        }
        for (source, name) in &self.parts {
            move_durably(source, &self.directory.join(name))?;
        }
        self.sync_directories()?;
        self.mark(&self.directory.join(SUCCESS))?;
        self.clean_up()
    }

    /// Names must be those of files directly in the output, and each used once: a part would be lost.
    fn check_names(&self) -> Result<(), FormatError> {
        let mut names = HashSet::new();
        let is_good = |name: &str| !name.is_empty() && !name.starts_with(['_', '.']) && !name.contains('/');
        match self.parts.iter().find(|(_, name)| !is_good(name) || !names.insert(name)) {
            Some((source, name)) => {
                let why = format!("{name:?} can't be the name of a part, or is that of another");
                Err(FormatError::unsuitable(&source.to_string_lossy(), why))
            }
            None => Ok(()),
        }
    }

    /// Whether all parts are there: before anything is removed.
    fn check_parts(&self) -> Result<(), FormatError> {
        for (source, _) in &self.parts {
            if !exists(source)? {
                return Err(FormatError::Missing { url: location::url_of(source)? });
            }
        }
        Ok(())
    }

    /// Whether the output is marked as complete, and as ours.
    fn is_done(&self) -> Result<bool, FormatError> {
        let path = self.directory.join(SUCCESS);
        match fs::read(&path) {
            Ok(content) => Ok(content == self.job.to_string().as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(refused(&path, error)),
        }
    }

    /// Removes what was in the output, its mark first. What is named like a part will be replaced anyway, and
    /// may by now be ours.
    fn remove_old(&self, old: &[PathBuf]) -> Result<(), FormatError> {
        let success = self.directory.join(SUCCESS);
        let parts: HashSet<PathBuf> = self.parts.iter().map(|(_, name)| self.directory.join(name)).collect();
        if old.contains(&success) {
            remove(&success)?;
            sync_dir(&self.directory)?;
        }
        for path in old.iter().filter(|path| !parts.contains(*path) || path.is_dir()) {
            remove(path)?;
        }
        sync_dir(&self.directory)
    }

    /// Makes a file that names the job. It is renamed into its place, so that nobody sees it without the name.
    fn mark(&self, path: &Path) -> Result<(), FormatError> {
        let beside = self.temporary.join(format!("_marking.{}", std::process::id()));
        let write = || {
            // Absent if the job has no parts.
            fs::create_dir_all(&self.temporary)?;
            fs::write(&beside, self.job.to_string())?;
            File::open(&beside)?.sync_all()?;
            fs::rename(&beside, path)
        };
        write().map_err(|error| refused(path, error))?;
        sync_dir(path.parent().unwrap_or(path))
    }

    /// Puts on disk what the output's directory holds, and that directory itself in those above it, which the
    /// executors may have made. Of one that we may not read we have made nothing.
    fn sync_directories(&self) -> Result<(), FormatError> {
        sync_dir(&self.directory)?;
        for above in self.directory.ancestors().skip(1) {
            match File::open(above).and_then(|above| above.sync_all()) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                    return Err(refused(above, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what is left of this job below `_temporary`, and that itself unless another job writes there.
    fn clean_up(&self) -> Result<(), FormatError> {
        remove(&self.temporary)?;
        let above = self.directory.join(TEMPORARY);
        match fs::remove_dir(&above) {
            Err(error)
                if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) =>
            {
                Err(refused(&above, error))
            }
            _ => sync_dir(&self.directory),
        }
    }
}

/// What is in `directory`, but for `_temporary`; nothing if it is absent.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, FormatError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.retain(|path| !path.ends_with(TEMPORARY));
        Ok(paths)
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|error| refused(directory, error)),
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
