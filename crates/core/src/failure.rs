//! How an attempt can fail, typed: what happened, whether it counts against the task's budget, and what
//! the user is shown. A machine taken away is not a failure (promise 3) and has no record here.

use serde::{Deserialize, Serialize};

use crate::{AttemptId, Incarnation, Persisted, TaskId};

/// What went wrong in an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FailureKind {
    /// A user function raised.
    UserException {
        /// The exception's class, such as `ValueError`.
        exception: String,
    },
    /// The map function returned or yielded something other than pairs.
    NotAPair,
    /// A key has no faithful encoding.
    BadKey,
    /// A value or result can't be pickled.
    BadValue,
    /// The functions could not be loaded in the executor.
    BadCode,
    /// The executor ended without a report: `exit`, `os._exit`.
    ExecutorExited {
        /// Its exit code.
        code: i32,
    },
    /// The executor was ended by a signal: a segmentation fault (11), or the kernel for want of memory (9).
    ExecutorKilled {
        /// The signal's number.
        signal: i32,
    },
    /// The memory limit was reached and the allocation refused.
    OutOfMemory,
    /// The task took longer than its limit.
    TimedOut {
        /// The limit.
        limit_ms: u64,
    },
    /// Input, code or map output could not be read as it was written.
    BadData,
    /// The store did not do what was asked: the node's or the store's fault, not the task's.
    Storage,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// It would fail the same way again: report it at once.
    Deterministic,
    /// It may pass next time: try again within the budget.
    Counted,
    /// Not the task's fault: try again, without counting.
    Uncounted,
}

impl FailureKind {
    /// What follows from it. `retry_exceptions` is the job's wish to have raised exceptions tried again.
    pub fn class(&self, retry_exceptions: bool) -> FailureClass {
        match self {
            FailureKind::UserException { .. } if retry_exceptions => FailureClass::Counted,
            FailureKind::UserException { .. }
            | FailureKind::NotAPair
            | FailureKind::BadKey
            | FailureKind::BadValue
            | FailureKind::BadCode => FailureClass::Deterministic,
            FailureKind::ExecutorExited { .. }
            | FailureKind::ExecutorKilled { .. }
            | FailureKind::OutOfMemory
            | FailureKind::TimedOut { .. }
            | FailureKind::BadData => FailureClass::Counted,
            FailureKind::Storage => FailureClass::Uncounted,
        }
    }
}

/// The durable record of one failed attempt: `failures/<stage>/<task>/<attempt>`, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The task that failed.
    pub task: TaskId,
    /// The attempt that failed.
    pub attempt: AttemptId,
    /// The worker it ran on.
    pub worker: Incarnation,
    /// What happened.
    #[serde(flatten)]
    pub what: FailureKind,
    /// One sentence for the user: what, and what to do about it.
    pub message: String,
    /// The user code's traceback, empty where there is none.
    pub traceback: String,
    /// The record or key that was being worked on, as the user would write it, where it can be told.
    pub record: Option<String>,
    /// The pickled exception of the user's code, base64, where it can be pickled.
    pub pickled_exception: Option<String>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Persisted for Failure {
    const KIND: &'static str = "failure";
    const VERSION: u32 = 1;
}
