//! A local directory that nobody syncs: what is small is read and written on the thread that asks.
//!
//! [`LocalFileSystem`] hands all that it does to other threads and waits for their answer. Where there is no disk to wait
//! for, that takes longer than the work itself, and a small job does it a hundred times.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    local::LocalFileSystem, path::Path,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tokio::task::coop::consume_budget;

/// What is small: whatever else the thread serves waits meanwhile.
const SMALL_BYTES: u64 = 64 << 10;

/// The store, with the library for all that is not small, not plain, or fails, and for telling why.
#[derive(Debug)]
pub(crate) struct Unsynced(LocalFileSystem);

impl Unsynced {
    pub(crate) fn new(store: LocalFileSystem) -> Self {
        Unsynced(store.with_fsync(false))
    }
}

impl std::fmt::Display for Unsynced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Unsynced {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let is_plain = opts.attributes.is_empty() && !matches!(opts.mode, PutMode::Update(_));
        if is_plain && payload.content_length() as u64 <= SMALL_BYTES {
            // Many in a row must not keep everybody else waiting.
            consume_budget().await;
            let path = self.0.path_to_filesystem(location)?;
            if put(&path, &payload, opts.mode == PutMode::Create).is_ok() {
                return Ok(PutResult { e_tag: None, version: None, extensions: Default::default() });
            }
        }
        self.0.put_opts(location, payload, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        consume_budget().await;
        let path = self.0.path_to_filesystem(location)?;
        match get(&path, location, &options) {
            Ok(Some(read)) => Ok(read),
            Ok(None) | Err(_) => self.0.get_opts(location, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

/// Writes a file beside `path`, under a name that the library takes for one of its own, and moves it there.
fn put(path: &path::Path, payload: &PutPayload, is_create: bool) -> io::Result<()> {
    let (mut file, staged) = stage(path)?;
    let flags = if is_create { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
    let put = payload
        .iter()
        .try_for_each(|part| file.write_all(part))
        .and_then(|()| Ok(renameat_with(CWD, &staged, CWD, path, flags)?));
    if put.is_err() {
        let _ = fs::remove_file(&staged); // the error is what counts
    }
    put
}

fn stage(path: &path::Path) -> io::Result<(File, path::PathBuf)> {
    for n in 1.. {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{n}"));
        match File::create_new(&staged) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            created => return Ok((created?, staged.into())),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// What a plain request for a few bytes is answered. Whoever asks for none wants to know about the object, and what the
/// library knows is more.
fn get(path: &path::Path, location: &Path, options: &GetOptions) -> io::Result<Option<GetResult>> {
    let GetOptions {
        if_match,
        if_none_match,
        if_modified_since,
        if_unmodified_since,
        range,
        version,
        head,
        ..
    } = options;
    let is_plain = !head
        && (if_match, if_none_match, if_modified_since, if_unmodified_since, version)
            == (&None, &None, &None, &None, &None);
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let (size, last_modified) = (metadata.len(), metadata.modified()?.into());
    let range = range.as_ref().map_or(Ok(0..size), |range| range.as_range(size)).ok();
    let Some(range) =
        range.filter(|range| range.end - range.start <= SMALL_BYTES && is_plain && metadata.is_file())
    else {
        return Ok(None);
    };
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    let bytes = stream::once(async { Ok(Bytes::from(bytes)) });
    let location = location.clone();
    Ok(Some(GetResult {
        payload: GetResultPayload::Stream(bytes.boxed()),
        meta: ObjectMeta { location, last_modified, size, e_tag: None, version: None },
        range,
        attributes: Default::default(),
        extensions: Default::default(),
    }))
}

#[cfg(test)]
mod tests {
    use object_store::{Error, ObjectStoreExt};
    use tempfile::TempDir;

    use super::*;

    fn store() -> (TempDir, Unsynced) {
        let directory = tempfile::tempdir().unwrap();
        let store = Unsynced::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
        (directory, store)
    }

    #[tokio::test]
    async fn small_objects_and_large_ones_are_of_one_store() {
        let (_directory, store) = store();
        for length in [0, 1, SMALL_BYTES as usize, SMALL_BYTES as usize + 1] {
            let path = Path::from(format!("dir/{length}"));
            let content = Bytes::from(vec![7; length]);
            store.put_opts(&path, content.clone().into(), PutMode::Create.into()).await.unwrap();
            let again = store.put_opts(&path, "other".into(), PutMode::Create.into()).await;
            assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
            assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), content);
            assert_eq!(store.head(&path).await.unwrap().size, length as u64);
            if length > 1 {
                assert_eq!(store.get_range(&path, 1..length as u64).await.unwrap(), content.slice(1..));
                let beyond = store.get_range(&path, length as u64..length as u64 + 1).await;
                assert!(beyond.is_err(), "{beyond:?}");
            }
            store.put(&path, "other".into()).await.unwrap();
            assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "other");
        }
        // The first makes the directory.
        for (n, name) in ["dir", "dir/absent", "absent"].into_iter().enumerate() {
            let (read, head) = (store.get(&Path::from(name)).await, store.head(&Path::from(name)).await);
            assert!(matches!(read, Err(Error::NotFound { .. })) || n == 0 && read.is_err(), "{read:?}");
            assert!(matches!(head, Err(Error::NotFound { .. })) || n == 0 && head.is_err(), "{head:?}");
        }
    }

    #[tokio::test]
    async fn what_a_dead_writer_left_is_in_nobodys_way() {
        let (directory, store) = store();
        for n in 1..3 {
            fs::write(directory.path().join(format!("object#{n}")), "unfinished").unwrap();
        }
        let path = Path::from("object");
        assert!(store.get(&path).await.is_err());
        store.put_opts(&path, "whole".into(), PutMode::Create.into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "whole");
        let listed: Vec<_> = store.list(None).map(|object| object.unwrap().location).collect().await;
        assert_eq!(listed, [path]);
    }
}
