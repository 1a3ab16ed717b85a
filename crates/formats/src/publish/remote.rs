//! An output in a store. In HDFS files are renamed, in a bucket they are copied and then deleted.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error, ObjectStoreExt};

use super::{Directory, TEMPORARY};
use crate::{
    FormatError,
    remote::{Remote, wait},
};

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;

/// How many files are looked at, moved or removed at one time.
const AT_ONCE: usize = 16;

pub(super) struct RemoteDirectory(pub(super) Remote);

impl Directory for RemoteDirectory {
    fn url(&self) -> String {
        self.0.shown()
    }

    fn entries(&self) -> Result<Vec<String>, FormatError> {
        let (store, path) = (&self.0.files.store, &self.0.path);
        let listed = wait(async {
            // The first, because it says why it is refused, if it is.
            let listed = self.0.entries().await?;
            if !path.is_root() && found(store.head(path).await)? {
                let what = "it is a file; name a directory";
                return Err(Error::AlreadyExists { path: path.to_string(), source: what.into() });
            }
            Ok(listed)
        });
        let listed = listed.map_err(|error| self.0.unwritable(error))?;
        let files = listed.objects.into_iter().map(|file| file.location);
        // Some make an object of a directory's name, for it to be seen.
        let below = files.filter(|file| file != path).chain(listed.common_prefixes);
        let names = below.filter_map(|path| path.filename().map(str::to_owned));
        Ok(names.filter(|name| name != TEMPORARY).collect())
    }

    fn missing(&self, names: &[String]) -> Result<Option<String>, FormatError> {
        let look = |name: &String| {
            let (place, name) = (self.0.below(name), name.clone());
            async move { Ok((!found(place.files.store.head(&place.path).await)?).then_some(name)) }
        };
        let looks = stream::iter(names).map(look).buffer_unordered(AT_ONCE);
        let missing = wait(looks.try_filter_map(|missing| async { Ok(missing) }).try_collect::<Vec<_>>());
        missing.map(|missing| missing.into_iter().next()).map_err(|error| self.0.unwritable(error))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FormatError> {
        let place = self.0.below(name);
        match wait(async { place.files.store.get(&place.path).await?.bytes().await }) {
            Ok(content) => Ok(Some(content.into())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(place.unwritable(error)),
        }
    }

    fn write(&self, name: &str, mark: &str) -> Result<(), FormatError> {
        let place = self.0.below(name);
        let written = wait(async { place.files.store.put(&place.path, mark.to_owned().into()).await });
        written.map(drop).map_err(|error| place.unwritable(error))
    }

    fn rename(&self, moves: &[(String, String)]) -> Result<(), FormatError> {
        let moves = stream::iter(moves).map(|(source, name)| self.rename_one(source, name));
        let moved = wait(async { Ok(moves.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await) });
        moved.map_err(|error| self.0.unwritable(error))?.map(drop)
    }

    fn remove(&self, names: &[String], kept: &HashSet<&str>) -> Result<(), FormatError> {
        let removals = stream::iter(names).map(|name| self.remove_one(name, kept.contains(&**name)));
        let removed = wait(async { Ok(removals.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await) });
        removed.map_err(|error| self.0.unwritable(error))?.map(drop)
    }

    fn remove_temporary(&self, mark: &str) -> Result<(), FormatError> {
        let above = self.0.below(TEMPORARY);
        let place = above.below(mark);
        let removed = wait(async {
            place.files.remove_dir(&place.path).await?;
            above.files.remove_empty_dir(&above.path).await
        });
        removed.map_err(|error| place.unwritable(error))
    }
}

impl RemoteDirectory {
    async fn rename_one(&self, source: &str, name: &str) -> Result<(), FormatError> {
        let (source, target) = (self.0.below(source), self.0.below(name));
        let store = &self.0.files.store;
        match store.rename(&source.path, &target.path).await {
            Err(Error::NotFound { .. }) => match found(store.head(&target.path).await) {
                Ok(true) => Ok(()),
                Ok(false) => Err(FormatError::Missing { url: source.shown() }),
                Err(error) => Err(target.unwritable(error)),
            },
            renamed => renamed.map_err(|error| source.unwritable(error)),
        }
    }

    /// Removes a directory with all that is in it, and a file unless it is to be `kept`.
    async fn remove_one(&self, name: &str, kept: bool) -> Result<(), FormatError> {
        let place = self.0.below(name);
        let store = &place.files.store;
        let is_file = found(store.head(&place.path).await).map_err(|error| place.unwritable(error))?;
        if is_file && !kept {
            match store.delete(&place.path).await {
                Err(Error::NotFound { .. }) | Ok(()) => {}
                Err(error) => return Err(place.unwritable(error)),
            }
        }
        // In a bucket a file and a directory may have the same name.
        if is_file && place.files.has_directories() {
            return Ok(());
        }
        place.files.remove_dir(&place.path).await.map_err(|error| place.unwritable(error))
    }
}

/// Whether there is something.
fn found<T>(head: object_store::Result<T>) -> object_store::Result<bool> {
    match head {
        Ok(_) => Ok(true),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
