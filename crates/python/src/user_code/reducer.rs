//! Calling functions that reduce the values of a key.

use mapreduce_core::FailureKind;
use mapreduce_executor::{Group, Runs, TaskError, UserFailure, Values};
use pyo3::{
    exceptions::PyMemoryError,
    prelude::*,
    types::{PyCFunction, PyList, PyNone},
};

use super::{QuietCollector, failure, iterator::ValueIterator, unreadable};
use crate::{keys, objects, values};

/// A function that reduces the values of a key to one.
pub struct Reducer {
    name: &'static str,
    function: Py<PyAny>,
    /// It gets an iterator instead of a list.
    streams: bool,
    /// It is Python's `sum`.
    is_sum: bool,
}

impl Reducer {
    pub fn new(name: &'static str, function: Bound<'_, PyAny>, streams: bool) -> Self {
        let is_sum = is_sum(&function).unwrap_or(false);
        Reducer { name, function: function.unbind(), streams, is_sum }
    }

    /// Calls the function with the values of a group. A failure tells the key.
    pub fn call<'py>(&self, py: Python<'py>, group: Group) -> Result<Bound<'py, PyAny>, TaskError> {
        let Group { key, hint, values } = group;
        let result = match self.streams {
            true => self.call_with_iterator(py, values),
            false => self.call_with_list(py, values),
        };
        result.map_err(|error| match error {
            TaskError::User(failure) => {
                let record = keys::decode(py, &key, &hint).and_then(|key| objects::shorten(&key)).ok();
                UserFailure { record, ..*failure }.into()
            }
            error => error,
        })
    }

    fn call_with_list<'py>(&self, py: Python<'py>, mut values: Runs) -> Result<Bound<'py, PyAny>, TaskError> {
        let runs = values.collect()?;
        // The same without a list of as many objects as there are values.
        if self.is_sum
            && let Some(sum) = values::sum_of_ints(&runs)
        {
            let Ok(sum) = sum.into_pyobject(py);
            return Ok(sum.into_any());
        }
        let _quiet = QuietCollector::new(py);
        let values = list_of(py, &runs).map_err(|error| unreadable(py, &error))?;
        let result = self.function.bind(py).call1((values,));
        Ok(result.map_err(|error| failure::user_exception(py, &error, self.name))?)
    }

    /// The collector is not kept quiet: the function may make any number of objects.
    fn call_with_iterator<'py>(&self, py: Python<'py>, values: Runs) -> Result<Bound<'py, PyAny>, TaskError> {
        let made = Bound::new(py, ValueIterator::new(values));
        let iterator = made.map_err(|error| unreadable(py, &error))?;
        let result = self.function.bind(py).call1((&iterator,));
        if let Some(error) = iterator.borrow_mut().end() {
            return Err(error);
        }
        Ok(result.map_err(|error| failure::user_exception(py, &error, self.name))?)
    }

    /// What it returned can't be pickled.
    pub fn unpicklable(&self, result: &Bound<'_, PyAny>, error: &PyErr) -> UserFailure {
        let what = format!("{} returned a {}, which can't be pickled", self.name, objects::type_name(result));
        failure::raised(result.py(), error, FailureKind::BadValue, &what)
    }
}

/// Whether a function is Python's `sum`, and not another that somebody has put into its place.
fn is_sum(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(function.is_exact_instance_of::<PyCFunction>()
        && function.getattr("__name__")?.eq("sum")?
        && function.getattr("__module__")?.eq("builtins")?)
}

fn list_of<'py>(py: Python<'py>, runs: &[Values]) -> PyResult<Bound<'py, PyList>> {
    let n = runs.iter().fold(0u64, |n, run| n.saturating_add(run.count));
    let n = usize::try_from(n).map_err(|_| objects::damaged("a number of values"))?;
    check_memory(n)?;
    let mut values = Unrolled { py, runs: runs.iter(), rest: &[], current: None, left: n, error: None };
    let list = PyList::new(py, &mut values)?;
    match values.error {
        None if values.rest.is_empty() => Ok(list),
        None => Err(objects::damaged("more values than were counted")),
        Some(error) => Err(error),
    }
}

/// Raises MemoryError if there is no room for a list of `n`: making one too long would be a panic.
fn check_memory(n: usize) -> PyResult<()> {
    let mut room: Vec<usize> = Vec::new();
    let reserved = room.try_reserve_exact(n);
    // The compiler may leave an allocation out that nobody looks at.
    std::hint::black_box(&room);
    reserved.map_err(|_| PyMemoryError::new_err(format!("no room for a list of {n} values")))
}

/// The values of a group, one by one: a run of one value is many references to one object.
struct Unrolled<'a, 'py> {
    py: Python<'py>,
    runs: std::slice::Iter<'a, Values>,
    rest: &'a [u8],
    current: Option<(Bound<'py, PyAny>, u64)>,
    left: usize,
    /// After an error, all values are None, and nobody gets to see them.
    error: Option<PyErr>,
}

impl<'py> Unrolled<'_, 'py> {
    #[cold]
    fn fail(&mut self, error: PyErr) -> Bound<'py, PyAny> {
        self.error.get_or_insert(error);
        let nothing = PyNone::get(self.py).to_owned().into_any();
        self.current = Some((nothing.clone(), u64::MAX));
        nothing
    }

    /// The first object of the next run.
    fn next_run(&mut self) -> Bound<'py, PyAny> {
        while self.rest.is_empty() {
            match self.runs.next() {
                Some(run) => self.rest = &run.bytes,
                None => return self.fail(objects::damaged("fewer values than were counted")),
            }
        }
        match values::take_repeated(self.py, &mut self.rest) {
            Ok((_, 0)) => self.fail(objects::damaged("a value that stands there no times")),
            Ok((value, n)) => {
                self.current = Some((value.clone(), n - 1));
                value
            }
            Err(error) => self.fail(error),
        }
    }
}

impl<'py> Iterator for Unrolled<'_, 'py> {
    type Item = Bound<'py, PyAny>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if let Some((value, n @ 1..)) = &mut self.current {
            *n -= 1;
            return Some(value.clone());
        }
        Some(self.next_run())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Unrolled<'_, '_> {}
