//! The records of one split, of whichever input, wherever they are.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use mapreduce_core::{Content, InputDescription, JobId};
use mapreduce_formats::{BATCH_BYTES, Batch, SplitReader};
use mapreduce_storage::splits::read_split;

use crate::{Resources, TaskError, results, shuffle::Entries, varint};

/// The records of one split, in order, a batch at a time.
pub struct Records {
    source: Source,
    input: usize,
    n_records: u64,
    /// Batches that may still come.
    batches_left: u64,
}

enum Source {
    Uploaded(Option<Batch>),
    Files(SplitReader),
    Result(Entries, u64),
}

impl Records {
    /// Those that the map task `index` reads; none if there is no such task. `contents` are the objects that are in
    /// the job's specification.
    pub(crate) fn of(
        inputs: &[InputDescription],
        job: JobId,
        index: u32,
        contents: &BTreeMap<String, Content>,
        resources: &Resources,
    ) -> Result<Option<Records>, TaskError> {
        let Some((input, index)) = InputDescription::locate(inputs, index) else { return Ok(None) };
        let source = match &inputs[input] {
            InputDescription::Uploaded { splits } => {
                let Some(split) = splits.get(index as usize) else { return Ok(None) };
                let records = resources.wait(read_split(&resources.store, job, split, contents))?;
                Source::Uploaded(Some(Batch::of_uploaded(
                    Arc::from(split.object.as_str()),
                    split.first_record,
                    records.into_parts(),
                )))
            }
            InputDescription::Files { format, files, splits } => {
                let Some(ranges) = splits.get(index as usize) else { return Ok(None) };
                let record_bytes_max = u32::try_from(resources.memory_bytes).unwrap_or(u32::MAX);
                Source::Files(mapreduce_formats::read(format, files, ranges, record_bytes_max)?)
            }
            InputDescription::Result { of, .. } => {
                let Some(entries) = results::partition(resources, *of, index)? else { return Ok(None) };
                Source::Result(entries, 0)
            }
        };
        Ok(Some(Records { source, input, n_records: 0, batches_left: u64::MAX }))
    }

    /// The next records; none after the last.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, TaskError> {
        if self.batches_left == 0 {
            return Ok(None);
        }
        self.batches_left -= 1;
        let batch = match &mut self.source {
            Source::Uploaded(batch) => batch.take(),
            Source::Files(reader) => reader.next_batch()?,
            Source::Result(entries, first) => next_pairs(entries, first)?,
        };
        self.n_records += batch.as_ref().map_or(0, |batch| batch.len() as u64);
        Ok(batch)
    }

    /// Lets only one more batch come.
    pub(crate) fn end_after_batch(&mut self) {
        self.batches_left = 1;
    }

    /// Which of the job's inputs they are from, counted from 0.
    pub fn input(&self) -> usize {
        self.input
    }

    /// How many have come so far.
    pub fn n_records(&self) -> u64 {
        self.n_records
    }
}

/// The next pairs of an earlier job's result, as records that [`pair`] takes apart.
fn next_pairs(entries: &mut Entries, first: &mut u64) -> Result<Option<Batch>, TaskError> {
    let (mut bytes, mut records) = (Vec::new(), Vec::new());
    while bytes.len() < BATCH_BYTES && entries.advance()? {
        let start = bytes.len() as u32;
        for part in [entries.key(), entries.hint()] {
            varint::put(&mut bytes, part.len() as u64);
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&entries.values().bytes);
        records.push((start, bytes.len() as u32));
    }
    if records.is_empty() {
        return Ok(None);
    }
    let n = records.len() as u64;
    let batch = Batch::of_uploaded(Arc::from(entries.path()), *first, (bytes, records));
    *first += n;
    Ok(Some(batch))
}

/// Where key, hint and value are in a record that is a pair of an earlier job's result; none if it is damaged.
pub fn pair(record: &[u8]) -> Option<[Range<usize>; 3]> {
    let mut rest = record;
    let mut part = || {
        let length = usize::try_from(varint::take(&mut rest)?).ok()?;
        let start = record.len() - rest.len();
        rest = rest.get(length..)?;
        Some(start..start + length)
    };
    let (key, hint) = (part()?, part()?);
    Some([key, hint.clone(), hint.end..record.len()])
}
