//! Finding files in stores.

use std::{collections::BTreeMap, path};

use mapreduce_storage::background;
use object_store::{Error, ListResult, ObjectMeta, ObjectStoreExt, path::Path};

use super::{Found, Listing, names::Names, walk};
use crate::{FormatError, remote::Remote};

/// The files that `pattern` means, which is `place`, by URL.
pub(super) async fn files_of(pattern: &str, place: Remote) -> Result<BTreeMap<String, Found>, FormatError> {
    let (base, names) = match head(&place).await {
        Ok(meta) => return Ok(BTreeMap::from([found(&place, meta)])),
        Err(
            no_file @ (Error::NotFound { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }),
        ) => directory_or_pattern(pattern, &place, no_file).await?,
        Err(error) => return Err(place.unreadable(error)),
    };
    walk(base, names, |directory, states, names| async move { list(&directory, &states, &names).await }).await
}

/// The directory that `place` is, or in which `pattern` begins to be one, and the names from there.
async fn directory_or_pattern(
    pattern: &str,
    place: &Remote,
    no_file: Error,
) -> Result<(Remote, Names), FormatError> {
    // If this is refused, too, it says why, unlike the look at a file.
    let entries = entries(place).await?;
    if !entries.objects.is_empty() || !entries.common_prefixes.is_empty() {
        return Ok((place.clone(), Names::all()));
    }
    if !matches!(no_file, Error::NotFound { .. }) {
        return Err(place.unreadable(no_file));
    }
    let (base, names) = Names::parse(pattern, path::Path::new(place.path.as_ref()))?;
    let base = Path::parse(base.to_string_lossy()).map_err(|error| place.unreadable(error.into()))?;
    Ok((place.at(base), names))
}

/// Lists one directory. One that is absent is empty.
async fn list(directory: &Remote, states: &[usize], names: &Names) -> Result<Listing<Remote>, FormatError> {
    let entries = entries(directory).await?;
    let mut listing = Listing { files: Vec::new(), directories: Vec::new() };
    for path in entries.common_prefixes {
        let (below, _) = names.step(states, path.filename().unwrap_or_default());
        if !below.is_empty() {
            listing.directories.push((directory.at(path), below));
        }
    }
    for meta in entries.objects {
        let (_, accepted) = names.step(states, meta.location.filename().unwrap_or_default());
        // Some make an object of a directory's name, for it to be seen.
        if accepted && meta.location != directory.path {
            listing.files.push(found(&directory.at(meta.location.clone()), meta));
        }
    }
    Ok(listing)
}

async fn head(place: &Remote) -> object_store::Result<ObjectMeta> {
    if place.path.is_root() {
        let why = "it is the store itself";
        return Err(Error::NotFound { path: String::new(), source: why.into() });
    }
    let (store, path) = (place.files.store.clone(), place.path.clone());
    background::run(async move { store.head(&path).await }).await
}

async fn entries(directory: &Remote) -> Result<ListResult, FormatError> {
    let place = directory.clone();
    let listed = background::run(async move { place.entries().await }).await;
    listed.map_err(|error| directory.unreadable(error))
}

fn found(place: &Remote, meta: ObjectMeta) -> (String, Found) {
    let modified_ms = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
    (place.url(), Found { length: meta.size, modified_ms, e_tag: meta.e_tag })
}
