//! Finding local files.
//!
//! Directories are listed with the system's calls and not through `object_store`, whose local store leaves out
//! files with names like `report#2`: input must not be lost silently.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{Found, Listing, names::Names, walk};
use crate::{FormatError, location};

/// The files that `pattern` means, which is `path`, by URL.
pub(super) async fn files_of(pattern: &str, path: PathBuf) -> Result<BTreeMap<String, Found>, FormatError> {
    let (base, names) = match tokio::fs::metadata(&path).await {
        Ok(metadata) if metadata.is_dir() => (path, Names::all()),
        Ok(metadata) => return Ok(BTreeMap::from([found(&path, &metadata)?])),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Names::parse(pattern, &path)?,
        Err(error) => return Err(FormatError::unreadable(pattern, error)),
    };
    walk(base, names, |directory, states, names| async move {
        let listing = tokio::task::spawn_blocking(move || list(&directory, &states, &names)).await;
        listing.map_err(|error| FormatError::unreadable(pattern, error.into()))?
    })
    .await
}

/// Lists one directory. One that is absent is empty: it may be a pattern's, and that no file was found is said
/// anyway.
fn list(directory: &Path, states: &[usize], names: &Names) -> Result<Listing<PathBuf>, FormatError> {
    let refused = |path: &Path, error| FormatError::unreadable(&path.to_string_lossy(), error);
    let mut listing = Listing { files: Vec::new(), directories: Vec::new() };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(listing);
        }
        Err(error) => return Err(refused(directory, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| refused(directory, error))?;
        let path = entry.path();
        let (below, accepted) = names.step(states, &entry.file_name().to_string_lossy());
        if below.is_empty() && !accepted {
            continue;
        }
        // Of what a link leads to; a link that leads nowhere is a file that is missing.
        let metadata = fs::metadata(&path).map_err(|error| refused(&path, error))?;
        if metadata.is_dir() {
            let is_link = entry.file_type().map_err(|error| refused(&path, error))?.is_symlink();
            if is_link {
                check_no_circle(&path).map_err(|error| refused(&path, error))?;
            }
            listing.directories.push((path, below));
        } else if accepted {
            listing.files.push(found(&path, &metadata)?);
        }
    }
    Ok(listing)
}

/// Whether the link leads back to a directory that it was reached through: listing would never end.
fn check_no_circle(link: &Path) -> io::Result<()> {
    let target = link.canonicalize()?;
    for ancestor in link.ancestors().skip(1) {
        if ancestor.canonicalize()? == target {
            return Err(io::Error::other("this link leads back to a directory above it: remove it"));
        }
    }
    Ok(())
}

fn found(path: &Path, metadata: &fs::Metadata) -> Result<(String, Found), FormatError> {
    let url = location::url_of(path)?;
    if !metadata.is_file() {
        let why = "it is no regular file: write what it delivers to a file, and give that".to_owned();
        return Err(FormatError::Url { url, why });
    }
    let modified_ms =
        location::modified_ms(metadata).map_err(|error| FormatError::unreadable(&url, error))?;
    Ok((url, Found { length: metadata.len(), modified_ms, e_tag: None }))
}
