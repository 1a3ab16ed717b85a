//! Making a job's output visible in the directory that the user asked for.
//!
//! Parts are written below `<output>/_temporary/<mark>` and moved from there once the job has succeeded, each by
//! one rename, or in a bucket by a copy. `_SUCCESS`, written last, says that the output is complete, and of which job it
//! is: it holds the job's mark, which no other job has. An interrupted publication is repeated, by this master or another,
//! and ends in the same:
//!
//! ```text
//! old content removed ─► _temporary/<mark>/_publishing ─► parts moved ─► _SUCCESS ─► _temporary/<mark> removed
//!                        from here on nothing is removed
//! ```
//!
//! Every arrow waits until what was done before it is durable. Before `_publishing` is there, all parts must
//! be in their places below `_temporary`; after it, a part that is not is in the output. So old content is
//! never taken for ours, nor ours for old.
//!
//! Two jobs that publish into one directory at the same moment are not kept apart; one after the other are.

mod local;
mod remote;

use std::{collections::HashSet, path::PathBuf};

use mapreduce_core::{JobId, OutputDescription};

use self::{local::LocalDirectory, remote::RemoteDirectory};
use crate::{FormatError, file_ending, location::Location, remote::without_options};

const TEMPORARY: &str = "_temporary";
const PUBLISHING: &str = "_publishing";
const SUCCESS: &str = "_SUCCESS";

/// What tells the job from every other: with its id alone, the first job of the next cluster would take the output of the
/// first job of this one for its own.
fn mark(output: &OutputDescription, job: JobId) -> String {
    format!("{job}-{:016x}", output.nonce)
}

/// Where below an output the executors write the parts of `job`.
pub(crate) fn temporary_dir(output: &OutputDescription, job: JobId) -> String {
    format!("{TEMPORARY}/{}", mark(output, job))
}

/// The names of the files of an output, partition by partition: `part-00000.txt` and so on.
pub fn part_names(output: &OutputDescription) -> impl Iterator<Item = String> + use<> {
    let ending = file_ending(&output.format, output.compression);
    (0u32..).map(move |n| format!("part-{n:05}{ending}"))
}

/// The files that were published in an output, by partition: their paths, or URLs. A partition without a record has none
/// in Parquet. Waits.
pub fn published(output: &str) -> Result<Vec<String>, FormatError> {
    let mut names = at(Location::parse(output)?, |directory| match directory.entries()? {
        names if names.iter().any(|name| name == SUCCESS) => Ok(names),
        _ => Err(FormatError::Missing { url: format!("{}/{SUCCESS}", directory.url()) }),
    })?;
    names.retain(|name| name.starts_with("part-"));
    names.sort();
    Ok(names.iter().map(|name| place_in(output, name)).collect())
}

/// A name in an output, whose URL may have options at its end.
fn place_in(output: &str, name: &str) -> String {
    let place = without_options(output);
    let options = &output[place.len()..];
    format!("{}/{name}{options}", place.trim_end_matches('/'))
}

/// Whether a job may write into `output`, asked before it starts: it must be absent or an empty directory,
/// unless it is to be overwritten. What jobs left that did not succeed (`_temporary`) does not count.
pub async fn check_output(output: &str, overwrite: bool) -> Result<(), FormatError> {
    on(output, move |directory| match directory.entries()? {
        entries if overwrite || entries.is_empty() => Ok(()),
        _ => Err(FormatError::OutputExists { url: directory.url() }),
    })
    .await
}

/// Moves the `parts` of `job`, each the name of a file that was written and the name that it gets, into `output`, and
/// marks that as complete. To be repeated with the same arguments if it was interrupted; when it has succeeded,
/// repeating it changes nothing. If the output is to be overwritten its old content is removed, else there may be none.
pub async fn publish(
    output: &OutputDescription,
    job: JobId,
    parts: &[(String, String)],
) -> Result<(), FormatError> {
    let (parts, mark, overwrite) = (parts.to_vec(), mark(output, job), output.overwrite);
    on(&output.url, move |directory| Publication { directory, mark, parts }.run(overwrite)).await
}

/// Removes what the attempts of a job that did not succeed have written.
pub async fn discard(output: &OutputDescription, job: JobId) -> Result<(), FormatError> {
    let mark = mark(output, job);
    on(&output.url, move |directory| directory.remove_temporary(&mark)).await
}

/// The local directory that `output` is, if it is one. It need not exist.
pub fn local_directory(output: &str) -> Option<PathBuf> {
    match Location::parse(output) {
        Ok(Location::Local(path)) => Some(path),
        _ => None,
    }
}

