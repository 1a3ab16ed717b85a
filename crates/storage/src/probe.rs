//! Whether a store keeps the rules that the protocol stands on. Some that look like S3 don't.

use bytes::Bytes;
use futures::{TryStreamExt, future::join_all};
use object_store::{ObjectStore, PutMode, path::Path};

use crate::{
    StorageError, Store,
    garbage::{delete_dir, delete_object},
    paths, read_bytes,
};

/// How many want to create one object at one time.
const CONTENDERS: usize = 64;

/// Tries on an object of its own, `probe/<random>`, whether exactly one of 64 contenders creates an object, whether that
/// one's bytes are then there, whoever reads or lists, and whether what was deleted is gone. A store that fails is refused
/// by [`StorageError::Lawless`].
///
/// One at a time may do this: at its end it deletes all of `probe/`, so that what a probe left that was cut short goes with
/// the next one.
pub async fn probe(store: &Store) -> Result<(), StorageError> {
    let random = getrandom::u64().map_err(|error| {
        let source = Box::new(std::io::Error::other(error));
        StorageError::of(&paths::probe_dir(), object_store::Error::Generic { store: "probe", source })
    })?;
    let path = paths::probe(random);
    let kept = contend(store, &path).await;
    let deleted = delete_dir(store, &paths::probe_dir(), &path).await;
    // From a store that does not list it, too.
    let deleted = deleted.and(delete_object(store, &path).await);
    kept?;
    deleted?;
    match read_bytes(store, &path).await? {
        None => Ok(()),
        Some(_) => Err(lawless(&path, "what was deleted is still there".to_owned())),
    }
}

async fn contend(store: &Store, path: &Path) -> Result<(), StorageError> {
    let create = async |n: usize| {
        let bytes = Bytes::from(n.to_string());
        match store.put_opts(path, bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            // Even a bucket that is not there is no missing object.
            Err(source @ object_store::Error::NotFound { .. }) => {
                Err(StorageError::Unavailable { path: path.to_string(), source })
            }
            Err(error) => Err(StorageError::of(path, error)),
        }
    };
    let outcomes = join_all((0..CONTENDERS).map(create)).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let winners: Vec<usize> = (0..CONTENDERS).filter(|n| outcomes[*n]).collect();
    let [winner] = winners[..] else {
        let said = format!("{} of {CONTENDERS} contenders were told that they created it", winners.len());
        return Err(lawless(path, said));
    };
    match read_bytes(store, path).await? {
        Some(found) if found == winner.to_string() => {}
        found => return Err(lawless(path, format!("what was created reads back as {found:?}"))),
    }
    let listed: Vec<_> = store
        .list(Some(&paths::probe_dir()))
        .try_collect()
        .await
        .map_err(|error| StorageError::of(path, error))?;
    match listed.iter().any(|object| object.location == *path) {
        true => Ok(()),
        false => Err(lawless(path, "it was created and is not listed".to_owned())),
    }
}

fn lawless(path: &Path, why: String) -> StorageError {
    StorageError::Lawless { path: path.to_string(), why }
}
