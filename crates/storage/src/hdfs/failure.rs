//! What HDFS says when something goes wrong, named by what it means for what was asked.

use std::io;

use hdfs_native::HdfsError;
use object_store::Error;

use super::{STORE, place::Place};

/// How a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no such file.
    #[error("there is no such file")]
    Absent,
    /// There is such a file already.
    #[error("there is such a file already")]
    Exists,
    /// The quota is used up. It has had no effect.
    #[error("{0}")]
    Full(String),
    /// DataNodes run, and none takes a block. They are full, or too busy, or have just started. It has had no effect.
    #[error("{0}")]
    NoRoom(String),
    /// The user may not do that.
    #[error("{0}; check who owns the directory, and HADOOP_USER_NAME")]
    Forbidden(String),
    /// It was refused for good. It has had no effect.
    #[error("{0}")]
    Refused(String),
    /// Not now. It has had no effect.
    #[error("{0}")]
    NotNow(String),
    /// DataNodes did not take or give data. No name has changed.
    #[error("{0}")]
    Data(String),
    /// Nobody knows what became of it.
    #[error("{0}")]
    Unknown(String),
}

/// What the NameNode says while it starts, or when another one is active.
const NOT_NOW: [&str; 4] =
    ["SafeModeException", "RetriableException", "StandbyException", "NotReplicatedYetException"];

impl Failure {
    /// Whether it may go better a little later. Trouble on the way to a DataNode does: the next file goes to others.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Failure::NotNow(_) | Failure::NoRoom(_) | Failure::Data(_) | Failure::Unknown(_))
    }

    /// Whether it may be asked for again although twice would be wrong.
    pub(super) fn had_no_effect(&self) -> bool {
        matches!(self, Failure::NotNow(_))
    }

    /// What is handed on, about `file`.
    pub(super) fn about(self, place: &Place, file: &str) -> Error {
        let path = place.shown(file);
        let said = |why: String| format!("{path}: {why}");
        match self {
            Failure::Absent => Error::NotFound { source: self.into(), path },
            Failure::Exists => Error::AlreadyExists { source: self.into(), path },
            Failure::Forbidden(_) => Error::PermissionDenied { source: self.into(), path },
            // Who asks whether storage is full looks for the operating system's word for it.
            Failure::Full(why) | Failure::NoRoom(why) => {
                generic(io::Error::new(io::ErrorKind::StorageFull, said(format!("{why}; free some space"))))
            }
            Failure::Refused(why) => generic(said(why)),
            Failure::Data(why) => generic(said(format!("{why}; check HDFS's DataNodes"))),
            Failure::NotNow(why) | Failure::Unknown(why) => {
                let namenode = &place.namenode;
                generic(said(format!(
                    "{why}; check that {namenode} is the NameNode's RPC address, and that it runs"
                )))
            }
        }
    }
}

pub(super) fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic { store: STORE, source: source.into() }
}

impl From<HdfsError> for Failure {
    fn from(error: HdfsError) -> Self {
        match error {
            HdfsError::FileNotFound(_) | HdfsError::IsADirectoryError(_) => Failure::Absent,
            HdfsError::AlreadyExists(_) => Failure::Exists,
            HdfsError::RPCError(exception, message) => of_exception(&exception, &message),
            HdfsError::IOError(error) if was_never_sent(&error) => Failure::NotNow(error.to_string()),
            HdfsError::DataTransferError(_) | HdfsError::ChecksumError | HdfsError::BlocksNotFound(_) => {
                Failure::Data(error.to_string())
            }
            HdfsError::IOError(_)
            | HdfsError::OperationFailed(_)
            | HdfsError::InternalError(_)
            | HdfsError::InvalidRPCResponse(_)
            | HdfsError::FatalRPCError(..) => Failure::Unknown(error.to_string()),
            _ => Failure::Refused(error.to_string()),
        }
    }
}

/// Whether there was nobody to send it to. What goes wrong with a connection that was there is told as aborted.
fn was_never_sent(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable)
}

