//! What a native job is made of: a mapper, a reducer and perhaps a combiner.

use std::{collections::BTreeMap, marker::PhantomData};

use mapreduce_executor::{Runs, TaskError, UserCode, map::MapSink};
use mapreduce_formats::{Batch, CsvRow, Position};

use super::{
    code::guard,
    datum::Datum,
    fold::{Fold, Pairs},
};

/// Why user code can't go on; `?` makes one of any error. It ends the task, and the job, as an exception does in
/// Python.
pub type UserError = Box<dyn std::error::Error + Send + Sync>;

/// What the parts of a job may ask for when they start.
pub struct Context<'a> {
    pub(super) read: &'a dyn Fn(&str) -> Result<Vec<u8>, UserError>,
}

impl Context<'_> {
    /// The content of a side input, which the job was given by [`Job::side_input`](super::Job::side_input).
    pub fn side_input(&self, name: &str) -> Result<Vec<u8>, UserError> {
        (self.read)(name)
    }
}

/// Makes pairs of records. A task works on a clone of its own.
pub trait Mapper: Clone + Send + 'static {
    /// Of the pairs.
    type Key: Datum + 'static;
    /// Of the pairs.
    type Value: Datum + 'static;

    /// Prepares for a job, before anything is mapped: once in each process, not once a task. What is large and made here
    /// belongs into an `Arc`, because tasks work on clones.
    fn start(&mut self, context: &Context<'_>) -> Result<(), UserError> {
        let _ = context;
        Ok(())
    }

    /// Maps one record.
    fn map(
        &mut self,
        record: Record<'_>,
        emit: &mut Emit<'_, Self::Key, Self::Value>,
    ) -> Result<(), UserError>;
}

/// Makes one value of two of the same key, which takes their place: associative, and in the order of the input.
pub trait Combiner<V>: Clone + Send + 'static {
    /// Prepares for a job, as [`Mapper::start`] does.
    fn start(&mut self, context: &Context<'_>) -> Result<(), UserError> {
        let _ = context;
        Ok(())
    }

    /// Adds a value to those before.
    fn combine(&mut self, before: &mut V, value: V);
}

/// Makes results of all values of a key. A task works on a clone of its own.
pub trait Reducer: Clone + Send + 'static {
    /// Of the pairs.
    type Key: Datum;
    /// Of the pairs.
    type Value: Datum;
    /// Of the results.
    type Output: Datum;

    /// Prepares for a job, as [`Mapper::start`] does.
    fn start(&mut self, context: &Context<'_>) -> Result<(), UserError> {
        let _ = context;
        Ok(())
    }

    /// Reduces one key. Values that are not read are skipped.
    fn reduce(
        &mut self,
        key: &Self::Key,
        values: &mut Values<Self::Value>,
        results: &mut Results<'_, Self::Output>,
    ) -> Result<(), UserError>;
}

/// One record of the input.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    batch: &'a Batch,
    index: usize,
    input: usize,
}

impl<'a> Record<'a> {
    pub(super) fn new(batch: &'a Batch, index: usize, input: usize) -> Self {
        Record { batch, index, input }
    }

    /// Which of the job's inputs it is from, counted from 0.
    pub fn input(self) -> usize {
        self.input
    }

    /// Its bytes: a line without its end, a JSON text, a whole file, so many bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.batch.get(self.index)
    }

    /// The same as text.
    pub fn text(self) -> Result<&'a str, UserError> {
        // Quicker than the standard library's, which is asked again to say what is wrong.
        match simdutf8::basic::from_utf8(self.bytes()) {
            Ok(text) => Ok(text),
            Err(_) => Ok(std::str::from_utf8(self.bytes())?),
        }
    }

    /// Its fields, if it is a row of CSV.
    pub fn fields(self) -> Result<CsvRow<'a>, UserError> {
        CsvRow::decode(self.bytes()).ok_or_else(|| "the record is no row of CSV".into())
    }

    /// Where it begins.
    pub fn position(self) -> Position {
        self.batch.position(self.index)
    }
}

/// What user code counts, by name.
#[derive(Debug, Default)]
pub(super) struct Counters(pub(super) BTreeMap<String, i64>);

impl Counters {
    fn add(&mut self, name: &str, n: i64) {
        match self.0.get_mut(name) {
            Some(sum) => *sum = sum.saturating_add(n),
            None => drop(self.0.insert(name.to_owned(), n)),
        }
    }
}

/// Takes pairs.
pub struct Emit<'a, K: Datum, V: Datum> {
    pairs: &'a mut Pairs<V>,
    fold: &'a mut dyn Fold<V>,
    sink: &'a mut MapSink,
    /// Combines what is spilled.
    code: &'a mut dyn UserCode,
    counters: &'a mut Counters,
    /// What kept pairs from being taken: not the mapper's fault, whatever it makes of it.
    error: Option<TaskError>,
    kind: PhantomData<fn(K)>,
}

impl<'a, K: Datum, V: Datum> Emit<'a, K, V> {
    pub(super) fn new(
        pairs: &'a mut Pairs<V>,
        fold: &'a mut dyn Fold<V>,
        sink: &'a mut MapSink,
        counters: &'a mut Counters,
        code: &'a mut dyn UserCode,
    ) -> Self {
        Emit { pairs, fold, sink, code, counters, error: None, kind: PhantomData }
    }

    /// Takes one pair.
    #[inline]
    pub fn emit(&mut self, key: &K::Ref, value: V) {
        if self.sink.wants_pile() {
            return self.pile(key, value.as_ref());
        }
        self.put_key(key);
        self.pairs.values.push(value);
        if self.pairs.are_enough() {
            self.put();
        }
    }

