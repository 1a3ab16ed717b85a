//! User code in Python, behind the engine's seam.

mod bad_pair;
mod collector;
mod failure;
mod iterator;
mod mapper;
mod recent;
mod records;
mod reducer;

use std::{collections::BTreeMap, ops::Range};

use mapreduce_core::{FailureKind, FileFormat, JobSpec};
use mapreduce_executor::{
    Group, Records, SideInputs, TaskError, UserCode, UserFailure,
    map::{MapSink, Partitioner},
    reduce::Merge,
};
use mapreduce_formats::Batch;
use pyo3::prelude::*;

use crate::{
    keys,
    objects::{self, Code, StorageError},
    values,
};
use collector::QuietCollector;
use mapper::Mapper;
use records::{Decoder, Encoder};
use reducer::Reducer;

/// The most records in a call of the map function, and how many pairs they are to become about, unless the job says
/// otherwise: what it makes of them stays in the cache until it is grouped.
const BATCH_SIZE: usize = 200;
const BATCH_PAIRS: usize = 400;

/// A job's functions.
pub struct PythonCode {
    inputs: Vec<PythonInput>,
    combine: Option<Reducer>,
    reduce: Reducer,
    partition: Option<Py<PyAny>>,
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
                combine: combine.map(|function| Reducer::new("combine_func", function, false)),
                reduce: Reducer::new("reduce_func", reduce, streams),
                partition: partition.map(Bound::unbind),
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
                let result = combine.call(py, group)?;
                let encoded = values::encode_repeated(&result, 1, out);
                Ok(encoded.map_err(|error| combine.unpicklable(&result, &error))?)
            }
            None => Err(UserFailure::new(FailureKind::BadCode, "the job has no combiner").into()),
        })
    }

    fn reduce(&mut self, group: Group, out: &mut Vec<u8>) -> Result<u64, TaskError> {
        Python::attach(|py| {
            let result = self.reduce.call(py, group)?;
            values::encode(&result, out).map_err(|error| self.reduce.unpicklable(&result, &error))?;
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
                let result = self.reduce.call(py, group)?;
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

/// What was stored does not decode: damage, or a pickle that does not load.
fn unreadable(py: Python<'_>, error: &PyErr) -> UserFailure {
    let damaged = error.is_instance_of::<StorageError>(py);
    let kind = if damaged { FailureKind::BadData } else { FailureKind::BadValue };
    failure::raised(py, error, kind, "stored records or values can't be read")
}
