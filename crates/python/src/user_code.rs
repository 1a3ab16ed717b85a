//! User code in Python, behind the engine's seam.

mod collector;
mod failure;
mod iterator;
mod mapper;
mod recent;
mod records;

use std::{collections::BTreeMap, ops::Range};

use mapreduce_core::{FailureKind, FileFormat, JobSpec};
use mapreduce_executor::{
    Group, Records, Runs, SideInputs, TaskError, UserCode, UserFailure, Values,
    map::{MapSink, Partitioner},
    reduce::Merge,
};
use mapreduce_formats::Batch;
use pyo3::{
    exceptions::PyMemoryError,
    prelude::*,
    types::{PyList, PyNone},
};

use crate::{
    keys,
    objects::{self, Code, StorageError},
    values,
};
use collector::QuietCollector;
use iterator::ValueIterator;
use mapper::Mapper;
use records::{Decoder, Encoder};

/// The most records in a call of the map function, and how many pairs they are to become about, unless the job says
/// otherwise: what it makes of them stays in the cache until it is grouped.
const BATCH_SIZE: usize = 200;
const BATCH_PAIRS: usize = 400;

/// A job's functions.
pub struct PythonCode {
    inputs: Vec<PythonInput>,
    combine: Option<Py<PyAny>>,
    reduce: Py<PyAny>,
    partition: Option<Py<PyAny>>,
    /// The reduce function gets an iterator.
    streams: bool,
    /// Records in a call of the map function, if the job says.
    batch_size: Option<usize>,
}

/// What becomes of the records of one input.
struct PythonInput {
    decoder: Decoder,
    map: Py<PyAny>,
}

impl PythonCode {
    /// Loads a job's code object.
    pub fn load(
        spec: &JobSpec,
        code: &[u8],
        side_inputs: &SideInputs,
    ) -> Result<Box<dyn UserCode>, UserFailure> {
        let batch_size = spec.settings.batch_size.map(|size| size.max(1) as usize);
        Python::attach(|py| {
            let Code { map, combine, reduce, partition, streams, arrow } =
                objects::load_code(py, code, side_inputs).map_err(|error| {
                    let advice =
                        "the functions can't be loaded where the tasks run; are all modules installed there?";
                    failure::raised(py, &error, FailureKind::BadCode, advice)
                })?;
            if map.len() != spec.inputs.len() || arrow.len() != spec.inputs.len() {
                let why = format!("there are {} map functions for {} inputs", map.len(), spec.inputs.len());
                return Err(UserFailure::new(FailureKind::BadCode, why));
            }
            let inputs = spec.inputs.iter().zip(map).zip(arrow).map(|((input, map), arrow)| PythonInput {
                decoder: Decoder::new(input, arrow),
                map: map.unbind(),
            });
            Ok(Box::new(PythonCode {
                inputs: inputs.collect(),
                combine: combine.map(Bound::unbind),
                reduce: reduce.unbind(),
                partition: partition.map(Bound::unbind),
                streams,
                batch_size,
            }) as Box<dyn UserCode>)
        })
    }
}

impl UserCode for PythonCode {
    fn map(&mut self, records: &mut Records, sink: &mut MapSink) -> Result<(), TaskError> {
        let input = records.input();
        self.map_all(records, sink).map_err(|error| match error {
            TaskError::User(mut failure) if self.inputs.len() > 1 => {
                // Which of them it is, the mapper does not know.
                if let Some(what) = failure.message.strip_prefix("map_func") {
                    failure.message = format!("map_func[{input}]{what}");
                }
                TaskError::User(failure)
            }
            error => error,
        })
    }

    fn take_counters(&mut self) -> BTreeMap<String, i64> {
        // It can't fail: the module checks what it counts when it counts it.
        Python::attach(objects::take_counters).unwrap_or_default()
    }

    fn combines(&self) -> bool {
        self.combine.is_some()
    }

    fn combine(&mut self, group: Group, out: &mut Vec<u8>) -> Result<(), TaskError> {
        Python::attach(|py| match &self.combine {
            Some(combine) => {
                let result = call(combine.bind(py), group, false, "combine_func")?;
                Ok(values::encode_repeated(&result, 1, out)
                    .map_err(|error| unpicklable(&result, &error, "combine_func"))?)
            }
            None => Err(UserFailure::new(FailureKind::BadCode, "the job has no combiner").into()),
        })
    }

    fn reduce(&mut self, group: Group, out: &mut Vec<u8>) -> Result<u64, TaskError> {
        Python::attach(|py| {
            let result = call(self.reduce.bind(py), group, self.streams, "reduce_func")?;
            values::encode(&result, out).map_err(|error| unpicklable(&result, &error, "reduce_func"))?;
            Ok(1)
        })
    }

    fn write(
        &mut self,
        groups: &mut Merge,
        format: &FileFormat,
        write: &mut dyn FnMut(&[u8]) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        Python::attach(|py| {
            let mut encoder = Encoder::new(format, write);
            while let Some(group) = groups.next_group()? {
                let key =
                    keys::decode(py, &group.key, &group.hint).map_err(|error| unreadable(py, &error))?;
                let result = call(self.reduce.bind(py), group, self.streams, "reduce_func")?;
                encoder.push(&key, result)?;
            }
            encoder.flush(py)
        })
    }
}