    /// The same with a reference to the value, which for texts and bytes saves a copy unless the job has a combiner.
    #[inline]
    pub fn emit_ref(&mut self, key: &K::Ref, value: &V::Ref) {
        if self.sink.wants_pile() {
            return self.pile(key, value);
        }
        self.put_key(key);
        self.pairs.values.push_ref(value);
        if self.pairs.are_enough() {
            self.put();
        }
    }

    #[inline]
    fn put_key(&mut self, key: &K::Ref) {
        match K::short_key(key) {
            Some(short) => self.pairs.keys.push_short(short),
            None => self.pairs.keys.push(|out| K::put_key(key, out)),
        }
        self.sink.expect(&self.pairs.keys);
    }

    /// Puts one pair into the sink. None are waiting: when the sink begins to want this, it has just got them.
    fn pile(&mut self, key: &K::Ref, value: &V::Ref) {
        if self.error.is_none() {
            self.pairs.pile::<K>(key, value, self.sink);
        }
        if self.pairs.are_enough() {
            self.put();
        }
    }

    /// Puts the pairs that wait into the sink, unless that has failed before: then nothing becomes of them.
    fn put(&mut self) {
        if self.error.is_some() {
            return self.pairs.clear();
        }
        let put = guard("the combiner", || {
            self.fold.put(self.pairs, self.sink);
            self.pairs.piled_bytes = 0;
            if self.sink.is_full() {
                self.fold.flush(self.sink);
            }
            Ok(())
        });
        self.error = put.err().map(TaskError::from);
        if self.error.is_none() && self.sink.is_full() {
            self.error = self.sink.spill(self.code).err();
        }
    }

    /// Whether pairs are no longer taken.
    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    /// Everything has been emitted.
    pub(super) fn finish(mut self) -> Result<(), TaskError> {
        self.put();
        self.error.map_or(Ok(()), Err)
    }

    /// Adds to a counter of the job; see [`Done::counters`](super::Done::counters).
    pub fn count(&mut self, name: &str, n: i64) {
        self.counters.add(name, n);
    }
}

/// The values of one key, in the order of the input or [sorted](super::Job::sort_values), read as they are asked for.
#[derive(Debug)]
pub struct Values<V> {
    runs: Runs,
    /// The run that is being read, and how far.
    run: bytes::Bytes,
    at: usize,
    /// Where a value is decoded that is asked for by reference.
    place: Option<V>,
    /// What kept them from being read on.
    pub(super) error: Option<TaskError>,
}

impl<V: Datum> Values<V> {
    pub(super) fn new(runs: Runs) -> Self {
        Values { runs, run: bytes::Bytes::new(), at: 0, place: None, error: None }
    }

    /// The next value by reference, which for texts and bytes saves a copy. What the iterator gives is the same.
    pub fn next_ref(&mut self) -> Option<&V::Ref> {
        if !self.has_next() {
            return None;
        }
        let mut rest = &self.run[self.at..];
        let value = V::take_ref(&mut rest, &mut self.place);
        match value {
            Some(_) => self.at = self.run.len() - rest.len(),
            None => self.error = Some(super::code::damaged("a value")),
        }
        value
    }

    /// Whether there is another value; then `run` goes on with it.
    fn has_next(&mut self) -> bool {
        while self.at == self.run.len() {
            match self.runs.next_run() {
                Ok(Some(run)) => (self.run, self.at) = (run.bytes, 0),
                Ok(None) => return false,
                Err(error) => {
                    self.error = Some(error);
                    return false;
                }
            }
        }
        true
    }
}

impl<V: Datum> Iterator for Values<V> {
    type Item = V;

    fn next(&mut self) -> Option<V> {
        if !self.has_next() {
            return None;
        }
        let mut rest = &self.run[self.at..];
        let Some(value) = V::take(&mut rest) else {
            self.error = Some(super::code::damaged("a value"));
            return None;
        };
        self.at = self.run.len() - rest.len();
        Some(value)
    }
}

/// Takes results.
pub struct Results<'a, O: Datum> {
    pub(super) push: &'a mut dyn FnMut(&O::Ref),
    pub(super) counters: &'a mut Counters,
}

impl<O: Datum> Results<'_, O> {
    /// Takes one result of the key; there may be any number of them.
    pub fn push(&mut self, result: O) {
        (self.push)(result.as_ref());
    }

    /// The same, of a reference.
    pub fn push_ref(&mut self, result: &O::Ref) {
        (self.push)(result);
    }

    /// Adds to a counter of the job; see [`Done::counters`](super::Done::counters).
    pub fn count(&mut self, name: &str, n: i64) {
        self.counters.add(name, n);
    }
}

/// Adds numbers up; a combiner and a reducer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum<K>(PhantomData<fn(K)>);

impl<K> Sum<K> {
    /// For pairs with keys of this type.
    pub fn new() -> Self {
        Sum(PhantomData)
    }
}

impl<K: Clone + 'static> Combiner<u64> for Sum<K> {
    fn combine(&mut self, before: &mut u64, value: u64) {
        *before += value;
    }
}

impl<K: Datum + Clone + 'static> Reducer for Sum<K> {
    type Key = K;
    type Value = u64;
    type Output = u64;

    fn reduce(
        &mut self,
        _: &K,
        values: &mut Values<u64>,
        results: &mut Results<'_, u64>,
    ) -> Result<(), UserError> {
        results.push(values.sum());
        Ok(())
    }
}
