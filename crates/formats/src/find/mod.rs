//! From patterns to the files that a job reads.
//!
//! A pattern is a path, a `file://` URL, or either with `*`, `?`, `[a-z]` and `{a,b}` within names and `**` for
//! any number of directories. A path that exists is taken as it is, whatever characters it holds. A directory,
//! given or matched, means all files in it and below. Names that begin with `_` or `.` are skipped, as Hadoop
//! does, because they are marks and work in progress (`_SUCCESS`, `_temporary`), unless the pattern spells out
//! that first character.
//!
//! Directories are listed with the system's calls and not through `object_store`, whose local store leaves out
//! files with names like `report#2`: input must not be lost silently. Another store's listing belongs beside
//! [`list`].

mod names;

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use mapreduce_core::{Compression, InputFile};

use self::names::Names;
use crate::{FormatError, location};

/// How many directories are listed at a time: they wait for the disk or the network, not for the processor.
const LISTINGS_AT_ONCE: usize = 16;

/// The files that `patterns` mean: pattern by pattern, those of one pattern sorted by URL, none twice. How they
/// are compressed is told by the ends of their names (`.gz`, `.zst`, `.bz2`, `.lz4`), unless `compression` tells
/// it for all. A pattern without a file is an error, and so is whatever can't be listed.
pub async fn find(
    patterns: &[String],
    compression: Option<Compression>,
) -> Result<Vec<InputFile>, FormatError> {
    let mut found: Vec<InputFile> = Vec::new();
    let mut known = HashSet::new();
    let mut files_of_patterns = stream::iter(patterns)
        .map(|pattern| async move { (pattern, files_of(pattern).await) })
        .buffered(LISTINGS_AT_ONCE);
    while let Some((pattern, files)) = files_of_patterns.next().await {
        let files = files?;
        if files.is_empty() {
            return Err(FormatError::NoMatch { pattern: pattern.clone() });
        }
        for (url, file) in files {
            let compression = compression.unwrap_or_else(|| compression_of(&url));
            if known.insert(url.clone()) {
                found.push(InputFile {
                    url,
                    length: file.length,
                    modified_ms: file.modified_ms,
                    compression,
                });
            }
        }
    }
    Ok(found)
}

/// What is to be known of a file.
struct Found {
    length: u64,
    modified_ms: u64,
}

/// A directory, and where in the pattern its entries are.
type Place = (PathBuf, Vec<usize>);

/// The files that one pattern means, by URL.
async fn files_of(pattern: &str) -> Result<BTreeMap<String, Found>, FormatError> {
    let path = location::local_path(pattern)?;
    let (base, names) = match tokio::fs::metadata(&path).await {
        Ok(metadata) if metadata.is_dir() => (path, Names::all()),
        Ok(metadata) => return Ok(BTreeMap::from([found(&path, &metadata)?])),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Names::parse(pattern, &path)?,
        Err(error) => return Err(FormatError::unreadable(pattern, error)),
    };
    let names = Arc::new(names);
    let mut files = BTreeMap::new();
    let mut places = vec![(base, names.start())];
    while !places.is_empty() {
        let listings = stream::iter(places)
            .map(|place| {
                let names = names.clone();
                async move {
                    let listing = tokio::task::spawn_blocking(move || list(&place, &names)).await;
                    listing.map_err(|error| FormatError::unreadable(pattern, error.into()))?
                }
            })
            .buffer_unordered(LISTINGS_AT_ONCE);
        let listed: Vec<Listing> = listings.try_collect().await?;
        places = Vec::new();
        for listing in listed {
            files.extend(listing.files);
            places.extend(listing.directories);
        }
    }
    Ok(files)
}

/// What of a directory the pattern means.
#[derive(Default)]
struct Listing {
    files: Vec<(String, Found)>,
    directories: Vec<Place>,
}

/// Lists one directory. One that is absent is empty: it may be a pattern's, and that no file was found is said
/// anyway.
fn list((directory, states): &Place, names: &Names) -> Result<Listing, FormatError> {
    let refused = |path: &Path, error| FormatError::unreadable(&path.to_string_lossy(), error);
    let mut listing = Listing::default();
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
    Ok((url, Found { length: metadata.len(), modified_ms }))
}

fn compression_of(url: &str) -> Compression {
    match url.rsplit_once('.') {
        Some((_, "gz")) => Compression::Gzip,
        Some((_, "zst")) => Compression::Zstd,
        Some((_, "bz2")) => Compression::Bzip2,
        Some((_, "lz4")) => Compression::Lz4,
        _ => Compression::None,
    }
}
