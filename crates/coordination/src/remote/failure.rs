//! What a call that went wrong means for what it was to do.

use crate::CoordinationError;

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The session is over for good.
    SessionLost,
    /// Nothing was changed: it was not sent, or the servers refused it.
    NotDone(String),
    /// It may have been done, or may be yet.
    Unknown(String),
    /// The entry itself says no.
    Answer(CoordinationError),
}

impl Failure {
    /// Of a call that only reads, so that nothing was changed.
    pub fn of_a_read(self) -> Failure {
        match self {
            Failure::Unknown(why) => Failure::NotDone(why),
            other => other,
        }
    }

    /// For the caller; `path` is the entry's.
    pub fn at(self, url: &str, path: &str) -> CoordinationError {
        match self {
            Failure::SessionLost => CoordinationError::SessionLost,
            Failure::NotDone(why) => CoordinationError::Unavailable { url: url.to_owned(), why },
            Failure::Unknown(why) => CoordinationError::Ambiguous { path: path.to_owned(), why },
            Failure::Answer(error) => error,
        }
    }
}
