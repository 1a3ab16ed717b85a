//! From patterns to the files that a job reads.
//!
//! A pattern is a path, a URL, or either with `*`, `?`, `[a-z]` and `{a,b}` within names and `**` for
//! any number of directories. A path that exists is taken as it is, whatever characters it holds. A directory,
//! given or matched, means all files in it and below. Names that begin with `_` or `.` are skipped, as Hadoop
//! does, because they are marks and work in progress (`_SUCCESS`, `_temporary`), unless the pattern spells out
//! that first character.

mod local;
mod names;
mod remote;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use mapreduce_core::{Compression, InputFile};

use self::names::Names;
use crate::{FormatError, location::Location, remote::without_options};

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
            return Err(FormatError::NoMatch { pattern: without_options(pattern).to_owned() });
        }
        for (url, file) in files {
            let compression = compression.unwrap_or_else(|| compression_of(without_options(&url)));
            if known.insert(url.clone()) {
                found.push(InputFile {
                    url,
                    length: file.length,
                    modified_ms: file.modified_ms,
                    e_tag: file.e_tag,
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
    e_tag: Option<String>,
}

/// The files that one pattern means, by URL.
async fn files_of(pattern: &str) -> Result<BTreeMap<String, Found>, FormatError> {
    match Location::parse(pattern)? {
        Location::Local(path) => local::files_of(pattern, path).await,
        Location::Remote(place) => remote::files_of(without_options(pattern), place).await,
    }
}

/// What of a directory the pattern means: files, and directories with where in the pattern their entries are.
struct Listing<D> {
    files: Vec<(String, Found)>,
    directories: Vec<(D, Vec<usize>)>,
}

/// Lists directories from `base` on, many at a time, as far as `names` lead.
async fn walk<D, F>(
    base: D,
    names: Names,
    list: impl Fn(D, Vec<usize>, Arc<Names>) -> F,
) -> Result<BTreeMap<String, Found>, FormatError>
where
    F: Future<Output = Result<Listing<D>, FormatError>>,
{
    let names = Arc::new(names);
    let mut files = BTreeMap::new();
    let mut places = vec![(base, names.start())];
    while !places.is_empty() {
        let listings = stream::iter(places)
            .map(|(directory, states)| list(directory, states, names.clone()))
            .buffer_unordered(LISTINGS_AT_ONCE);
        let listed: Vec<Listing<D>> = listings.try_collect().await?;
        places = Vec::new();
        for listing in listed {
            files.extend(listing.files);
            places.extend(listing.directories);
        }
    }
    Ok(files)
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
