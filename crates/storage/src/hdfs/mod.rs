//! HDFS as a store: `hdfs://host:port/directory`.
//!
//! Objects are files below that directory, under the same names. The client is the crate `hdfs-native`, which speaks HDFS's
//! protocols itself and needs no Java. What the rest of the system asks of a store is kept like this:
//!
//! - An object appears whole, and for one of any number of contenders: [`draft`].
//! - Nothing is taken for done that may not be: [`failure`] tells what is certain from what is not, [`draft`] finds out.
//! - Files of writers that died are not listed, and go when the job does: [`place`], [`delete`].
//! - Silence ends: [`connection`] and [`io`] wait for everything for a time. Only speed depends on how long that is.
//!
//! A small object takes tens of milliseconds: the NameNode says that a file is closed when it has heard of it from a DataNode.
//! If it is asked before, the client asks again half a second later, so it is given a little time. Many can be closed at
//! one time.

mod connection;
mod delete;
mod draft;
mod failure;
mod get;
mod io;
mod list;
mod place;
mod put;
mod upload;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode, Result,
    path::Path,
};
use url::Url;

pub(crate) use self::delete::Directories;
use self::{connection::Connection, draft::Target, place::Place, upload::Upload};

/// What errors call it.
const STORE: &str = "HDFS";

/// Objects in a directory of an HDFS.
#[derive(Debug)]
pub(crate) struct Hdfs {
    connection: Arc<Connection>,
}

impl Hdfs {
    /// Nothing is sent before the first use. An error says what is wrong with the URL.
    pub(crate) fn open(url: &Url) -> Result<Self, String> {
        Ok(Hdfs { connection: Arc::new(Connection::new(Place::parse(url)?)) })
    }

    /// All of an HDFS, with everybody's files.
    pub(crate) fn open_any(url: &Url) -> Result<Self, String> {
        Ok(Hdfs { connection: Arc::new(Connection::new(Place::parse_any(url)?)) })
    }

    pub(crate) fn directories(&self) -> Directories {
        Directories::of(self.connection.clone())
    }
}

impl fmt::Display for Hdfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HDFS({})", self.connection.place.shown(&self.connection.place.root))
    }
}

/// HDFS has no versions to tell objects of one name apart.
fn made() -> PutResult {
    PutResult { e_tag: None, version: None, extensions: Default::default() }
}

fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: STORE.to_owned() }
}

#[async_trait]
impl ObjectStore for Hdfs {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if !options.attributes.is_empty() {
            return Err(not_implemented("put_opts with attributes"));
        }
        let target = match options.mode {
            PutMode::Create => Target::MustBeAbsent,
            PutMode::Overwrite => Target::MayBeThere,
            PutMode::Update(_) => return Err(not_implemented("put_opts with PutMode::Update")),
        };
        let (connection, file) = (self.connection.clone(), self.connection.place.file(path));
        let chunks: Vec<Bytes> = payload.into_iter().collect();
        io::run(async move {
            let done = put::put(connection.clone(), &file, &chunks, target).await;
            done.map(|()| made()).map_err(|failure| failure.about(&connection.place, &file))
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if !options.attributes.is_empty() {
            return Err(not_implemented("put_multipart_opts with attributes"));
        }
        let file = self.connection.place.file(path);
        Ok(Box::new(Upload::new(self.connection.clone(), file)?))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        io::run(get::get(self.connection.clone(), path.clone(), options)).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        delete::delete(self.connection.clone(), paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(self.connection.clone(), &prefix.cloned().unwrap_or_default())
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        io::run(list::list_with_delimiter(self.connection.clone(), prefix)).await
    }

    /// At once for everybody. After an unknown outcome it may still happen: repeating it does no harm.
    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let connection = self.connection.clone();
        let (from, to) = (connection.place.file(from), connection.place.file(to));
        let overwrite = options.target_mode == RenameTargetMode::Overwrite;
        io::run(async move {
            let renamed = connection.rename(&from, &to, overwrite).await;
            renamed.map_err(|failure| failure.about(&connection.place, &from))
        })
        .await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copy_opts"))
    }
}
