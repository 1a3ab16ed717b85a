//! Calling the map function, and taking the pairs it returns into the sink. This is the system's hottest loop: a
//! pair that repeats a key object and a value object costs a few nanoseconds.

use mapreduce_core::FailureKind;
use mapreduce_executor::{
    TaskError, UserFailure,
    keys::tag,
    map::{GroupId, KeyBatch, MapSink},
    prefetch,
};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString, PyTuple},
};

use super::{
    QuietCollector,
    bad_pair::{bad_key, bad_value, no_pairs, not_a_pair, unsortable},
    failure,
    recent::{RecentKeys, is_shared},
};
use crate::{
    keys::{self, Origin},
    objects, values,
};

/// When pairs of so many bytes have been taken, it is looked again whether the sink is full. These are some thousand small
/// ones, since each counts as [`PAIR_BYTES`] more than it is long.
const BYTES_BETWEEN_LOOKS: usize = 64 << 10;
const PAIR_BYTES: usize = BYTES_BETWEEN_LOOKS / 1024;
/// Values that the sink has not seen may take so much before they are put into it.
const PENDING_BYTES: usize = 1 << 20;
/// Keys that are longer are looked up each time.
const RECENT_KEY_BYTES: usize = 1 << 10;

/// Maps one split.
pub struct Mapper<'a, 'py> {
    function: &'a Bound<'py, PyAny>,
    /// The user's partitioner, if there is one.
    partition: Option<Bound<'py, PyAny>>,
    recent: RecentKeys<'py>,
    waiting: Waiting<'py>,
    /// For every group the value that came last, and how often, which is not in the sink yet.
    pending: Vec<Pending<'py>>,
    /// What values took that became pending; those that are small, and as many as groups, don't count.
    pending_bytes: usize,
    /// What was taken since it was looked whether the sink is full, and how many pairs were of keys that needed no look.
    taken_bytes: usize,
    n_recent: usize,
    /// The key that is being looked up, and the value that is being put into the sink, encoded.
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Pairs whose keys are to be looked up together, which is quicker. They came after all that was taken; keys and values
/// are of kinds that can't change meanwhile.
#[derive(Default)]
struct Waiting<'py> {
    keys: KeyBatch,
    /// The values, each with how many pairs in a row have it. Their tuples, and most often the keys, can go while they are
    /// still in the cache; an iterator such as `zip` then fills the same tuple again.
    values: Vec<(Bound<'py, PyAny>, usize)>,
    /// Keys of which more is wanted than their bytes.
    objects: Vec<KeyObject<'py>>,
}

struct KeyObject<'py> {
    /// Whose key it is, of the pairs that wait.
    nth: usize,
    key: Bound<'py, PyAny>,
    /// Whether it may come again as the same object.
    is_shared: bool,
}

impl Waiting<'_> {
    /// Enough to keep the memory busy, and few enough to stay in the cache.
    fn are_enough(&self) -> bool {
        self.keys.len() >= 128 || self.keys.long_bytes() >= BYTES_BETWEEN_LOOKS
    }
}

#[derive(Default)]
struct Pending<'py> {
    value: Option<Bound<'py, PyAny>>,
    n: u64,
}

impl<'a, 'py> Mapper<'a, 'py> {
    pub fn new(function: &'a Bound<'py, PyAny>, partition: Option<Bound<'py, PyAny>>) -> Self {
        let (recent, waiting, pending) = (RecentKeys::new(), Waiting::default(), Vec::new());
        let (pending_bytes, taken_bytes, n_recent) = (0, 0, 0);
        let (key, value) = (Vec::new(), Vec::new());
        Mapper {
            function,
            partition,
            recent,
            waiting,
            pending,
            pending_bytes,
            taken_bytes,
            n_recent,
            key,
            value,
        }
    }

    /// The map function.
    pub fn function(&self) -> &'a Bound<'py, PyAny> {
        self.function
    }

    /// Maps some records; answers how many pairs were in memory at the same time. When the sink is full, `empty` is to
    /// empty it: in the middle of a batch, too, since one record may become any number of pairs.
    pub fn map(
        &mut self,
        records: &Bound<'py, PyList>,
        sink: &mut MapSink,
        empty: &mut dyn FnMut(&mut MapSink) -> Result<(), TaskError>,
    ) -> Result<usize, TaskError> {
        let py = self.function.py();
        let _quiet = QuietCollector::new(py);
        let pairs = self.function.call1((records,)).map_err(|error| user_exception(py, &error))?;
        self.take_all(&pairs, sink, empty)?;
        Ok(pairs.cast_exact::<PyList>().map_or(1, |list| list.len()))
    }

