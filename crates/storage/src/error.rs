//! What can go wrong with storage, named by what the caller must do next.

use std::{error::Error, io};

use mapreduce_core::FailureKind;
use object_store::path::Path;

use crate::FileRef;

/// A store that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The URL names no store that this program can use.
    #[error("{url:?} can't be used as storage: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// There is no such object.
    #[error("{path} is not in storage: it was deleted or never written")]
    NotFound {
        /// The object.
        path: String,
    },
    /// There is such an object already.
    #[error("{path} is in storage already: read it and decide")]
    AlreadyExists {
        /// The object.
        path: String,
    },
    /// The object is there and is not what was written. Reading it again does not help.
    #[error("{path} is damaged: {why}; restore it, or run the job again")]
    Damaged {
        /// The object.
        path: String,
        /// How it shows.
        why: String,
    },
    /// There is no room.
    #[error("storage is full, {path} was not written: free some space and try again")]
    Full {
        /// The object that found no room.
        path: String,
        /// The store's words.
        source: object_store::Error,
    },
    /// What was just written reads back differently: a failing disk, or somebody else writes there.
    #[error(
        "{path} reads back with length {} and crc32c {:08x}, but was written with {} and {:08x}: check the disk",
        found.length, found.crc32c, wrote.length, wrote.crc32c
    )]
    Mismatch {
        /// The object.
        path: String,
        /// What was written.
        wrote: Box<FileRef>,
        /// What was read.
        found: Box<FileRef>,
    },
    /// The store does not do what the protocol needs of it, so that results could be lost or mixed up.
    #[error(
        "storage does not keep the rules ({why}, {path}): use one that creates objects exclusively and shows at once what \
         was written"
    )]
    Lawless {
        /// The object that was tried.
        path: String,
        /// What it did.
        why: String,
    },
    /// The store can't be reached or used. A write may or may not have taken effect.
    #[error("storage can't be used for {path}: {}; {} and try again", with_root(source), remedy(source))]
    Unavailable {
        /// The object or directory.
        path: String,
        /// The store's words.
        source: object_store::Error,
    },
}

impl StorageError {
    /// What an attempt that ends with this error failed of: the data, which counts against the task's budget,
    /// or the store, which does not.
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            StorageError::NotFound { .. } | StorageError::Damaged { .. } => FailureKind::BadData,
            _ => FailureKind::Storage,
        }
    }

    pub(crate) fn damaged(path: &Path, why: impl ToString) -> Self {
        StorageError::Damaged { path: path.to_string(), why: why.to_string() }
    }

    /// What `source`, which the store said about `path`, means for the caller.
    pub(crate) fn of(path: &Path, source: object_store::Error) -> Self {
        let path = path.to_string();
        match source {
            object_store::Error::NotFound { .. } => StorageError::NotFound { path },
            object_store::Error::AlreadyExists { .. } => StorageError::AlreadyExists { path },
            source if is_full(&source) => StorageError::Full { path, source },
            source => StorageError::Unavailable { path, source },
        }
    }
}

/// Where Amazon's own machines ask for keys if they have been told none.
const AMAZONS_MACHINES: &str = "//169.254.169.254/";

/// An error with what was at the root of it, which clients of remote stores don't say on their own.
pub fn with_root(error: &object_store::Error) -> String {
    let said = error.to_string();
    let mut root: &(dyn Error + 'static) = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    let root = root.to_string();
    let said = if said.contains(&root) { said } else { format!("{said}: {root}") };
    match said.contains(AMAZONS_MACHINES) {
        true => format!(
            "no key is set, and this machine is given none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
                         or end the URL with ?auth=/absolute/file ({said})"
        ),
        false => said,
    }
}

/// What to look at.
fn remedy(error: &object_store::Error) -> &'static str {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    match error {
        PermissionDenied { .. } | Unauthenticated { .. } => {
            "check the key or the user that it was opened with"
        }
        _ => "check the store",
    }
}

/// Whether an error of the operating system that says so is among the causes.
pub fn is_full(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: io::Error) -> object_store::Error {
        object_store::Error::Generic { store: "test", source: Box::new(source) }
    }

    #[test]
    fn a_full_disk_is_told_from_other_trouble() {
        let path = Path::from("jobs/job_1/spec");
        let full = StorageError::of(&path, generic(io::Error::from_raw_os_error(28)));
        assert!(matches!(full, StorageError::Full { .. }), "{full}");
        let broken = StorageError::of(&path, generic(io::Error::from_raw_os_error(5)));
        assert!(matches!(broken, StorageError::Unavailable { .. }), "{broken}");
        assert!(broken.to_string().contains("jobs/job_1/spec"));
    }
}
