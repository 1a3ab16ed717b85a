//! Between what users write, URLs, which name files everywhere, and where that is.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::{Component, Path, PathBuf},
    time::UNIX_EPOCH,
};

use mapreduce_storage::{Elsewhere, StorageError};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::{FormatError, remote::Remote};

/// Where a file, a directory, or the files that a pattern means are.
pub(crate) enum Location {
    /// Absolute and without `..`.
    Local(PathBuf),
    Remote(Remote),
}

impl Location {
    /// What `text` names: a path, a `file://` URL, or one of a store. It may be a glob, for which `url::Url` would be
    /// wrong: a `?` is no query here.
    pub(crate) fn parse(text: &str) -> Result<Location, FormatError> {
        Location::parse_with(text, Elsewhere::open)
    }

    /// The same, with stores that may have been opened before.
    pub(crate) fn parse_with(
        text: &str,
        open: impl FnOnce(&str) -> Result<Elsewhere, StorageError>,
    ) -> Result<Location, FormatError> {
        let wrong = |why: String| FormatError::Url { url: text.to_owned(), why };
        let path = match text.split_once("://") {
            Some(("file", rest)) => {
                let rest = rest.strip_prefix("localhost").unwrap_or(rest);
                if !rest.starts_with('/') {
                    return Err(wrong("it names another host; give file:///absolute/path".to_owned()));
                }
                PathBuf::from(OsString::from_vec(percent_decode_str(rest).collect()))
            }
            Some(("s3" | "gs" | "az" | "hdfs", _)) => return Remote::parse(text, open).map(Location::Remote),
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return Err(wrong(format!(
                    "{scheme}:// is not supported; give a path, file:///absolute/path, hdfs://host:port/path, or s3://, \
                     gs:// or az://bucket/path"
                )));
            }
            _ => PathBuf::from(text),
        };
        let absolute = std::path::absolute(&path).map_err(|error| wrong(error.to_string()))?;
        without_parents(&absolute)
            .map(Location::Local)
            .map_err(|source| FormatError::unreadable(text, source))
    }
}

/// `text`, a path or a URL, as it can be used in other directories, too.
pub fn absolute(text: &str) -> Result<String, FormatError> {
    match Location::parse(text)? {
        Location::Local(path) => Ok(path.display().to_string()),
        Location::Remote(_) => Ok(text.to_owned()),
    }
}

/// `path` without `..`, which behind a link means another directory than the text lets expect.
fn without_parents(path: &Path) -> io::Result<PathBuf> {
    let components: Vec<Component<'_>> = path.components().collect();
    match components.iter().rposition(|component| *component == Component::ParentDir) {
        None => Ok(path.to_owned()),
        Some(last) => {
            let (head, tail) = components.split_at(last + 1);
            Ok(head.iter().collect::<PathBuf>().canonicalize()?.join(tail.iter().collect::<PathBuf>()))
        }
    }
}

/// The URL of an absolute path.
pub(crate) fn url_of(path: &Path) -> Result<String, FormatError> {
    let wrong =
        || FormatError::Url { url: path.display().to_string(), why: "it is no absolute path".to_owned() };
    Ok(Url::from_file_path(path).map_err(|()| wrong())?.into())
}

/// When a file was last written, in milliseconds since 1970; 0 if before.
pub(crate) fn modified_ms(metadata: &std::fs::Metadata) -> io::Result<u64> {
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local_path(text: &str) -> Result<PathBuf, FormatError> {
        match Location::parse(text)? {
            Location::Local(path) => Ok(path),
            Location::Remote(_) => panic!("{text} is not local"),
        }
    }

    #[test]
    fn paths_and_urls_name_the_same_files() {
        for name in ["a", "a b", "ä#1?.txt", "100%", "[x]{y,z}*"] {
            let path = Path::new("/data").join(name);
            assert_eq!(local_path(&url_of(&path).unwrap()).unwrap(), path);
            assert_eq!(local_path(path.to_str().unwrap()).unwrap(), path);
        }
        assert_eq!(local_path("file:///a/*?").unwrap(), Path::new("/a/*?"));
        assert_eq!(local_path("x").unwrap(), std::env::current_dir().unwrap().join("x"));
    }

    #[test]
    fn other_schemes_and_hosts_say_so() {
        for url in ["ftp://node/x", "https://node/x", "file://elsewhere/x"] {
            let error = local_path(url).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains("file:///absolute/path"), "{error}");
        }
    }

    #[test]
    fn parents_are_those_of_the_directory_not_of_the_text() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink(root.join("a/b"), root.join("link")).unwrap();
        let path = local_path(root.join("link/../*.txt").to_str().unwrap()).unwrap();
        assert_eq!(path, root.join("a/*.txt"));
    }
}