    /// Puts what is pending into the sink, and forgets the sink's groups.
    pub fn flush(&mut self, sink: &mut MapSink) -> Result<(), UserFailure> {
        self.put_pending(sink)?;
        self.pending = Vec::new();
        self.recent = RecentKeys::new();
        Ok(())
    }

    fn put_pending(&mut self, sink: &mut MapSink) -> Result<(), UserFailure> {
        self.pending_bytes = 0;
        for (n, group) in (0..self.pending.len()).zip(sink.groups()) {
            let Pending { value, n } = std::mem::take(&mut self.pending[n]);
            if let Some(value) = value {
                self.put(group, &value, n, sink)?;
            }
        }
        Ok(())
    }

    fn take_all(
        &mut self,
        pairs: &Bound<'py, PyAny>,
        sink: &mut MapSink,
        empty: &mut dyn FnMut(&mut MapSink) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let py = pairs.py();
        let mut take = |pair: Bound<'py, PyAny>| {
            self.take(pair, sink)?;
            self.taken_bytes += PAIR_BYTES;
            if self.taken_bytes >= BYTES_BETWEEN_LOOKS {
                self.look(sink, empty)
            } else {
                Ok::<(), TaskError>(())
            }
        };
        let taken = if let Ok(list) = pairs.cast_exact::<PyList>() {
            list.iter().try_for_each(take)
        } else if pairs.is_none() || pairs.is_instance_of::<PyString>() || pairs.is_instance_of::<PyDict>() {
            return Err(no_pairs(pairs).into());
        } else {
            // A generator runs the user's code here.
            let mut pairs = pairs.try_iter().map_err(|_| no_pairs(pairs))?;
            pairs.try_for_each(|pair| take(pair.map_err(|error| user_exception(py, &error))?))
        };
        // Those before a bad one come first: they may be bad themselves.
        self.settle(sink)?;
        taken?;
        self.look(sink, empty)
    }

    /// Looks whether the sink is full, and if so has it emptied.
    fn look(
        &mut self,
        sink: &mut MapSink,
        empty: &mut dyn FnMut(&mut MapSink) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        self.settle(sink)?;
        self.taken_bytes = 0;
        sink.count_known(std::mem::take(&mut self.n_recent));
        if self.pending_bytes > PENDING_BYTES {
            self.put_pending(sink)?;
        }
        if sink.is_full() {
            self.flush(sink)?;
            empty(sink)?;
        }
        Ok(())
    }

    fn take(&mut self, pair: Bound<'py, PyAny>, sink: &mut MapSink) -> Result<(), UserFailure> {
        match pair.cast_into::<PyTuple>() {
            Ok(tuple) => self.emit(tuple, sink),
            Err(error) => self.take_list(&error.into_inner(), sink),
        }
    }

    #[cold]
    fn take_list(&mut self, thing: &Bound<'py, PyAny>, sink: &mut MapSink) -> Result<(), UserFailure> {
        match thing.cast::<PyList>() {
            Ok(list) if list.len() == 2 => self.emit(list.to_tuple(), sink),
            _ => Err(not_a_pair(thing)),
        }
    }

    #[inline]
    fn emit(&mut self, pair: Bound<'py, PyTuple>, sink: &mut MapSink) -> Result<(), UserFailure> {
        let [key, value] = pair.as_slice() else { return Err(not_a_pair(&pair)) };
        let is_shared = self.recent.are_worth_it() && is_shared(key);
        // Most pairs: a short text with the very value of the one that waits before it, which can't change.
        if self.waiting.values.last().is_some_and(|(last, _)| last.is(value))
            && let Some((_, Some(short))) = keys::text(key)
        {
            self.waiting.keys.push_short(short);
            return self.wait(key, value, is_shared, sink);
        }
        if self.waiting.keys.is_empty() {
            // Also if its group is known: an equal key may be in the pile already, with an earlier value.
            if sink.wants_pile() {
                return self.pile(key, value, sink);
            }
            if is_shared && let Some(group) = self.recent.get(key) {
                self.n_recent += 1;
                return self.add(group, value, sink);
            }
        }
        if values::is_atom(value)
            && let Some((text, short)) = keys::text(key)
        {
            match short {
                Some(short) => self.waiting.keys.push_short(short),
                None => self.waiting.keys.push_bytes(tag::TEXT, text.as_bytes()),
            }
            return self.wait(key, value, is_shared, sink);
        }
        self.emit_other(key, value, is_shared, sink)
    }

    /// Takes a pair whose key is no text, or whose value may change.
    #[inline(never)]
    fn emit_other(
        &mut self,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        is_shared: bool,
        sink: &mut MapSink,
    ) -> Result<(), UserFailure> {
        let encoded = self.waiting.keys.push(|out| keys::encode(key, out));
        if values::is_atom(value) && matches!(encoded, Ok(Origin::Canonical)) {
            return self.wait(key, value, is_shared, sink);
        }
        self.key.clear();
        self.waiting.keys.pop(&mut self.key);
        self.settle(sink)?;
        let origin = encoded.map_err(|error| bad_key(key, &error))?;
        if sink.wants_pile() {
            return self.pile(key, value, sink);
        }
        let put_hint = |hint: &mut Vec<u8>| keys::put_hint(key, origin, hint);
        let group = sink.group(&self.key, put_hint).map_err(|error| bad_key(key, &error))?;
        self.taken_bytes += self.key.len();
        self.meet(group, key, sink)?;
        if is_shared {
            self.remember(key, self.key.len(), group);
        }
        self.add(group, value, sink)
    }

    /// Has a pair wait whose key has just joined those that are to be looked up.
    #[inline(always)]
    fn wait(
        &mut self,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        is_shared: bool,
        sink: &mut MapSink,
    ) -> Result<(), UserFailure> {
        if is_shared || self.partition.is_some() {
            let nth = self.waiting.keys.len() - 1;
            self.waiting.objects.push(KeyObject { nth, key: key.clone(), is_shared });
        }
        match self.waiting.values.last_mut() {
            Some((last, n)) if last.is(value) => *n += 1,
            _ => {
                self.taken_bytes += large(value);
                self.waiting.values.push((value.clone(), 1));
            }
        }
        sink.expect(&self.waiting.keys);
        if self.waiting.are_enough() { self.settle(sink) } else { Ok(()) }
    }

    /// Looks up the keys of the pairs that wait, and takes these.
    #[inline(never)]
    fn settle(&mut self, sink: &mut MapSink) -> Result<(), UserFailure> {
        if self.waiting.keys.is_empty() {
            return Ok(());
        }
        let Waiting { mut keys, mut values, mut objects } = std::mem::take(&mut self.waiting);
        sink.group_all(&mut keys, |group| {
            if let Some(pending) = self.pending.get(group.index()) {
                prefetch(pending);
            }
        });
        self.taken_bytes += keys.lengths().sum::<usize>();
        if self.partition.is_none() {
            self.pending.resize_with(sink.groups().len(), Pending::default);
        }
        for KeyObject { nth, key, is_shared } in objects.drain(..) {
            let group = keys.groups()[nth];
            self.meet(group, &key, sink)?;
            if is_shared {
                self.remember(&key, keys.length(nth), group);
            }
        }
        let mut groups = keys.groups();
        for (value, n) in values.drain(..) {
            let (having, others) = groups.split_at(n);
            for &group in having {
                self.add(group, &value, sink)?;
            }
            groups = others;
        }
        keys.clear();
        self.waiting = Waiting { keys, values, objects };
        Ok(())
    }

    /// A key has been found to be of this group, which may be new.
    fn meet(
        &mut self,
        group: GroupId,
        key: &Bound<'py, PyAny>,
        sink: &mut MapSink,
    ) -> Result<(), UserFailure> {
        // Groups are numbered in the order of their first pairs.
        if group.index() == self.pending.len() {
            self.pending.push(Pending::default());
            if let Some(function) = &self.partition {
                sink.set_partition(group, partition(function, key, sink.n_partitions())?);
            }
        }
        Ok(())
    }

    /// Knows the key when it comes again.
    fn remember(&mut self, key: &Bound<'py, PyAny>, n_bytes: usize, group: GroupId) {
        if n_bytes <= RECENT_KEY_BYTES && values::is_atom(key) {
            self.recent.put(key, group);
        }
    }

    /// Takes a value of a group.
    #[inline(always)]
    fn add(
        &mut self,
        group: GroupId,
        value: &Bound<'py, PyAny>,
        sink: &mut MapSink,
    ) -> Result<(), UserFailure> {
        let pending = &mut self.pending[group.index()];
        match &pending.value {
            Some(last) if last.is(value) => {
                pending.n += 1;
                Ok(())
            }
            _ => self.change(group, value, sink),
        }
    }

    /// Takes a pair of whose key there is no group yet, most probably.
    #[inline(never)]
    fn pile(
        &mut self,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        sink: &mut MapSink,
    ) -> Result<(), UserFailure> {
        self.key.clear();
        let origin = keys::encode(key, &mut self.key).map_err(|error| bad_key(key, &error))?;
        if sink.sorts_values() {
            keys::encode_sortable(value, &mut self.key).map_err(|error| unsortable(value, &error))?;
        }
        self.value.clear();
        values::encode(value, &mut self.value).map_err(|error| bad_value(value, &error))?;
        self.taken_bytes += self.key.len() + self.value.len();
        let partition = match &self.partition {
            Some(function) => Some(partition(function, key, sink.n_partitions())?),
            None => None,
        };
        let put_hint = |hint: &mut Vec<u8>| keys::put_hint(key, origin, hint);
        sink.pile(&self.key, put_hint, (1, &self.value), partition).map_err(|error| bad_key(key, &error))
    }

    /// Takes another value than the group's last one.
    fn change(
        &mut self,
        group: GroupId,
        value: &Bound<'py, PyAny>,
        sink: &mut MapSink,
    ) -> Result<(), UserFailure> {
        let pending = std::mem::take(&mut self.pending[group.index()]);
        if let Some(last) = pending.value {
            self.put(group, &last, pending.n, sink)?;
        }
        if values::is_atom(value) {
            let bytes = large(value);
            self.pending_bytes += bytes;
            self.taken_bytes += bytes;
            self.pending[group.index()] = Pending { value: Some(value.clone()), n: 1 };
            return Ok(());
        }
        // It may change after this, so it is encoded now.
        self.put(group, value, 1, sink)
    }

    fn put(
        &mut self,
        group: GroupId,
        value: &Bound<'py, PyAny>,
        n: u64,
        sink: &mut MapSink,
    ) -> Result<(), UserFailure> {
        self.value.clear();
        values::encode_repeated(value, n, &mut self.value).map_err(|error| bad_value(value, &error))?;
        self.taken_bytes += self.value.len();
        sink.push(group, n, &self.value);
        Ok(())
    }
}

