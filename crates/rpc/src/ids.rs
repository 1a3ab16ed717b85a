//! Reading the ids that messages carry as text.

use std::{fmt::Display, str::FromStr};

/// A field of a message that does not hold what it should: the other side is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad message: {0}")]
pub struct BadField(String);

impl From<BadField> for tonic::Status {
    fn from(bad: BadField) -> Self {
        tonic::Status::invalid_argument(bad.to_string())
    }
}

/// The id that `text` spells.
pub fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, BadField> {
    text.parse().map_err(|e: T::Err| BadField(e.to_string()))
}
