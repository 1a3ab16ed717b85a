//! What the client library's errors mean for what a call was to do.

use zookeeper_client::{Error, MultiWriteError};

use crate::remote::Failure;

/// Everything that is not known to be the servers' refusal is unknown: connections break, and calls are cut off, at any
/// moment between the sending and the answer.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let why = error.to_string();
        match error {
            Error::NoAuth | Error::AuthFailed | Error::InvalidAcl => Failure::NotDone(
                "the servers don't allow it: what is there belongs to another name and password".to_owned(),
            ),
            Error::Unimplemented => {
                Failure::NotDone("the servers are too old: version 3.6 or later is needed".to_owned())
            }
            Error::BadArguments(_)
            | Error::BadVersion
            | Error::NoNode
            | Error::NodeExists
            | Error::NotEmpty
            | Error::NoChildrenForEphemerals
            | Error::NotReadOnly
            | Error::QuotaExceeded
            | Error::Throttled
            | Error::MarshallingError => Failure::NotDone(why),
            _ => Failure::Unknown(why),
        }
    }
}

impl From<MultiWriteError> for Failure {
    fn from(error: MultiWriteError) -> Self {
        Error::from(error).into()
    }
}

/// Whether the call may have been carried out, or may be carried out yet.
pub(super) fn is_unknown(error: &Error) -> bool {
    matches!(Failure::from(error.clone()), Failure::Unknown(_))
}

/// Whether the session, as the client library sees it, is over. That is more often than the servers' view: it also gives
/// up when it could not reach any of them for 7/5 of the lease.
pub(super) fn is_terminal(error: &Error) -> bool {
    matches!(error, Error::SessionExpired | Error::SessionMoved | Error::ClientClosed)
}
