//! Native user code behind the engine's seam.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use mapreduce_core::{FailureKind, FileFormat};
use mapreduce_executor::{
    Group, Records, TaskError, UserCode, UserFailure, keys::Pieces, map::MapSink, reduce::Merge,
};
use mapreduce_formats::encode_csv_row;
use mapreduce_storage::StorageError;

use super::{
    Combiner, Context, Datum, Emit, Mapper, Record, Reducer, Results, UserError, Values,
    fold::{Combined, Fold, Pairs, Plain},
    traits::Counters,
};

/// A job's mapper, reducer and perhaps combiner.
pub(super) struct NativeCode<M, C, R> {
    pub(super) mapper: M,
    pub(super) combiner: Option<C>,
    pub(super) reducer: R,
    pub(super) counters: Counters,
}

impl<M, C, R> NativeCode<M, C, R>
where
    M: Mapper,
    C: Combiner<M::Value>,
    R: Reducer<Key = M::Key, Value = M::Value>,
{
    /// Has every part prepare for the job.
    pub(super) fn start(&mut self, context: &Context<'_>) -> Result<(), UserFailure> {
        guard("the mapper's start", || self.mapper.start(context))?;
        guard("the reducer's start", || self.reducer.start(context))?;
        self.combiner
            .as_mut()
            .map_or(Ok(()), |combiner| guard("the combiner's start", || combiner.start(context)))
    }
}

impl<M, C, R> UserCode for NativeCode<M, C, R>
where
    M: Mapper,
    C: Combiner<M::Value>,
    R: Reducer<Key = M::Key, Value = M::Value>,
{
    fn map(&mut self, records: &mut Records, sink: &mut MapSink) -> Result<(), TaskError> {
        let mut mapper = self.mapper.clone();
        match self.combiner.clone() {
            Some(combiner) => self.map_all(&mut mapper, records, sink, &mut Combined::new(combiner)),
            None => self.map_all(&mut mapper, records, sink, &mut Plain),
        }
    }

    fn take_counters(&mut self) -> BTreeMap<String, i64> {
        std::mem::take(&mut self.counters.0)
    }

    fn combines(&self) -> bool {
        self.combiner.is_some()
    }

    fn combine(&mut self, group: Group, out: &mut Vec<u8>) -> Result<(), TaskError> {
        let Some(mut combiner) = self.combiner.clone() else { return Ok(()) };
        let mut values = Values::<M::Value>::new(group.values);
        let combined = guard("the combiner", || {
            Ok(values.next().map(|first| {
                values.by_ref().fold(first, |mut before, value| {
                    combiner.combine(&mut before, value);
                    before
                })
            }))
        })?;
        if let Some(error) = values.error {
            return Err(error);
        }
        if let Some(value) = combined {
            M::Value::put(value.as_ref(), out);
        }
        Ok(())
    }

    fn reduce(&mut self, group: Group, out: &mut Vec<u8>) -> Result<u64, TaskError> {
        let mut n = 0;
        let mut reducer = self.reducer.clone();
        reduce(&mut reducer, group, &mut None, &mut self.counters, &mut |_, result| {
            R::Output::put(result, out);
            n += 1;
            Ok(())
        })?;
        Ok(n)
    }

    fn write(
        &mut self,
        groups: &mut Merge,
        format: &FileFormat,
        write: &mut dyn FnMut(&[u8]) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let mut reducer = self.reducer.clone();
        let (mut record, mut place) = (Vec::new(), None);
        while let Some(group) = groups.next_group()? {
            reduce(&mut reducer, group, &mut place, &mut self.counters, &mut |key, result| {
                record.clear();
                render::<R::Key, R::Output>(key, result, format, &mut record)?;
                write(&record)
            })?;
        }
        Ok(())
    }
}

impl<M: Mapper, C, R> NativeCode<M, C, R>
where
    C: Combiner<M::Value>,
    R: Reducer<Key = M::Key, Value = M::Value>,
{
    fn map_all(
        &mut self,
        mapper: &mut M,
        records: &mut Records,
        sink: &mut MapSink,
        fold: &mut dyn Fold<M::Value>,
    ) -> Result<(), TaskError> {
        let (mut pairs, input) = (Pairs::new(self.combiner.is_some()), records.input());
        // Combiners, which may run meanwhile, don't count.
        let mut counters = std::mem::take(&mut self.counters);
        while let Some(batch) = records.next_batch()? {
            let mut at = 0;
            let mut emit = Emit::new(&mut pairs, fold, sink, &mut counters, self);
            let mapped = guard("the mapper", || {
                while at < batch.len() && !emit.has_failed() {
                    mapper.map(Record::new(&batch, at, input), &mut emit)?;
                    at += 1;
                }
                Ok(())
            });
            emit.finish()?;
            mapped.map_err(|failure| {
                let record = Record::new(&batch, at, input);
                let shown: String = String::from_utf8_lossy(record.bytes()).chars().take(200).collect();
                UserFailure { record: Some(format!("{shown:?} ({})", record.position())), ..failure }
            })?;
        }
        fold.flush(sink);
        self.counters = counters;
        Ok(())
    }
}

/// Takes a result of a key.
type Take<'a, R> =
    dyn FnMut(&<R as Reducer>::Key, &<<R as Reducer>::Output as Datum>::Ref) -> Result<(), TaskError> + 'a;

