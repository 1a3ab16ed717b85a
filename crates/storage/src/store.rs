//! From a URL to a store.

use std::{fs, io, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory};
use url::Url;

use crate::StorageError;

/// An object store, shared.
pub type Store = Arc<dyn ObjectStore>;

/// Opens the store that `url` names: `file:///absolute/directory`, made with mode 0700 if absent, or
/// `memory:///`, which is new and empty at every call and ends with its last handle.
pub fn open(url: &str) -> Result<Store, StorageError> {
    let wrong = |why: String| StorageError::Url { url: url.to_owned(), why };
    let parsed = Url::parse(url)
        .map_err(|error| wrong(format!("{error}; give file:///absolute/directory or memory:///")))?;
    match parsed.scheme() {
        "memory" => Ok(Arc::new(InMemory::new())),
        "file" => {
            let directory =
                parsed.to_file_path().map_err(|()| wrong("it names no local directory".to_owned()))?;
            create_durably(&directory).map_err(|error| wrong(format!("{}: {error}", directory.display())))?;
            let store = LocalFileSystem::new_with_prefix(&directory).map_err(|e| wrong(e.to_string()))?;
            Ok(Arc::new(store.with_fsync(true)))
        }
        scheme => {
            Err(wrong(format!("{scheme} is not supported; give file:///absolute/directory or memory:///")))
        }
    }
}

/// Makes `directory` and its missing parents, and syncs every directory that got a new entry, as the store
/// does below it.
fn create_durably(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let existing = directory.ancestors().find(|ancestor| ancestor.is_dir());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for parent in directory.ancestors().skip(1) {
        fs::File::open(parent)?.sync_all()?;
        if Some(parent) == existing {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_absent_directory_is_made_for_its_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("a b/#1/storage");
        let url = Url::from_file_path(&directory).unwrap();
        open(url.as_str()).unwrap();
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        open(url.as_str()).unwrap();
    }

    #[test]
    fn a_url_that_is_no_store_says_what_would_be() {
        for url in ["s3://bucket/x", "storage", "file://elsewhere/x", "/tmp"] {
            let error = open(url).unwrap_err().to_string();
            assert!(error.contains(url), "{error}");
        }
        assert!(open("s3://bucket/x").unwrap_err().to_string().contains("file:///absolute/directory"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let url = Url::from_file_path(file.path()).unwrap();
        assert!(matches!(open(url.as_str()), Err(StorageError::Url { .. })));
    }
}
