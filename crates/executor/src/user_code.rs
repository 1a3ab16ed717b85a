//! The seam between the engine and the user's code. The engine sees keys, values and records as bytes; a
//! language's face makes its objects of them and calls the functions.

use bytes::Bytes;
use mapreduce_core::{AttemptId, Failure, FailureKind, Incarnation, TaskId};

use crate::map::MapSink;

/// The user's functions, loaded for one job. An implementation encodes equal keys as equal bytes and keys that
/// its language can order in that order (see [`crate::keys`]); what it encodes, it can decode in any process.
pub trait UserCode {
    /// Maps the records of one split, in order, and puts the pairs into `sink`, in order.
    fn map(
        &mut self,
        records: &mut dyn Iterator<Item = &[u8]>,
        sink: &mut MapSink,
    ) -> Result<(), UserFailure>;

    /// Reduces one key's values, and appends the encoded result to `out`.
    fn reduce(&mut self, group: &Group, out: &mut Vec<u8>) -> Result<(), UserFailure>;
}

/// One key and all its values, in the order of the input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// The encoded key.
    pub key: Bytes,
    /// What the key was before encoding made it equal to others; of the first pair with this key.
    pub hint: Bytes,
    /// The values, in runs.
    pub values: Vec<Values>,
}

impl Group {
    /// How many values it has.
    pub fn n_values(&self) -> u64 {
        self.values.iter().fold(0, |n, values| n.saturating_add(values.count))
    }
}

/// A run of one key's values, encoded one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// How many values the bytes hold. The encoding may write repeated values once.
    pub count: u64,
    /// The values.
    pub bytes: Bytes,
}

/// Why the user's code did not do its part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFailure {
    /// What happened.
    pub what: FailureKind,
    /// One sentence for the user: what, and what to do about it.
    pub message: String,
    /// The user code's traceback, empty where there is none.
    pub traceback: String,
    /// The record or key that was worked on, where it can be told.
    pub record: Option<String>,
    /// The exception, pickled and in base64, where it can be pickled.
    pub pickled_exception: Option<String>,
}

impl UserFailure {
    /// A failure that a message says all about.
    pub fn new(what: FailureKind, message: impl Into<String>) -> Self {
        let message = message.into();
        UserFailure { what, message, traceback: String::new(), record: None, pickled_exception: None }
    }

    /// The durable record of it.
    pub fn into_failure(self, task: TaskId, attempt: AttemptId, worker: Incarnation, at_ms: u64) -> Failure {
        Failure {
            task,
            attempt,
            worker,
            what: self.what,
            message: self.message,
            traceback: self.traceback,
            record: self.record,
            pickled_exception: self.pickled_exception,
            at_ms,
        }
    }
}
