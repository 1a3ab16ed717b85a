//! Between URLs, which name files everywhere, and local paths.

use std::{
    ffi::OsString,
    io,
    os::unix::ffi::OsStringExt,
    path::{Component, Path, PathBuf},
    time::UNIX_EPOCH,
};

use percent_encoding::percent_decode_str;
use url::Url;

use crate::FormatError;

/// The local path that `text`, a path or a `file://` URL, names. It is absolute and without `..`. `text` may be
/// a glob, for which `url::Url` would be wrong: a `?` is no query here.
pub(crate) fn local_path(text: &str) -> Result<PathBuf, FormatError> {
    let wrong = |why: String| FormatError::Url { url: text.to_owned(), why };
    let path = match text.split_once("://") {
        Some(("file", rest)) => {
            let rest = rest.strip_prefix("localhost").unwrap_or(rest);
            if !rest.starts_with('/') {
                return Err(wrong("it names another host; give file:///absolute/path".to_owned()));
            }
            PathBuf::from(OsString::from_vec(percent_decode_str(rest).collect()))
        }
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            return Err(wrong(format!(
                "{scheme}:// is not supported yet; give a path or file:///absolute/path"
            )));
        }
        _ => PathBuf::from(text),
    };
    let absolute = std::path::absolute(&path).map_err(|error| wrong(error.to_string()))?;
    without_parents(&absolute).map_err(|source| FormatError::unreadable(text, source))
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
        for url in ["s3://bucket/key", "hdfs://node/x", "file://elsewhere/x"] {
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
