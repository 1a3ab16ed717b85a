//! User code in Python, behind the engine's seam.

mod collector;
mod failure;
mod mapper;

use mapreduce_core::{FailureKind, JobSpec};
use mapreduce_executor::{Group, UserCode, UserFailure, map::MapSink};
use pyo3::{
    exceptions::PyMemoryError,
    prelude::*,
    types::{PyList, PyNone},
};

use crate::{
    keys,
    objects::{self, StorageError},
    values,
};
use collector::QuietCollector;
use mapper::Mapper;

/// Records in a call of the map function, unless the job says otherwise: what it makes of them stays in the
/// cache until it is grouped.
const BATCH_SIZE: usize = 200;

/// A job's functions.
pub struct PythonCode {
    map: Py<PyAny>,
    reduce: Py<PyAny>,
    batch_size: usize,
}

impl PythonCode {
    /// Loads a job's code object.
    pub fn load(spec: &JobSpec, code: &[u8]) -> Result<Box<dyn UserCode>, UserFailure> {
        let batch_size = spec.settings.batch_size.map_or(BATCH_SIZE, |size| size.max(1) as usize);
        Python::attach(|py| {
            let loaded = objects::load_code(py, code);
            let (map, reduce) = loaded.map_err(|error| {
                let advice =
                    "the functions can't be loaded where the tasks run; are all modules installed there?";
                failure::raised(py, &error, FailureKind::BadCode, advice)
            })?;
            let code = PythonCode { map: map.unbind(), reduce: reduce.unbind(), batch_size };
            Ok(Box::new(code) as Box<dyn UserCode>)
        })
    }
}

impl UserCode for PythonCode {
    fn map(
        &mut self,
        records: &mut dyn Iterator<Item = &[u8]>,
        sink: &mut MapSink,
    ) -> Result<(), UserFailure> {
        Python::attach(|py| {
            let map = self.map.bind(py);
            let mut mapper = Mapper::new(map, sink);
            loop {
                let batch: Vec<&[u8]> = records.take(self.batch_size).collect();
                if batch.is_empty() {
                    return mapper.finish();
                }
                mapper.map(&batch).map_err(|failure| mapper::blame(map, &batch, failure))?;
            }
        })
    }

    fn reduce(&mut self, group: &Group, out: &mut Vec<u8>) -> Result<(), UserFailure> {
        Python::attach(|py| {
            let _quiet = QuietCollector::new(py);
            reduce(self.reduce.bind(py), group, out).map_err(|failure| UserFailure {
                record: keys::decode(py, &group.key, &group.hint).and_then(|key| objects::shorten(&key)).ok(),
                ..failure
            })
        })
    }
}

fn reduce(function: &Bound<'_, PyAny>, group: &Group, out: &mut Vec<u8>) -> Result<(), UserFailure> {
    let py = function.py();
    let values = group_values(py, group).map_err(|error| unreadable(py, &error))?;
    let result =
        function.call1((values,)).map_err(|error| failure::user_exception(py, &error, "reduce_func"))?;
    values::encode(&result, out).map_err(|error| {
        let what = format!("reduce_func returned a {}, which can't be pickled", objects::type_name(&result));
        failure::raised(py, &error, FailureKind::BadValue, &what)
    })
}

/// What was stored does not decode: damage, or a pickle that does not load.
fn unreadable(py: Python<'_>, error: &PyErr) -> UserFailure {
    let damaged = error.is_instance_of::<StorageError>(py);
    let kind = if damaged { FailureKind::BadData } else { FailureKind::BadValue };
    failure::raised(py, error, kind, "stored records or values can't be read")
}

fn group_values<'py>(py: Python<'py>, group: &Group) -> PyResult<Bound<'py, PyList>> {
    let n = usize::try_from(group.n_values()).map_err(|_| objects::damaged("a number of values"))?;
    check_memory(n)?;
    let mut values =
        Unrolled { py, runs: group.values.iter(), rest: &[], current: None, left: n, error: None };
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
    runs: std::slice::Iter<'a, mapreduce_executor::Values>,
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