/// What a text or bytes take, about, if that is much; of other values it is 0.
fn large(value: &Bound<'_, PyAny>) -> usize {
    let sized = value.is_exact_instance_of::<PyString>() || value.is_exact_instance_of::<PyBytes>();
    let length = if sized { value.len().unwrap_or(0) } else { 0 };
    if length > 4096 { length } else { 0 }
}

/// Asks the user's partitioner.
fn partition(function: &Bound<'_, PyAny>, key: &Bound<'_, PyAny>, n: u32) -> Result<u32, UserFailure> {
    let py = key.py();
    let failed = |error: &PyErr| failure::user_exception(py, error, "partition_func");
    let partition: i64 =
        function.call1((key, n)).and_then(|partition| partition.extract()).map_err(|e| failed(&e))?;
    u32::try_from(partition).ok().filter(|partition| *partition < n).ok_or_else(|| {
        let why = format!("partition_func returned {partition}, which is none of 0 to {}", n - 1);
        UserFailure::new(FailureKind::BadKey, why)
    })
}

/// Finds the record of a failed batch that fails alone, by mapping them one by one; tells which, and its failure.
/// User functions may have side effects more than once, by contract. What they emit goes to `scrap`.
pub fn blame(
    function: &Bound<'_, PyAny>,
    records: &Bound<'_, PyList>,
    failure: UserFailure,
    scrap: &mut MapSink,
) -> (Option<usize>, UserFailure) {
    if failure.what == FailureKind::OutOfMemory {
        return (None, failure);
    }
    for (i, record) in records.iter().enumerate() {
        let alone = match PyList::new(function.py(), [&record]) {
            Ok(one) if records.len() > 1 => {
                let mut mapper = Mapper::new(function, None);
                let mut forget = |scrap: &mut MapSink| {
                    scrap.clear();
                    Ok(())
                };
                let mapped = mapper.map(&one, scrap, &mut forget);
                let flushed = mapped.and_then(|_| mapper.flush(scrap).map_err(TaskError::from));
                scrap.clear();
                flushed.map_err(|error| match error {
                    TaskError::User(alone) => *alone,
                    _ => failure.clone(),
                })
            }
            _ => Err(failure.clone()),
        };
        if let Err(alone) = alone {
            return (Some(i), UserFailure { record: objects::shorten(&record).ok(), ..alone });
        }
    }
    (None, failure)
}

fn user_exception(py: Python<'_>, error: &PyErr) -> UserFailure {
    failure::user_exception(py, error, "map_func")
}
