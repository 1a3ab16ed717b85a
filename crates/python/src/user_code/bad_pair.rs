//! What the user is told about pairs that can't be taken.

use mapreduce_core::FailureKind;
use mapreduce_executor::UserFailure;
use pyo3::{prelude::*, types::PyDict};

use super::failure;
use crate::objects::{self, KeyEncodingError};

/// A key that can't be encoded.
pub fn bad_key(key: &Bound<'_, PyAny>, error: &PyErr) -> UserFailure {
    let py = key.py();
    if error.is_instance_of::<KeyEncodingError>(py) {
        // The message says all: the key, its type, and what to use instead.
        let mut failure = failure::raised(py, error, FailureKind::BadKey, "");
        failure.message = format!("map_func emitted a key that can't be grouped: {}", error.value(py));
        return failure;
    }
    let what = format!("map_func emitted a key of type {}, which can't be encoded", objects::type_name(key));
    failure::raised(py, error, FailureKind::BadKey, &what)
}

/// A value that can't be encoded.
pub fn bad_value(value: &Bound<'_, PyAny>, error: &PyErr) -> UserFailure {
    let what =
        format!("map_func emitted a value of type {}, which can't be pickled", objects::type_name(value));
    failure::raised(value.py(), error, FailureKind::BadValue, &what)
}

/// A value that has no place among the others.
pub fn unsortable(value: &Bound<'_, PyAny>, error: &PyErr) -> UserFailure {
    let shown = objects::shorten(value).unwrap_or_default();
    let what = format!(
        "map_func emitted the value {shown} of type {}, which sort_values=True can't put in order; values may then be what \
         keys may be: numbers, strings, bytes, None, or tuples of them",
        objects::type_name(value)
    );
    failure::raised(value.py(), error, FailureKind::BadValue, &what)
}

/// The map function returned something else than pairs.
pub fn no_pairs(returned: &Bound<'_, PyAny>) -> UserFailure {
    let advice = if returned.is_none() {
        "return the list of (key, value) pairs, or yield each of them: is there a `return` missing?"
    } else if returned.is_instance_of::<PyDict>() {
        "return list(result.items()) instead of the dict"
    } else {
        "return a list of (key, value) pairs, or yield each of them"
    };
    let message = format!("map_func returned {}; {advice}", shown(returned));
    UserFailure::new(FailureKind::NotAPair, message)
}

/// One of the pairs is none.
pub fn not_a_pair(thing: &Bound<'_, PyAny>) -> UserFailure {
    let message = format!(
        "map_func must return or yield (key, value) pairs, but one of them is {}; if you return a single pair, put it \
         into a list: [(key, value)]",
        shown(thing)
    );
    UserFailure::new(FailureKind::NotAPair, message)
}

fn shown(thing: &Bound<'_, PyAny>) -> String {
    let text = objects::shorten(thing).unwrap_or_default();
    if thing.is_none() { text } else { format!("{text}, a {}", objects::type_name(thing)) }
}
