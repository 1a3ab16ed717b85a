//! Typed failures from Python's exceptions.

use mapreduce_core::FailureKind;
use mapreduce_executor::UserFailure;
use pyo3::{exceptions::PyMemoryError, prelude::*};

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
        let advice = "use less memory at a time: smaller records, a smaller batch_size or split_records";
        (FailureKind::OutOfMemory, format!("the task's memory limit was reached; {advice}"))
    } else {
        (what, format!("{message}: {text}"))
    };
    UserFailure { what, message, traceback, record: None, pickled_exception: pickled }
}