/// Reduces one group, and hands over its results one after another. Its key is in `place`.
fn reduce<R: Reducer>(
    reducer: &mut R,
    group: Group,
    place: &mut Option<R::Key>,
    counters: &mut Counters,
    take: &mut Take<'_, R>,
) -> Result<(), TaskError> {
    let key = R::Key::take_key_in(&mut Pieces::new(&group.key), place).ok_or_else(|| damaged("a key"))?;
    let mut values = Values::new(group.values);
    let mut taken = Ok(());
    let mut push = |result: &<R::Output as Datum>::Ref| {
        if taken.is_ok() {
            taken = take(key, result);
        }
    };
    let mut results = Results { push: &mut push, counters };
    let reduced = guard("the reducer", || reducer.reduce(key, &mut values, &mut results));
    if let Some(error) = values.error {
        return Err(error);
    }
    taken?;
    Ok(reduced.map_err(|failure| {
        let mut shown = Vec::new();
        R::Key::show(key.as_ref(), &mut shown);
        UserFailure { record: Some(String::from_utf8_lossy(&shown).into_owned()), ..failure }
    })?)
}

/// A result as a record of a file.
fn render<K: Datum, O: Datum>(
    key: &K,
    result: &O::Ref,
    format: &FileFormat,
    out: &mut Vec<u8>,
) -> Result<(), TaskError> {
    let text = |datum: &dyn Fn(&mut Vec<u8>)| {
        let mut text = Vec::new();
        datum(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    match format {
        FileFormat::Text { .. } => {
            if !O::IS_LINE {
                K::show(key.as_ref(), out);
                out.push(b'\t');
            }
            O::show(result, out);
        }
        FileFormat::FixedLength { .. } => O::show(result, out),
        FileFormat::JsonLines => {
            let line = serde_json::json!({ "key": K::to_json(key.as_ref()), "value": O::to_json(result) });
            out.extend_from_slice(line.to_string().as_bytes());
        }
        FileFormat::Csv { .. } => {
            let fields = [text(&|out| K::show(key.as_ref(), out)), text(&|out| O::show(result, out))];
            encode_csv_row(fields.iter().map(String::as_str), out);
        }
        FileFormat::Parquet | FileFormat::WholeFiles => {
            let why = "native jobs write text, JSON Lines, CSV and records of fixed length";
            return Err(UserFailure::new(FailureKind::BadValue, why).into());
        }
    }
    Ok(())
}

/// Calls user code. What it returns as an error, or panics with, is its failure.
pub(super) fn guard<T>(who: &str, call: impl FnOnce() -> Result<T, UserError>) -> Result<T, UserFailure> {
    let failed = |exception: &str, text: String| {
        let what = FailureKind::UserException { exception: exception.to_owned() };
        UserFailure::new(what, format!("{who} failed: {text}"))
    };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failed("error", error.to_string())),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(failed("panic", text.unwrap_or_else(|| "it panicked".to_owned())))
        }
    }
}

/// What was stored is not what was encoded.
pub(super) fn damaged(what: &str) -> TaskError {
    StorageError::Damaged { path: "map output".into(), why: format!("{what} can't be decoded") }.into()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mapreduce_executor::{Resources, map::Partitioner};
    use mapreduce_storage::open;

    use super::*;
    use crate::native::{NoCombiner, Sum};

    #[derive(Clone)]
    struct Nothing;

    impl Mapper for Nothing {
        type Key = String;
        type Value = u64;

        fn map(&mut self, _: Record<'_>, _: &mut Emit<'_, String, u64>) -> Result<(), UserError> {
            Ok(())
        }
    }

    #[derive(Clone)]
    struct Panics;

    impl Combiner<u64> for Panics {
        fn combine(&mut self, _: &mut u64, _: u64) {
            panic!("it was told to");
        }
    }

    /// Emits pairs of these keys in a job whose memory is full at once and that has no local disk.
    fn emit(
        fold: &mut dyn Fold<u64>,
        combines: bool,
        keys: impl Iterator<Item = String>,
    ) -> (Result<(), TaskError>, u64) {
        let nowhere = Path::new("/proc/no such directory").to_owned();
        let resources = Resources::local(open("memory:///").unwrap(), 1, nowhere);
        let mut sink = MapSink::new(&resources, Partitioner::Hash { n_partitions: 1 });
        let (mut pairs, mut counters) = (Pairs::new(combines), Counters::default());
        let mut code = NativeCode {
            mapper: Nothing,
            combiner: None::<NoCombiner>,
            reducer: Sum::<String>::new(),
            counters: Counters::default(),
        };
        let mut emit: Emit<'_, String, u64> =
            Emit::new(&mut pairs, fold, &mut sink, &mut counters, &mut code);
        for key in keys {
            emit.emit(&key, 1);
        }
        (emit.finish(), sink.n_values())
    }

    #[test]
    fn no_more_pairs_are_taken_when_they_could_not_be_spilled() {
        let (failed, n_values) = emit(&mut Plain, false, (0..10_000).map(|n| format!("word {n}")));
        assert!(matches!(failed, Err(TaskError::Scratch { .. })), "{failed:?}");
        assert!(n_values < 1000, "{n_values} values are in memory");
    }

    /// Among the last pairs, which are combined when the mapper has returned.
    #[test]
    fn a_combiner_that_panics_is_told() {
        let fold = &mut Combined::new(Panics);
        let (failed, _) = emit(fold, true, ["same", "same"].map(str::to_owned).into_iter());
        let why = failed.unwrap_err().to_string();
        assert!(why.contains("the combiner failed: it was told to"), "{why}");
    }
}
