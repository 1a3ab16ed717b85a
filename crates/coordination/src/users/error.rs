//! Why a user was refused: every case by its name, with what to do about it.

use super::DEFAULT_ADMIN;
use crate::{CoordinationError, records::RecordError};

/// Why a user was refused, or a change of the users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// There is no such user.
    #[error("unknown user {name:?}: an admin can create it with Auth.create_user")]
    UnknownUser {
        /// Who.
        name: String,
    },
    /// The password is another one.
    #[error("wrong password for user {name:?}")]
    WrongPassword {
        /// Whose.
        name: String,
    },
    /// Only an admin manages users.
    #[error("user {actor:?} may not {action}: only an admin manages users")]
    NotAdmin {
        /// Who tried.
        actor: String,
        /// What.
        action: String,
    },
    /// The name is taken.
    #[error("user {name:?} exists already: choose another name, or delete that user first")]
    UserExists {
        /// The name.
        name: String,
    },
    /// The default admin stays.
    #[error("the default admin {DEFAULT_ADMIN:?} can't be deleted: change its password instead")]
    DefaultAdminStays,
    /// The name can't be a user's.
    #[error("{name:?} can't be a user's name: {why}")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A password must be something.
    #[error("the password is empty: choose one with at least one character")]
    EmptyPassword,
    /// Neither `admin` nor `user`.
    #[error("{role:?} is not a role: use 'admin' or 'user'")]
    BadRole {
        /// What was given.
        role: String,
    },
    /// The password could not be hashed or compared.
    #[error("the password of user {name:?} can't be checked: {why}")]
    Hash {
        /// Whose.
        name: String,
        /// What happened.
        why: String,
    },
    /// The system gave no random bytes.
    #[error("no random bytes to protect passwords with: {why}")]
    NoRandomness {
        /// What happened.
        why: String,
    },
    /// The store of users could not be used.
    #[error(transparent)]
    Store(#[from] RecordError),
}

impl From<CoordinationError> for UserError {
    fn from(error: CoordinationError) -> Self {
        UserError::Store(error.into())
    }
}
