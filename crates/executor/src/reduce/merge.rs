//! Merges sorted inputs into groups.

use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use mapreduce_storage::{FileRef, StorageError};

use super::heads::Heads;
use crate::{
    Group, Resources, Runs, TaskError, Values, keys,
    shuffle::{BLOCK_BYTES, Entries, FileWriter, Spilled},
};

/// How much of an input is read at a time, at least and at most.
const PART_BYTES_MIN: usize = 256 << 10;
const PART_BYTES_MAX: usize = 4 << 20;
/// What an input holds in memory: a part of what is stored, and a block that is decoded, or two.
const INPUT_BYTES: usize = PART_BYTES_MIN + 2 * BLOCK_BYTES;
/// Inputs that are merged at one time, however small the memory or large.
const INPUTS_MIN: usize = 2;
const INPUTS_MAX: usize = 1000;
/// Files that are opened at one time.
const FETCHES_AT_ONCE: usize = 16;

/// Of a key that is followed by its value.
const NOT_A_KEY: &str = "what should be a key with its value does not begin with a key";

/// How many inputs can be merged at one time within `memory_bytes`, and how much of each is read at a time.
pub fn fan_in(memory_bytes: usize, n_inputs: usize) -> (usize, u64) {
    let n = (memory_bytes / INPUT_BYTES).clamp(INPUTS_MIN, INPUTS_MAX);
    let each = memory_bytes / n_inputs.clamp(1, n) / 2;
    (n, each.clamp(PART_BYTES_MIN, PART_BYTES_MAX) as u64)
}

/// Merges partitions, sorted by key, into one sequence of groups. Values of equal keys follow each other in the
/// order of the inputs, and the first input with a key gives the hint: so a result does not depend on timing.
///
/// A group is handed out with its first values; the rest is read when it is asked for, so it may be larger than
/// memory.
#[derive(Debug)]
pub struct Merge(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    heads: Heads,
    sorts_values: bool,
    /// The group that was handed out last, counted from 1, and its key with its [prefix](keys::prefix).
    group: u64,
    key: Vec<u8>,
    prefix: u64,
    /// Its values that were taken off the heads already.
    taken: Option<Values>,
    /// Values that were taken off the heads.
    n_taken: u64,
}

impl Merge {
    /// Merges what `fetch` opens of `files`, in this order; it is told how much of each to read at a time. An open file
    /// holds its first part in memory: so no more are open than can be merged, and if there are more, each such lot is
    /// merged to the local disk before the next is opened.
    pub(crate) fn fetching<'f, F, I>(
        files: &[&'f FileRef],
        resources: &Resources,
        fetch: impl Fn(&'f FileRef, u64) -> F,
    ) -> Result<Self, TaskError>
    where
        F: Future<Output = Result<I, StorageError>>,
        I: IntoIterator<Item = Entries>,
    {
        let (most, part_bytes) = fan_in(resources.memory_bytes, files.len());
        let open = |some: &[&'f FileRef]| {
            let fetches = some.iter().map(|file| fetch(file, part_bytes));
            let opened = futures::stream::iter(fetches).buffered(FETCHES_AT_ONCE).try_collect();
            let opened: Vec<I> = resources.wait(opened)?;
            Merge::new(opened.into_iter().flatten().collect(), resources)
        };
        if files.len() <= most {
            return open(files);
        }
        let spill = |some| Ok(open(some)?.spill(resources)?.partition(resources, 0, part_bytes));
        Merge::new(files.chunks(most).map(spill).collect::<Result<_, TaskError>>()?, resources)
    }

    /// Merges `inputs`, in this order, which are on the local disk, or fit into the memory. If they are too many for
    /// that, they are merged to fewer first.
    pub fn new(mut inputs: Vec<Entries>, resources: &Resources) -> Result<Self, TaskError> {
        let (most, part_bytes) = fan_in(resources.memory_bytes, inputs.len());
        while inputs.len() > most {
            let mut fewer = Vec::with_capacity(inputs.len().div_ceil(most));
            let mut rest = inputs.into_iter().peekable();
            while rest.peek().is_some() {
                let some = Merge::of(rest.by_ref().take(most).collect())?;
                fewer.push(some.spill(resources)?.partition(resources, 0, part_bytes));
            }
            inputs = fewer;
        }
        Merge::of(inputs)
    }

    fn of(inputs: Vec<Entries>) -> Result<Self, TaskError> {
        let heads = Heads::new(inputs)?;
        let (key, taken) = (Vec::new(), None);
        let state = State { heads, sorts_values: false, group: 0, key, prefix: 0, taken, n_taken: 0 };
        Ok(Merge(Arc::new(Mutex::new(state))))
    }

    /// The same where every key is [followed by its value](crate::map::MapSink::sorting_values), or not. If so, a group
    /// is of the key alone, and its values are in order; the smallest gives the hint.
    pub fn sorting_values(self, sorts_values: bool) -> Self {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sorts_values = sorts_values;
        self
    }

    /// The next group; none after the last. What nobody took of the one before is skipped.
    pub fn next_group(&mut self) -> Result<Option<Group>, TaskError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while state.next_values()?.is_some() {}
        let Some(first) = state.heads.first() else { return Ok(None) };
        let (mut key, hint) = first.key_and_hint();
        if state.sorts_values {
            let length = keys::first_length(&key).ok_or_else(|| damaged(first.path(), NOT_A_KEY))?;
            key.truncate(length);
        }
        let values = state.take_values()?;
        state.group += 1;
        state.key.clear();
        state.key.extend_from_slice(&key);
        state.prefix = keys::prefix(&key);
        if !state.group_goes_on() {
            // Most keys come but once in many a job: what is shared costs more than what is read.
            return Ok(Some(Group { key, hint, values: Runs::one(values) }));
        }
        state.taken = Some(values);
        let rest = Rest { state: self.0.clone(), group: state.group };
        Ok(Some(Group { key, hint, values: Runs::merged(rest) }))
    }

