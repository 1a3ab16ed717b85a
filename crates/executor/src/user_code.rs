//! The seam between the engine and the user's code. The engine sees keys, values and records as bytes; a
//! language's face makes its objects of them and calls the functions.

use std::collections::BTreeMap;

use bytes::Bytes;
use mapreduce_core::{AttemptId, Failure, FailureKind, FileFormat, Incarnation, TaskId};

use crate::{
    Records, TaskError,
    map::MapSink,
    reduce::{Merge, Rest},
};

/// The user's functions, loaded for one job. An implementation encodes equal keys as equal bytes and keys that
/// its language can order in that order (see [`crate::keys`]); what it encodes, it can decode in any process.
pub trait UserCode {
    /// Maps the records of one split, in order, and puts the pairs into `sink`, in order. When the sink
    /// [is full](MapSink::is_full), which is to be asked now and then, it wants to be [spilled](MapSink::spill). If it
    /// [sorts values](MapSink::sorts_values), every key is to be followed by its value, encoded as a key.
    fn map(&mut self, records: &mut Records, sink: &mut MapSink) -> Result<(), TaskError>;

    /// Whether [`UserCode::combine`] does something.
    fn combines(&self) -> bool {
        false
    }

    /// Reduces some values of one key to one value, which takes their place, and appends it to `out`. Called any
    /// number of times for a key, also on what it made itself.
    fn combine(&mut self, group: Group, out: &mut Vec<u8>) -> Result<(), TaskError> {
        let _ = (group, out);
        Err(UserFailure::new(FailureKind::BadCode, "the job has no combiner").into())
    }

    /// Reduces one key's values, and appends the encoded results to `out`; answers how many they are.
    fn reduce(&mut self, group: Group, out: &mut Vec<u8>) -> Result<u64, TaskError>;

    /// What the code has counted since this was asked last, by name.
    fn take_counters(&mut self) -> BTreeMap<String, i64> {
        BTreeMap::new()
    }

    /// Reduces one partition into records of a file, for jobs that have an output. `write` takes a record as
    /// [`RecordWriter`](mapreduce_formats::RecordWriter) does.
    fn write(
        &mut self,
        groups: &mut Merge,
        format: &FileFormat,
        write: &mut dyn FnMut(&[u8]) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let _ = (groups, format, write);
        Err(UserFailure::new(FailureKind::BadCode, "the job's code writes no files").into())
    }
}

/// One key and its values, in the order of the input, or sorted if the job says so.
#[derive(Debug)]
pub struct Group {
    /// The encoded key.
    pub key: Bytes,
    /// What the key was before encoding made it equal to others; of the first pair with this key.
    pub hint: Bytes,
    /// The values, to be read once.
    pub values: Runs,
}

/// Some of one key's values, encoded one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// How many values the bytes hold. The encoding may write repeated values once.
    pub count: u64,
    /// The values.
    pub bytes: Bytes,
}

/// The values of one group, run by run.
#[derive(Debug)]
pub struct Runs(From);

#[derive(Debug)]
enum From {
    Memory(Option<Values>),
    Merge(Rest),
}

impl Runs {
    /// Values that are in memory.
    pub fn one(values: Values) -> Self {
        Runs(From::Memory(Some(values)))
    }

    pub(crate) fn merged(rest: Rest) -> Self {
        Runs(From::Merge(rest))
    }

    /// The next values; none after the last. Those that are not in memory are there as long as the
    /// group is the current one: afterwards none.
    pub fn next_run(&mut self) -> Result<Option<Values>, TaskError> {
        match &mut self.0 {
            From::Memory(values) => Ok(values.take()),
            From::Merge(rest) => rest.next_run(),
        }
    }

    /// All that are left, in memory.
    pub fn collect(&mut self) -> Result<Vec<Values>, TaskError> {
        let mut all = Vec::new();
        while let Some(values) = self.next_run()? {
            all.push(values);
        }
        Ok(all)
    }
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
