//! Writes whose outcome is known. A backend may answer [`CoordinationError::Ambiguous`]; the entry itself
//! then tells what happened, because every record names its writer or has the same meaning whoever wrote it.

use bytes::Bytes;

use crate::{CoordinationError, Coordinator, Entry, Lifetime, Version};

/// How often a write is tried before its ambiguity is passed on to the caller.
const TRIES_MAX: usize = 5;

/// One write of one entry.
#[derive(Debug)]
pub(crate) enum Write {
    /// Make the entry.
    Create(Bytes, Lifetime),
    /// Replace it, at this version.
    Set(Bytes, Version),
    /// Remove it, at this version.
    Delete(Version),
}

impl Write {
    /// Makes the write and settles doubt by reading. Answers the version that the write made, or for
    /// [`Write::Delete`] the one it removed.
    pub(crate) async fn apply(&self, c: &dyn Coordinator, path: &str) -> Result<Version, CoordinationError> {
        let mut doubt = None;
        for _ in 0..TRIES_MAX {
            match (self.attempt(c, path).await, &doubt) {
                (Err(error @ CoordinationError::Ambiguous { .. }), _) => doubt = Some(error),
                // Beaten, perhaps by our own earlier try.
                (
                    Err(CoordinationError::AlreadyExists { .. } | CoordinationError::Conflict { .. }),
                    Some(_),
                ) => {}
                (Err(CoordinationError::Unavailable { .. }), Some(_)) => break,
                (outcome, _) => return outcome,
            }
            // An error here would say nothing about the write: the doubt is what the caller must hear of.
            let Ok(found) = c.get(path).await else { break };
            if let Some(outcome) = self.judge(path, found) {
                return outcome;
            }
        }
        Err(doubt.unwrap_or_else(|| self.beaten(path)))
    }

    async fn attempt(&self, c: &dyn Coordinator, path: &str) -> Result<Version, CoordinationError> {
        match self {
            Write::Create(value, lifetime) => c.create(path, value.clone(), *lifetime).await,
            Write::Set(value, expected) => c.set(path, value.clone(), *expected).await,
            Write::Delete(expected) => c.delete(path, *expected).await.map(|()| *expected),
        }
    }

    /// What an entry says about a doubtful write; none: it has not taken effect, try again. Trying again is
    /// safe even if the first try arrives late, because only one of them can find what it expects.
    fn judge(&self, path: &str, found: Option<Entry>) -> Option<Result<Version, CoordinationError>> {
        match (self, found) {
            (Write::Create(..), None) => None,
            (Write::Set(_, expected) | Write::Delete(expected), Some(e)) if e.version == *expected => None,
            (Write::Create(value, _) | Write::Set(value, _), Some(e)) if e.value == *value => {
                Some(Ok(e.version))
            }
            (Write::Delete(expected), None) => Some(Ok(*expected)),
            _ => Some(Err(self.beaten(path))),
        }
    }

    fn beaten(&self, path: &str) -> CoordinationError {
        let path = path.to_owned();
        match self {
            Write::Create(..) => CoordinationError::AlreadyExists { path },
            Write::Set(..) | Write::Delete(_) => CoordinationError::Conflict { path },
        }
    }
}
