//! Listing objects.

use std::{collections::VecDeque, sync::Arc};

use chrono::DateTime;
use futures::stream::BoxStream;
use hdfs_native::client::FileStatus;
use object_store::{ListResult, ObjectMeta, Result, path::Path};

use super::{connection::Connection, failure::Failure, io};

/// What the store knows of an object.
pub(super) fn meta(location: Path, status: &FileStatus) -> ObjectMeta {
    // A time that no calendar has is no reason to refuse the object.
    let modified = i64::try_from(status.modification_time).ok().and_then(DateTime::from_timestamp_millis);
    ObjectMeta {
        location,
        last_modified: modified.unwrap_or_default(),
        size: status.length as u64,
        e_tag: None,
        version: None,
    }
}

/// Every object below `prefix`, one directory after the other.
pub(super) fn list(connection: Arc<Connection>, prefix: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
    let mut directories = VecDeque::from([connection.place.file(prefix)]);
    io::streamed(|sender| async move {
        while let Some(directory) = directories.pop_front() {
            let entries = entries(&connection, &directory).await;
            let entries = entries.map_err(|failure| failure.about(&connection.place, &directory));
            let found = match entries {
                Ok(entries) => entries,
                // Nobody waits for it, if this can't be sent.
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            for status in found {
                if status.isdir {
                    directories.push_back(status.path);
                } else if let Some(found) = object(&connection, &status).transpose()
                    && sender.send(found.map(|path| meta(path, &status))).await.is_err()
                {
                    return;
                }
            }
        }
    })
}

/// What is directly below `prefix`.
pub(super) async fn list_with_delimiter(connection: Arc<Connection>, prefix: Path) -> Result<ListResult> {
    let directory = connection.place.file(&prefix);
    let found = entries(&connection, &directory).await;
    let found = found.map_err(|failure| failure.about(&connection.place, &directory))?;
    let (directories, files): (Vec<_>, Vec<_>) = found.into_iter().partition(|status| status.isdir);
    let object = |status: &FileStatus| object(&connection, status).transpose();
    let common_prefixes = directories.iter().filter_map(object).collect::<Result<_>>()?;
    let objects = files.iter().filter_map(|status| Some(object(status)?.map(|path| meta(path, status))));
    Ok(ListResult {
        common_prefixes,
        objects: objects.collect::<Result<_>>()?,
        extensions: Default::default(),
    })
}

fn object(connection: &Connection, status: &FileStatus) -> Result<Option<Path>> {
    let place = &connection.place;
    place.object(&status.path).map_err(|failure| failure.about(place, &status.path))
}

/// What is in a directory, which is nothing if it is not there, or went meanwhile.
async fn entries(connection: &Connection, directory: &str) -> Result<Vec<FileStatus>, Failure> {
    match connection.entries(directory).await {
        Err(Failure::Absent) => Ok(Vec::new()),
        // A file has itself in it.
        listed => listed.map(|mut found| {
            found.retain(|status| status.path != directory);
            found
        }),
    }
}
