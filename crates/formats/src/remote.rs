//! Files in stores: HDFS and buckets, through [`object_store`].

use std::io;

use mapreduce_storage::{Elsewhere, StorageError, background, is_full, with_root};
use object_store::{
    Error, ListResult, ObjectStore, ObjectStoreExt,
    path::{Path, PathPart},
};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::FormatError;

/// What has a meaning in a URL.
const RESERVED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#').add(b'"').add(b'<').add(b'>');

/// A place in a store: of a file, a directory, or a pattern of names.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) files: Elsewhere,
    /// A pattern may have names in it that no file can have.
    pub(crate) path: Path,
    /// Such as `s3://bucket`.
    origin: String,
    /// How the store is reached, such as `?endpoint=https://host`; empty if nothing is said.
    options: String,
}

impl Remote {
    /// What `text`, a URL with a scheme of a store, names. Behind the last `?` is an option if it looks like one.
    pub(crate) fn parse(
        text: &str,
        open: impl FnOnce(&str) -> Result<Elsewhere, StorageError>,
    ) -> Result<Remote, FormatError> {
        let (place, options) = split_options(text);
        let wrong = |why: String| FormatError::Url { url: place.to_owned(), why };
        let start = place.find("://").map_or(0, |scheme| scheme + "://".len());
        let (origin, path) =
            place.split_at(place[start..].find('/').map_or(place.len(), |host| start + host));
        let path = percent_decode_str(path).decode_utf8().map_err(|error| wrong(error.to_string()))?;
        let path = Path::parse(path.trim_end_matches('/')).map_err(|error| wrong(error.to_string()))?;
        let files = open(&format!("{origin}{options}")).map_err(|error| match error {
            StorageError::Url { why, .. } => wrong(why),
            other => wrong(other.to_string()),
        })?;
        Ok(Remote { files, path, origin: origin.to_owned(), options: options.to_owned() })
    }

    /// A place in a test's bucket.
    #[cfg(test)]
    pub(crate) fn of(store: mapreduce_storage::Store, path: &str) -> Remote {
        let (origin, options) = ("s3://test".to_owned(), String::new());
        Remote { files: store.into(), path: Path::from(path), origin, options }
    }

    /// Another place in the same store.
    pub(crate) fn at(&self, path: Path) -> Remote {
        Remote { path, ..self.clone() }
    }

    /// A place below this one, of a name of ours or of a listing: as it is, if it can be.
    pub(crate) fn below(&self, name: &str) -> Remote {
        let part = |name| PathPart::parse(name).unwrap_or_else(|_| PathPart::from(name));
        self.at(name.split('/').fold(self.path.clone(), |path, name| path.join(part(name))))
    }

    /// By which the file can be found again.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.shown(), self.options)
    }

    /// As a person would name it.
    pub(crate) fn shown(&self) -> String {
        format!("{}/{}", self.origin, utf8_percent_encode(self.path.as_ref(), RESERVED))
    }

    /// What is directly in the directory.
    pub(crate) async fn entries(&self) -> object_store::Result<ListResult> {
        let store = &self.files.store;
        let listed = store.list_with_delimiter(Some(&self.path)).await;
        let Err(error) = listed else { return listed };
        if !error.to_string().contains("403") {
            return Err(error);
        }
        // The answer says why, but not that it is for good; the answer to a look at a file says the opposite.
        match store.head(&self.path.clone().join("_")).await {
            Err(Error::PermissionDenied { path, .. } | Error::Unauthenticated { path, .. }) => {
                Err(Error::PermissionDenied { path, source: error.into() })
            }
            _ => Err(error),
        }
    }

    pub(crate) fn unreadable(&self, error: Error) -> FormatError {
        FormatError::unreadable(&self.shown(), said(error))
    }

    pub(crate) fn unwritable(&self, error: Error) -> FormatError {
        FormatError::unwritable(&self.shown(), said(error))
    }
}

/// `text` and the options at its end.
fn split_options(text: &str) -> (&str, &str) {
    let is_option = |tail: &str| {
        tail.split_once('=')
            .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()))
    };
    match text.rfind('?') {
        Some(at) if is_option(&text[at + 1..]) => text.split_at(at),
        _ => (text, ""),
    }
}

/// A path or URL without what says how its store is reached.
pub(crate) fn without_options(text: &str) -> &str {
    match text.contains("://") && !text.starts_with("file:") {
        true => split_options(text).0,
        false => text,
    }
}

/// What a store says, as an operating system would: what it is decides whether it may pass.
pub(crate) fn said(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        Error::InvalidPath { .. } => io::ErrorKind::InvalidFilename,
        Error::NotSupported { .. } | Error::NotImplemented { .. } | Error::UnknownConfigurationKey { .. } => {
            io::ErrorKind::Unsupported
        }
        error if is_full(error) => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::NotConnected,
    };
    io::Error::new(kind, with_root(&error))
}

/// Waits for what a store does, on a thread that may wait.
pub(crate) fn wait<T>(work: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    background::handle()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Remote, FormatError> {
        Remote::parse(text, Elsewhere::open)
    }

    #[test]
    fn a_url_names_a_store_and_a_file_and_is_found_again() {
        let text = "s3://bucket/a%20b/*?.txt?endpoint=https://host:1&auth=/nowhere";
        let (place, options) = split_options(text);
        assert_eq!((place, options), ("s3://bucket/a%20b/*?.txt", "?endpoint=https://host:1&auth=/nowhere"));
        assert_eq!(split_options("hdfs://n:1/a/?/b"), ("hdfs://n:1/a/?/b", ""));
        assert_eq!(split_options("hdfs://n:1/a?"), ("hdfs://n:1/a?", ""));

        let remote = parse("hdfs://node-1:8020/a%20b/*?.txt/").unwrap();
        assert_eq!((remote.path.as_ref(), &*remote.origin), ("a b/*?.txt", "hdfs://node-1:8020"));
        for name in ["ä#1?.txt", "100%", "a=b", "x?endpoint=y"] {
            let file = remote.below(name);
            let again = parse(&file.url()).unwrap();
            assert_eq!((again.path, again.origin), (file.path, file.origin), "{name}");
        }
        assert_eq!(parse("hdfs://n:1").unwrap().path, Path::default());
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_its_options() {
        for (url, why) in [
            ("s3:///x", "no bucket"),
            ("s3://bucket/x?colour=red", "?colour=red is no option"),
            ("s3://bucket/x?endpoint=https://192.0.2.1", "set AWS_ACCESS_KEY_ID"),
            ("hdfs://node/x", "no port"),
            ("hdfs://node:1/a//b", "empty path segment"),
            ("hdfs://node:1/%ff", "utf-8"),
        ] {
            let Err(error) = parse(url) else { panic!("{url} was taken") };
            let said = error.to_string();
            assert!(
                said.contains(why) && said.contains(&format!("{:?} can't be used", split_options(url).0)),
                "{said}"
            );
        }
    }
}
