//! What can go wrong with files of records, named by what the caller must do next.

use std::{io, sync::Arc};

use mapreduce_core::FailureKind;
use mapreduce_storage::StorageError;
use rustix::io::Errno;

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
    /// What was written reads back differently.
    #[error(transparent)]
    ReadBack(#[from] StorageError),
    /// The output is there already.
    #[error("{url} exists and is not empty: choose another output, or ask for it to be overwritten")]
    OutputExists {
        /// The directory.
        url: String,
    },
}

impl FormatError {
    /// What an attempt that ends with this error failed of: the data, or what the job was told about it, which
    /// counts against the task's budget; or the disk, which does not.
    pub fn failure_kind(&self) -> FailureKind {
        match self {
            FormatError::Unreadable { source, .. } | FormatError::Unwritable { source, .. }
                if is_trouble(source) =>
            {
                FailureKind::Storage
            }
            FormatError::ReadBack(error) => error.failure_kind(),
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

/// Whether the disk is in trouble, such as being full, which passes. Else the path is the wrong one, or whoever runs
/// the tasks may not use it, or it was no call of the system that failed.
fn is_trouble(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, InvalidData, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
        Other, PermissionDenied, ReadOnlyFilesystem, Unsupported,
    };
    match Errno::from_io_error(error) {
        Some(errno) => passes(errno),
        // A library's words, or what it makes of a network's or a system's error.
        None => !matches!(
            error.kind(),
            AlreadyExists
                | InvalidData
                | InvalidFilename
                | InvalidInput
                | IsADirectory
                | NotADirectory
                | NotFound
                | Other
                | PermissionDenied
                | ReadOnlyFilesystem
                | Unsupported
        ),
    }
}

/// Only what is listed here does: a job whose tasks fail of trouble is repeated without end.
fn passes(errno: Errno) -> bool {
    matches!(
        errno,
        // No room, no memory, no handles.
        Errno::NOSPC | Errno::DQUOT | Errno::NOMEM | Errno::NOBUFS | Errno::MFILE | Errno::NFILE | Errno::NOLCK
            // The device.
            | Errno::IO | Errno::REMOTEIO | Errno::UCLEAN | Errno::NODEV | Errno::NXIO
            // Something else is in the way.
            | Errno::AGAIN | Errno::BUSY | Errno::DEADLK | Errno::INTR
            // A file system of the network.
            | Errno::STALE | Errno::TIMEDOUT | Errno::NETDOWN | Errno::NETUNREACH | Errno::NETRESET
            | Errno::HOSTDOWN | Errno::HOSTUNREACH | Errno::CONNABORTED | Errno::CONNREFUSED | Errno::CONNRESET
            | Errno::NOTCONN | Errno::SHUTDOWN | Errno::PIPE | Errno::PROTO | Errno::COMM
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_in_trouble_is_not_the_fault_of_the_task_and_a_wrong_path_is() {
        let kind = |code| FormatError::unwritable("/out", io::Error::from_raw_os_error(code)).failure_kind();
        for (name, code) in [
            ("ENOSPC", 28),
            ("EDQUOT", 122),
            ("EIO", 5),
            ("ESTALE", 116),
            ("ENOMEM", 12),
            ("EMFILE", 24),
            ("ENFILE", 23),
            ("EAGAIN", 11),
            ("ETIMEDOUT", 110),
            ("ENOTCONN", 107),
        ] {
            assert_eq!(kind(code), FailureKind::Storage, "{name}");
        }
        for (name, code) in [
            ("EACCES", 13),
            ("EPERM", 1),
            ("EROFS", 30),
            ("ENOTDIR", 20),
            ("ENAMETOOLONG", 36),
            ("ELOOP", 40),
            ("EFBIG", 27),
            ("EMLINK", 31),
            ("EXDEV", 18),
            ("ENOTEMPTY", 39),
            ("ETXTBSY", 26),
        ] {
            assert_eq!(kind(code), FailureKind::BadData, "{name}");
        }
        let no_call = FormatError::unwritable("/out", io::Error::other("the library objects"));
        assert_eq!(no_call.failure_kind(), FailureKind::BadData);
        let far_away =
            FormatError::unwritable("/out", io::Error::new(io::ErrorKind::ConnectionReset, "lost"));
        assert_eq!(far_away.failure_kind(), FailureKind::Storage);
    }
}