/// Does something to an output, on a thread that may wait.
async fn on<T: Send + 'static>(
    output: &str,
    work: impl FnOnce(&dyn Directory) -> Result<T, FormatError> + Send + 'static,
) -> Result<T, FormatError> {
    let place = Location::parse(output)?;
    let done = tokio::task::spawn_blocking(move || at(place, work));
    done.await.map_err(|error| FormatError::unwritable(output, error.into()))?
}

fn at<T>(
    place: Location,
    work: impl FnOnce(&dyn Directory) -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    match place {
        Location::Local(path) => work(&LocalDirectory(path)),
        Location::Remote(place) => work(&RemoteDirectory(place)),
    }
}

/// The directory of an output. Names are below it, with slashes between. What a call returned for is durable.
trait Directory {
    fn url(&self) -> String;
    /// What is directly in it, but for `_temporary`; nothing if it is absent. An error if it is no directory.
    fn entries(&self) -> Result<Vec<String>, FormatError>;
    /// One of these that is not there.
    fn missing(&self, names: &[String]) -> Result<Option<String>, FormatError>;
    /// The content of a small file, if it is there.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FormatError>;
    /// Makes a file that holds the job's mark, or another of it: nobody sees it without its content.
    fn write(&self, name: &str, mark: &str) -> Result<(), FormatError>;
    /// Moves files, but for those that have been.
    fn rename(&self, moves: &[(String, String)]) -> Result<(), FormatError>;
    /// Removes what is directly in it, unless it is gone, or a file that is to be `kept`.
    fn remove(&self, names: &[String], kept: &HashSet<&str>) -> Result<(), FormatError>;
    /// Removes what is left of a job below `_temporary`, and that itself unless another job writes there.
    fn remove_temporary(&self, mark: &str) -> Result<(), FormatError>;
}

struct Publication<'a> {
    directory: &'a dyn Directory,
    mark: String,
    /// Names below [`temporary_dir`], and in the output.
    parts: Vec<(String, String)>,
}

impl Publication<'_> {
    fn run(&self, overwrite: bool) -> Result<(), FormatError> {
        self.check_names()?;
        // Listed before it is asked how far publication has come: whoever publishes this job at the same time
        // can then not make its parts look like old content.
        let old = self.directory.entries()?;
        let marker = self.temporary(PUBLISHING);
        if self.directory.missing(std::slice::from_ref(&marker))?.is_some() {
            if self.is_done()? {
                return self.directory.remove_temporary(&self.mark);
            }
            if !overwrite && !old.is_empty() {
                return Err(FormatError::OutputExists { url: self.directory.url() });
            }
            self.check_parts()?;
            self.remove_old(old)?;
            self.directory.write(&marker, &self.mark)?;
        }
        let moves: Vec<_> =
            self.parts.iter().map(|(source, name)| (self.temporary(source), name.clone())).collect();
        self.directory.rename(&moves)?;
        self.directory.write(SUCCESS, &self.mark)?;
        self.directory.remove_temporary(&self.mark)
    }

    fn temporary(&self, name: &str) -> String {
        format!("{TEMPORARY}/{}/{name}", self.mark)
    }

    /// Names must be those of files directly in the output, and each used once: a part would be lost.
    fn check_names(&self) -> Result<(), FormatError> {
        let mut names = HashSet::new();
        let is_good = |name: &str| !name.is_empty() && !name.starts_with(['_', '.']) && !name.contains('/');
        match self.parts.iter().find(|(_, name)| !is_good(name) || !names.insert(name)) {
            Some((source, name)) => {
                let why = format!("{name:?} can't be the name of a part, or is that of another");
                Err(FormatError::unsuitable(source, why))
            }
            None => Ok(()),
        }
    }

    /// Whether all parts are there: before anything is removed.
    fn check_parts(&self) -> Result<(), FormatError> {
        let names: Vec<_> = self.parts.iter().map(|(source, _)| self.temporary(source)).collect();
        match self.directory.missing(&names)? {
            Some(name) => Err(FormatError::Missing { url: format!("{}/{name}", self.directory.url()) }),
            None => Ok(()),
        }
    }

    /// Whether the output is marked as complete, and as ours.
    fn is_done(&self) -> Result<bool, FormatError> {
        Ok(self.directory.read(SUCCESS)?.is_some_and(|content| content == self.mark.as_bytes()))
    }

    /// Removes what was in the output, its mark first. What is named like a part will be replaced anyway, and
    /// may by now be ours.
    fn remove_old(&self, old: Vec<String>) -> Result<(), FormatError> {
        let (mark, others): (Vec<_>, Vec<_>) = old.into_iter().partition(|name| name == SUCCESS);
        if !mark.is_empty() {
            self.directory.remove(&mark, &HashSet::new())?;
        }
        self.directory.remove(&others, &self.parts.iter().map(|(_, name)| &**name).collect())
    }
}
