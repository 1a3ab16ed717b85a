//! Typed failures from Python's exceptions.

use mapreduce_core::FailureKind;
use mapreduce_executor::UserFailure;
use pyo3::{exceptions::PyMemoryError, prelude::*};
use rustix::process::{Resource, getrlimit};

use crate::objects;

/// For an exception that a user's function raised.
pub fn user_exception(py: Python<'_>, error: &PyErr, function: &str) -> UserFailure {
    let exception =
        objects::describe(py, error).map_or_else(|_| "an exception".to_owned(), |(class, ..)| class);
    raised(py, error, FailureKind::UserException { exception }, &format!("{function} raised"))
}

/// For an exception that has this meaning; its text follows `message`.
pub fn raised(py: Python<'_>, error: &PyErr, what: FailureKind, message: &str) -> UserFailure {
    // Describing it runs user code again (`__str__`, `__reduce__`), which may raise, too.
    let (_, text, traceback, pickled) = objects::describe(py, error).unwrap_or_else(|describing| {
        (String::new(), format!("an exception whose description raises {describing}"), String::new(), None)
    });
    let (what, message) = if error.is_instance_of::<PyMemoryError>(py) {
        let limit = getrlimit(Resource::Data).current;
        let limit = limit.map(|bytes| format!(" of {} MiB", bytes >> 20)).unwrap_or_default();
        let advice = "use less memory at a time (smaller records, a smaller batch_size or split_records), fewer \
                      workers, or a higher memory_bytes_max";
        (FailureKind::OutOfMemory, format!("the task's memory limit{limit} was reached; {advice}"))
    } else {
        (what, format!("{message}: {text}"))
    };
    UserFailure { what, message, traceback, record: None, pickled_exception: pickled }
}
