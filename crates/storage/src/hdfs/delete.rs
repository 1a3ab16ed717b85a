//! Deleting objects, and directories with all that is in them.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use object_store::{Result, path::Path};

use super::{connection::Connection, failure::Failure, io};

/// How many objects are deleted at one time.
const AT_ONCE: usize = 16;

/// Deletes objects.
pub(super) fn delete(
    connection: Arc<Connection>,
    paths: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    let delete = move |path: Result<Path>| {
        let connection = connection.clone();
        async move {
            let path = path?;
            let file = connection.place.file(&path);
            io::run(async move {
                let deleted = remove(&connection, &file, false).await;
                deleted.map_err(|failure| failure.about(&connection.place, &file))
            })
            .await?;
            Ok(path)
        }
    };
    paths.map(delete).buffered(AT_ONCE).boxed()
}

/// [`Absent`](Failure::Absent) if there was nothing.
async fn remove(connection: &Connection, file: &str, all: bool) -> Result<(), Failure> {
    match connection.delete(file, all).await? {
        true => Ok(()),
        false => Err(Failure::Absent),
    }
}

/// The directories of an HDFS, which its objects' [`GetResult`](object_store::GetResult)s come with: removing one takes
/// along what writers left in it that died, and needs one request for any number of objects.
#[derive(Debug, Clone)]
pub(crate) struct Directories {
    connection: Arc<Connection>,
}

impl Directories {
    pub(super) fn of(connection: Arc<Connection>) -> Self {
        Directories { connection }
    }

    /// Removes `directory` with all that is in it, if it is there.
    pub(crate) async fn remove(&self, directory: &Path) -> Result<()> {
        let (connection, file) = (self.connection.clone(), self.connection.place.file(directory));
        io::run(async move {
            match remove(&connection, &file, true).await {
                Err(Failure::Absent) => Ok(()),
                removed => removed.map_err(|failure| failure.about(&connection.place, &file)),
            }
        })
        .await
    }

    /// Removes `directory` if there is nothing in it.
    pub(crate) async fn remove_empty(&self, directory: &Path) -> Result<()> {
        let (connection, file) = (self.connection.clone(), self.connection.place.file(directory));
        io::run(async move {
            let about = |failure: Failure| failure.about(&connection.place, &file);
            match connection.entries(&file).await {
                // Somebody may put something into it meanwhile: then it is not removed.
                Ok(found) if found.is_empty() => {
                    connection.delete(&file, false).await.map(drop).map_err(about)
                }
                Ok(_) | Err(Failure::Absent) => Ok(()),
                Err(failure) => Err(about(failure)),
            }
        })
        .await
    }
}
