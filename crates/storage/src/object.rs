//! Single objects: records that are read and created, files that are written and read back.

use std::{ops::Range, pin::pin};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use mapreduce_core::{Content, Persisted};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, path::Path};
use serde::{Deserialize, Serialize};

use crate::{FileUpload, StorageError, Store};

/// Objects read at one time. Local reads are short and remote reads mostly wait.
const READS_AT_ONCE: usize = 64;
/// How often a create with unknown outcome is tried before its error is handed on.
const CREATE_TRIES: u32 = 3;

/// A file as its writer left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its name below the job's directory; see [`in_job`](crate::paths::in_job).
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// CRC-32C of its bytes.
    pub crc32c: u32,
    /// Its bytes, if they are so few that no object was made of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// What became of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// This call made the object.
    New,
    /// The object is there with these very bytes: made by this call, or by an equal one.
    Same,
    /// Somebody made it before with other bytes, these.
    Other(Bytes),
}

/// The record at `path`, if there is one. What can't be decoded is read once more: a damaged record can end a job,
/// and a bit that was flipped on the way here is not in the store.
pub async fn read<T: Persisted>(store: &Store, path: &Path) -> Result<Option<T>, StorageError> {
    match read_once(store, path).await {
        Err(StorageError::Damaged { .. }) => read_once(store, path).await,
        done => done,
    }
}

async fn read_once<T: Persisted>(store: &Store, path: &Path) -> Result<Option<T>, StorageError> {
    let Some(bytes) = read_bytes(store, path).await? else { return Ok(None) };
    T::decode(&bytes).map(Some).map_err(|error| StorageError::damaged(path, error))
}

/// Writes `record` to `path` unless there is something already. After an unknown outcome it looks, and never
/// guesses. On an error the object may still appear later: delete nothing that the record names, unless the error is
/// [`StorageError::Full`], which says that it will not.
pub async fn create<T: Persisted>(store: &Store, path: &Path, record: &T) -> Result<Created, StorageError> {
    let bytes = Bytes::from(record.encode());
    let (mut tries, mut doubt) = (1, None);
    loop {
        let put = store.put_opts(path, bytes.clone().into(), PutMode::Create.into()).await;
        let Err(error) = put else { return Ok(Created::New) };
        let error = StorageError::of(path, error);
        let is_certain = matches!(error, StorageError::AlreadyExists { .. } | StorageError::Full { .. });
        match read_bytes(store, path).await? {
            Some(found) if found != bytes => return Ok(Created::Other(found)),
            Some(_) if is_certain && doubt.is_none() => return Ok(Created::Same),
            // Ours is there, and nobody has said that it is durable: a power cut might take it back.
            Some(_) if store.put(path, bytes.clone().into()).await.is_ok() => return Ok(Created::Same),
            _ if tries == CREATE_TRIES => return Err(doubt.unwrap_or(error)),
            _ => tries += 1,
        }
        // What one try leaves open is not settled by another that found no room.
        if !is_certain {
            doubt = Some(error);
        }
    }
}

/// Writes data, durably, and reads it back; see [`FileUpload`].
pub async fn put_file(store: &Store, path: &Path, bytes: Bytes) -> Result<FileRef, StorageError> {
    let mut upload = FileUpload::new(store.clone(), path.clone());
    upload.write(&bytes).await?;
    upload.finish().await
}

/// Exactly these bytes of an object. One that ends before is damaged.
pub async fn read_range(store: &Store, path: &Path, range: Range<u64>) -> Result<Bytes, StorageError> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let read = store.get_range(path, range.clone()).await;
    if matches!(&read, Ok(bytes) if bytes.len() as u64 == range.end - range.start) {
        return read.map_err(|error| StorageError::of(path, error));
    }
    // Stores differ in how they say that an object is too short, so ask.
    let size = store.head(path).await.map_err(|error| StorageError::of(path, error))?.size;
    match read {
        Err(error) if size >= range.end => Err(StorageError::of(path, error)),
        _ => Err(StorageError::damaged(
            path,
            format!("it has {size} bytes, {}..{} were asked for", range.start, range.end),
        )),
    }
}

/// The whole object, if there is one.
pub async fn read_bytes(store: &Store, path: &Path) -> Result<Option<Bytes>, StorageError> {
    let read = async { store.get(path).await?.bytes().await };
    match read.await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(StorageError::of(path, error)),
    }
}

/// The names of all objects below `dir`, in no order.
pub(crate) fn list<'a>(
    store: &'a Store,
    dir: &'a Path,
) -> impl Stream<Item = Result<Path, StorageError>> + Unpin + 'a {
    store.list(Some(dir)).map_ok(|object| object.location).map_err(|error| StorageError::of(dir, error))
}

/// Gives the records at `paths` to `take`, in the order of `paths` and one by one, so that nobody has to hold all of
/// them. `place` says where a record belongs; one that lies elsewhere is damage. What was deleted is passed over.
pub(crate) async fn read_each<T: Persisted>(
    store: &Store,
    paths: impl Stream<Item = Result<Path, StorageError>>,
    place: impl Fn(&T) -> Path,
    mut take: impl FnMut(T),
) -> Result<(), StorageError> {
    let read = paths.map_ok(|path| async move {
        let record: Option<T> = read(store, &path).await?;
        Ok(record.map(|record| (path, record)))
    });
    let mut found = pin!(read.try_buffered(READS_AT_ONCE));
    while let Some(found) = found.try_next().await? {
        let Some((path, record)) = found else { continue };
        let belongs = place(&record);
        if belongs != path {
            return Err(StorageError::damaged(&path, format!("it is the record of {belongs}")));
        }
        take(record);
    }
    Ok(())
}

/// Every record below `dir`, in no order; see [`read_each`].
pub(crate) async fn read_all<T: Persisted>(
    store: &Store,
    dir: &Path,
    place: impl Fn(&T) -> Path,
) -> Result<Vec<T>, StorageError> {
    let mut records = Vec::new();
    read_each(store, list(store, dir), place, |record| records.push(record)).await?;
    Ok(records)
}