impl PythonCode {
    fn map_all(&mut self, records: &mut Records, sink: &mut MapSink) -> Result<(), TaskError> {
        Python::attach(|py| {
            let input = records.input();
            let decoder = self.inputs[input].decoder;
            let map = self.inputs[input].map.clone_ref(py).into_bound(py);
            let partition = self.partition.as_ref().map(|function| function.clone_ref(py).into_bound(py));
            let mut mapper = Mapper::new(&map, partition);
            let mut size = self.batch_size.unwrap_or(BATCH_SIZE);
            while let Some(batch) = records.next_batch()? {
                let mut first = 0;
                while first < batch.len() {
                    let n = if decoder.is_table() { batch.len() } else { size.min(batch.len() - first) };
                    let n_pairs = map_some(decoder, &mut mapper, (&batch, first..first + n), sink, self)?;
                    first += n;
                    if self.batch_size.is_none() {
                        size = (n * BATCH_PAIRS).div_ceil(n_pairs.max(1)).min(BATCH_SIZE);
                    }
                }
            }
            Ok(mapper.flush(sink)?)
        })
    }
}

/// Maps the records of a batch in `range`, and answers as [`Mapper::map`]. A failure tells which record it was.
fn map_some(
    decoder: Decoder,
    mapper: &mut Mapper<'_, '_>,
    (batch, range): (&Batch, Range<usize>),
    sink: &mut MapSink,
    code: &mut PythonCode,
) -> Result<usize, TaskError> {
    let function = mapper.function();
    let py = function.py();
    let records = decoder.list(py, batch, range.clone()).map_err(|error| unreadable(py, &error))?;
    let mut is_spills = false;
    let mapped = mapper.map(&records, sink, &mut |sink| sink.spill(code).inspect_err(|_| is_spills = true));
    mapped.map_err(|error| {
        // What fails in a spill, such as the combiner, is no record's fault.
        let failure = match error {
            TaskError::User(failure) if !is_spills => failure,
            error => return error,
        };
        let scrap = MapSink::new(sink.resources(), Partitioner::Hash { n_partitions: 1 });
        let mut scrap = scrap.sorting_values(sink.sorts_values());
        let (blamed, failure) = mapper::blame(function, &records, *failure, &mut scrap);
        match (decoder, blamed) {
            (Decoder::Object, _) | (_, None) => failure.into(),
            (decoder, _) if decoder.is_table() => failure.into(),
            (_, Some(i)) => {
                let position = batch.position(range.start + i);
                let record = failure.record.map(|record| format!("{record} ({position})"));
                UserFailure { record, ..failure }.into()
            }
        }
    })
}

/// Calls a function with the values of a group. A failure tells the key.
fn call<'py>(
    function: &Bound<'py, PyAny>,
    group: Group,
    streams: bool,
    name: &str,
) -> Result<Bound<'py, PyAny>, TaskError> {
    let py = function.py();
    let Group { key, hint, values } = group;
    let result = if streams {
        call_with_iterator(function, values, name)
    } else {
        call_with_list(function, values, name)
    };
    result.map_err(|error| match error {
        TaskError::User(failure) => {
            let record = keys::decode(py, &key, &hint).and_then(|key| objects::shorten(&key)).ok();
            UserFailure { record, ..*failure }.into()
        }
        error => error,
    })
}

fn call_with_list<'py>(
    function: &Bound<'py, PyAny>,
    mut values: Runs,
    name: &str,
) -> Result<Bound<'py, PyAny>, TaskError> {
    let py = function.py();
    let _quiet = QuietCollector::new(py);
    let values = list_of(py, &values.collect()?).map_err(|error| unreadable(py, &error))?;
    Ok(function.call1((values,)).map_err(|error| failure::user_exception(py, &error, name))?)
}

/// The collector is not kept quiet: the function may make any number of objects.
fn call_with_iterator<'py>(
    function: &Bound<'py, PyAny>,
    values: Runs,
    name: &str,
) -> Result<Bound<'py, PyAny>, TaskError> {
    let py = function.py();
    let made = Bound::new(py, ValueIterator::new(values));
    let iterator = made.map_err(|error| unreadable(py, &error))?;
    let result = function.call1((&iterator,));
    if let Some(error) = iterator.borrow_mut().end() {
        return Err(error);
    }
    Ok(result.map_err(|error| failure::user_exception(py, &error, name))?)
}

fn unpicklable(result: &Bound<'_, PyAny>, error: &PyErr, name: &str) -> UserFailure {
    let what = format!("{name} returned a {}, which can't be pickled", objects::type_name(result));
    failure::raised(result.py(), error, FailureKind::BadValue, &what)
}

/// What was stored does not decode: damage, or a pickle that does not load.
fn unreadable(py: Python<'_>, error: &PyErr) -> UserFailure {
    let damaged = error.is_instance_of::<StorageError>(py);
    let kind = if damaged { FailureKind::BadData } else { FailureKind::BadValue };
    failure::raised(py, error, kind, "stored records or values can't be read")
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
