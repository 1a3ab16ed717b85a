//! What can go wrong with files of records, named by what the caller must do next.

use std::{io, sync::Arc};

use mapreduce_core::FailureKind;

use crate::Position;

/// Files that can't be found, read, written or published as asked.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The URL names nothing that this program can reach.
    #[error("{url:?} can't be used: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// The glob is none.
    #[error("{pattern:?} is no pattern of file names: {why}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such file, or the directory or pattern leads to none.
    #[error(
        "no file found for {pattern:?}: check the path; names that begin with '_' or '.' count only if spelled out"
    )]
    NoMatch {
        /// What was given.
        pattern: String,
    },
    /// A file that was there is gone.
    #[error("{url} is missing: it was moved or deleted; restore it, or submit the job again")]
    Missing {
        /// The file.
        url: String,
    },
    /// The operating system refuses to read it.
    #[error("{url} can't be read: {source}")]
    Unreadable {
        /// The file or directory.
        url: String,
        /// The system's words.
        source: io::Error,
    },
    /// The operating system refuses to write it.
    #[error("{url} can't be written: {source}")]
    Unwritable {
        /// The file or directory.
        url: String,
        /// The system's words.
        source: io::Error,
    },
    /// The file is not the one that was there when the job was submitted.
    #[error("{url} has changed since the job was submitted ({how}): restore it, or submit the job again")]
    Changed {
        /// The file.
        url: String,
        /// How it shows.
        how: String,
    },
    /// The stored bytes are not what a writer of this format or compression leaves. The position is in the
    /// stored file.
    #[error("{position}: damaged or cut short: {why}; restore the file")]
    Damaged {
        /// Where it was noticed.
        position: Position,
        /// How it shows.
        why: String,
    },
    /// Text that is not UTF-8.
    #[error("{position}: not UTF-8; have it replaced or read as bytes, or convert the file")]
    NotUtf8 {
        /// The first byte that is wrong.
        position: Position,
    },
    /// A record is not of the format.
    #[error("{position}{}: {why}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Malformed {
        /// Where it is.
        position: Position,
        /// Its line, from 1, where lines are counted: a reader that begins inside a file can't.
        line: Option<u64>,
        /// What is wrong with it.
        why: String,
    },
    /// A record longer than the limit. An unclosed quote and a wrong format look like this, too.
    #[error("{position}: a record is longer than {max} bytes: raise the limit, or check the format")]
    TooLong {
        /// Where the record begins.
        position: Position,
        /// The limit, in bytes.
        max: u32,
    },
    /// Files, format and ranges don't fit together.
    #[error("{url}: {why}")]
    Unsuitable {
        /// The file.
        url: String,
        /// What doesn't fit.
        why: String,
    },
    /// A record that can't be written in this format.
    #[error("record {record} of {url} can't be written: {why}")]
    Record {
        /// The file being written.
        url: String,
        /// Which record, from 0.
        record: u64,
        /// Why.
        why: String,
    },
    /// The output is there already.
    #[error("{url} exists and is not empty: choose another output, or ask for it to be overwritten")]
    OutputExists {
        /// The directory.
        url: String,
    },
}

impl FormatError {
    /// What an attempt that ends with this error failed of: the data, which counts against the task's budget,
    /// or the disk, which does not. A permission that is missing does not come by waiting.
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            FormatError::Unreadable { source, .. } | FormatError::Unwritable { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                FailureKind::BadData
            }
            FormatError::Unreadable { .. } | FormatError::Unwritable { .. } => FailureKind::Storage,
            _ => FailureKind::BadData,
        }
    }

    pub(crate) fn unreadable(url: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => FormatError::Missing { url: url.to_owned() },
            _ => FormatError::Unreadable { url: url.to_owned(), source },
        }
    }

    /// For errors of the disk that an output is written to.
    pub fn unwritable(url: &str, source: io::Error) -> Self {
        FormatError::Unwritable { url: url.to_owned(), source }
    }

    pub(crate) fn unsuitable(url: &str, why: impl Into<String>) -> Self {
        FormatError::Unsuitable { url: url.to_owned(), why: why.into() }
    }

    pub(crate) fn damaged(url: &Arc<str>, offset: u64, why: impl ToString) -> Self {
        FormatError::Damaged { position: Position { url: url.clone(), offset }, why: why.to_string() }
    }
}