    /// How many values there were in the groups before the current one, and in that as far as it was read; or all of it,
    /// if it is in memory.
    pub fn n_values(&self) -> u64 {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.n_taken - state.taken.as_ref().map_or(0, |values| values.count)
    }

    /// Writes all of it to the local disk, as one partition.
    fn spill(mut self, resources: &Resources) -> Result<crate::shuffle::Run, TaskError> {
        let mut file = FileWriter::new(Spilled::new(resources)?);
        while let Some(mut group) = self.next_group()? {
            while let Some(Values { count, bytes }) = group.values.next_run()? {
                file.push(&group.key, &group.hint, count, &bytes)?;
            }
        }
        file.end_partition()?;
        Ok(file.into_run())
    }
}

/// The values of a group that nobody has asked for yet.
#[derive(Debug)]
pub struct Rest {
    state: Arc<Mutex<State>>,
    group: u64,
}

impl Rest {
    /// The next ones; none after the last, and none when the merge has gone on to the next group.
    pub(crate) fn next_run(&mut self) -> Result<Option<Values>, TaskError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.group == self.group { state.next_values() } else { Ok(None) }
    }
}

impl State {
    /// Whether the smallest key's first entry is of the current group.
    fn group_goes_on(&self) -> bool {
        let is_of_group = |first: &Entries| match self.sorts_values {
            true => keys::is_first(&self.key, first.key()),
            false => first.prefix() == self.prefix && first.key() == self.key,
        };
        self.group > 0 && self.heads.first().is_some_and(is_of_group)
    }

    /// The next values of the current group.
    fn next_values(&mut self) -> Result<Option<Values>, TaskError> {
        match self.taken.take() {
            None if self.group_goes_on() => self.take_values().map(Some),
            taken => Ok(taken),
        }
    }

    /// Takes the values of the smallest key's first entry off the heads; none if all are at their end.
    fn take_values(&mut self) -> Result<Values, TaskError> {
        let Some(first) = self.heads.first() else { return Ok(Values::default()) };
        let values = first.values();
        let n_taken = self.n_taken.checked_add(values.count);
        self.n_taken = n_taken.ok_or_else(|| damaged(first.path(), "more values than can be counted"))?;
        self.heads.advance()?;
        Ok(values)
    }
}

fn damaged(path: &str, why: &str) -> TaskError {
    StorageError::Damaged { path: path.to_owned(), why: why.to_owned() }.into()
}