/// The NameNode's answer: it has done nothing.
fn of_exception(exception: &str, message: &str) -> Failure {
    let name = exception.rsplit('.').next().unwrap_or(exception);
    // What follows is a stack of calls.
    let message = message.lines().next().unwrap_or_default();
    let said = format!("the NameNode says {name}: {message}");
    match name {
        "FileNotFoundException" | "PathIsNotEmptyDirectoryException" => Failure::Absent,
        "FileAlreadyExistsException" => Failure::Exists,
        "AccessControlException" | "AuthorizationException" => Failure::Forbidden(said),
        _ if name.contains("QuotaExceeded") => Failure::Full(said),
        _ if finds_no_room(message) => Failure::NoRoom(said),
        // With no DataNode running it is not full, it is starting.
        _ if NOT_NOW.contains(&name) || message.contains("could only be") => Failure::NotNow(said),
        _ => Failure::Refused(said),
    }
}

/// Whether DataNodes run, and none has room: "File /x could only be replicated to 0 nodes instead of minReplication
/// (=1).  There are 2 datanode(s) running and no node(s) are excluded in this operation." and, from 3.0 on, "could only be
/// written to 0 of the 1 minReplication nodes. There are 2 datanode(s) running and 2 node(s) are excluded".
fn finds_no_room(message: &str) -> bool {
    let is_none =
        message.contains("could only be replicated to 0") || message.contains("could only be written to 0");
    let running =
        message.split("There are ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    is_none && running.is_some_and(|running| running > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StorageError;

    fn rpc(exception: &str, message: &str) -> Failure {
        HdfsError::RPCError(exception.into(), message.into()).into()
    }

    fn storage_error(failure: Failure) -> StorageError {
        let place = Place { namenode: "hdfs://n:1".into(), root: "/data".into(), is_ours: true };
        StorageError::of(&object_store::path::Path::from("a"), failure.about(&place, "/data/a"))
    }

    #[test]
    fn no_room_is_told_from_no_datanodes() {
        let message = |n| {
            format!(
                "File /a could only be replicated to 0 nodes instead of minReplication (=1).  There are {n} \
                 datanode(s) running and no node(s) are excluded in this operation.\n\tat org.apache.hadoop"
            )
        };
        let no_room = rpc("java.io.IOException", &message(2));
        assert!(no_room.may_pass());
        let full = storage_error(no_room);
        assert!(matches!(full, StorageError::Full { .. }), "{full}");
        let newer = "File /a could only be written to 0 of the 1 minReplication nodes. There are 12 datanode(s) running \
                     and 12 node(s) are excluded in this operation.";
        assert!(matches!(rpc("java.io.IOException", newer), Failure::NoRoom(_)));
        let quota =
            rpc("org.apache.hadoop.hdfs.protocol.DSQuotaExceededException", "The DiskSpace quota of /a");
        assert!(!quota.may_pass());
        assert!(matches!(storage_error(quota), StorageError::Full { .. }));
        let starting = rpc("java.io.IOException", &message(0));
        assert!(starting.may_pass());
        assert!(matches!(storage_error(starting), StorageError::Unavailable { .. }));
    }

    #[test]
    fn answers_are_certain_and_lost_connections_are_not() {
        assert!(matches!(
            rpc("org.apache.hadoop.hdfs.server.namenode.SafeModeException", "x"),
            Failure::NotNow(_)
        ));
        assert!(matches!(rpc("org.apache.hadoop.fs.FileAlreadyExistsException", "x"), Failure::Exists));
        assert!(matches!(rpc("java.io.FileNotFoundException", "x"), Failure::Absent));
        assert!(matches!(rpc("java.lang.NullPointerException", "x\n\tat y"), Failure::Refused(_)));
        let of = |kind: io::ErrorKind| Failure::from(HdfsError::IOError(kind.into()));
        assert!(matches!(of(io::ErrorKind::ConnectionRefused), Failure::NotNow(_)));
        assert!(matches!(of(io::ErrorKind::ConnectionReset), Failure::Unknown(_)));
        assert!(matches!(of(io::ErrorKind::TimedOut), Failure::Unknown(_)));
    }

    #[test]
    fn errors_name_the_file_and_what_to_do() {
        let refused: Failure = HdfsError::IOError(io::ErrorKind::ConnectionRefused.into()).into();
        let said = storage_error(refused).to_string();
        assert!(said.contains("hdfs://n:1/data/a") && said.contains("check that hdfs://n:1"), "{said}");
        let forbidden =
            rpc("org.apache.hadoop.security.AccessControlException", "Permission denied: user=ann");
        let said = storage_error(forbidden).to_string();
        assert!(said.contains("user=ann") && said.contains("HADOOP_USER_NAME"), "{said}");
    }
}
