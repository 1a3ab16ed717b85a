//! Where emitted values go: combined with those before, as long as they are in memory, or into the sink.

use std::convert::Infallible;

use mapreduce_executor::{
    map::{KeyBatch, MapSink},
    prefetch,
};

use super::{Combiner, Datum};

/// Pairs that are looked up together: enough to keep the memory busy, and few enough to stay in the cache. These are some
/// hundred small ones, since each counts as [`PAIR_BYTES`] more than it is long.
const BYTES_AT_ONCE: usize = 64 << 10;
const PAIR_BYTES: usize = BYTES_AT_ONCE / 128;

/// Pairs that wait to be put into the sink together.
#[derive(Debug)]
pub(super) struct Pairs<V> {
    pub(super) keys: KeyBatch,
    pub(super) values: Waiting<V>,
    /// What was put into the sink without waiting, as if it still did.
    pub(super) piled_bytes: usize,
    /// The pair that is being put there, encoded.
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Values, to be combined or encoded already.
#[derive(Debug)]
pub(super) enum Waiting<V> {
    Whole(Vec<V>),
    /// One behind the other, and where each ends.
    Encoded(Vec<u8>, Vec<usize>),
}

impl<V: Datum> Pairs<V> {
    /// None yet.
    pub(super) fn new(combines: bool) -> Self {
        let values = match combines {
            true => Waiting::Whole(Vec::new()),
            false => Waiting::Encoded(Vec::new(), Vec::new()),
        };
        let (key, value) = (Vec::new(), Vec::new());
        Pairs { keys: KeyBatch::default(), values, piled_bytes: 0, key, value }
    }

    /// Puts one pair into the sink as it is; if values are sorted, with the value behind the key.
    pub(super) fn pile<K: Datum>(&mut self, key: &K::Ref, value: &V::Ref, sink: &mut MapSink) {
        self.key.clear();
        K::put_key(key, &mut self.key);
        if sink.sorts_values() {
            V::put_key(value, &mut self.key);
        }
        self.value.clear();
        V::put(value, &mut self.value);
        let Ok(()) = sink.pile(&self.key, |_| Ok::<(), Infallible>(()), (1, &self.value), None);
        self.piled_bytes += PAIR_BYTES + self.key.len() + self.value.len();
    }

    /// Forgets them.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.values.drain(drop);
        self.piled_bytes = 0;
    }

    /// Whether they are to be put into the sink: few are, if they are large.
    #[inline]
    pub(super) fn are_enough(&self) -> bool {
        let value_bytes = match &self.values {
            // What whole ones take is known when they are encoded.
            Waiting::Whole(_) => 0,
            Waiting::Encoded(bytes, _) => bytes.len(),
        };
        self.piled_bytes + self.keys.len() * PAIR_BYTES + self.keys.long_bytes() + value_bytes
            >= BYTES_AT_ONCE
    }
}

impl<V: Datum> Waiting<V> {
    #[inline]
    pub(super) fn push(&mut self, value: V) {
        match self {
            Waiting::Whole(values) => values.push(value),
            Waiting::Encoded(..) => self.push_ref(value.as_ref()),
        }
    }

    #[inline]
    pub(super) fn push_ref(&mut self, value: &V::Ref) {
        match self {
            Waiting::Whole(values) => values.push(V::from_ref(value)),
            Waiting::Encoded(bytes, ends) => {
                V::put(value, bytes);
                ends.push(bytes.len());
            }
        }
    }

    /// Hands over all of them, and leaves none.
    fn drain(&mut self, mut take: impl FnMut(V)) {
        match self {
            Waiting::Whole(values) => values.drain(..).for_each(take),
            Waiting::Encoded(bytes, ends) => {
                let mut rest = bytes.as_slice();
                while let Some(value) = V::take(&mut rest) {
                    take(value);
                }
                bytes.clear();
                ends.clear();
            }
        }
    }

    /// The same, encoded.
    fn drain_encoded(&mut self, mut take: impl FnMut(&[u8])) {
        match self {
            Waiting::Whole(values) => {
                let mut encoded = Vec::new();
                for value in values.drain(..) {
                    encoded.clear();
                    V::put(value.as_ref(), &mut encoded);
                    take(&encoded);
                }
            }
            Waiting::Encoded(bytes, ends) => {
                let mut start = 0;
                for end in ends.drain(..) {
                    take(&bytes[start..end]);
                    start = end;
                }
                bytes.clear();
            }
        }
    }
}

/// Takes pairs.
pub(super) trait Fold<V> {
    /// Takes these, and leaves none.
    fn put(&mut self, pairs: &mut Pairs<V>, sink: &mut MapSink);
    /// Puts into the sink what is not there yet; its groups are about to be forgotten.
    fn flush(&mut self, sink: &mut MapSink);
}

/// Without a combiner: every value goes into the sink.
#[derive(Debug)]
pub(super) struct Plain;

impl<V: Datum> Fold<V> for Plain {
    fn put(&mut self, pairs: &mut Pairs<V>, sink: &mut MapSink) {
        sink.group_all(&mut pairs.keys, |_| {});
        let mut groups = pairs.keys.groups().iter();
        pairs.values.drain_encoded(|value| {
            // There are as many groups as values.
            if let Some(&group) = groups.next() {
                sink.push(group, 1, value);
            }
        });
        pairs.keys.clear();
    }

    fn flush(&mut self, _: &mut MapSink) {}
}

/// With a combiner: one value a group, in the order of the groups.
#[derive(Debug)]
pub(super) struct Combined<V, C> {
    combiner: C,
    values: Vec<V>,
}

impl<V, C> Combined<V, C> {
    pub(super) fn new(combiner: C) -> Self {
        Combined { combiner, values: Vec::new() }
    }
}

impl<V: Datum, C: Combiner<V>> Fold<V> for Combined<V, C> {
    fn put(&mut self, pairs: &mut Pairs<V>, sink: &mut MapSink) {
        let values = &self.values;
        sink.group_all(&mut pairs.keys, |group| {
            if let Some(value) = values.get(group.index()) {
                prefetch(value);
            }
        });
        let mut groups = pairs.keys.groups().iter();
        pairs.values.drain(|value| match groups.next().map(|group| self.values.get_mut(group.index())) {
            Some(Some(before)) => self.combiner.combine(before, value),
            // Groups are numbered in the order of their first values.
            _ => self.values.push(value),
        });
        pairs.keys.clear();
    }

    fn flush(&mut self, sink: &mut MapSink) {
        let mut encoded = Vec::new();
        for (group, value) in sink.groups().zip(self.values.drain(..)) {
            encoded.clear();
            V::put(value.as_ref(), &mut encoded);
            sink.push(group, 1, &encoded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pairs with such a value are put into the sink at one time.
    fn n_at_once(value: &[u8]) -> usize {
        let mut pairs = Pairs::<Vec<u8>>::new(false);
        while !pairs.are_enough() {
            pairs.keys.push(|out| out.extend_from_slice(b"key"));
            pairs.values.push_ref(value);
        }
        pairs.keys.len()
    }

    #[test]
    fn the_sink_is_asked_after_few_pairs_if_they_are_large() {
        assert!((100..=128).contains(&n_at_once(b"value")));
        assert_eq!(n_at_once(&[0; 5 << 20]), 1);
        assert!(n_at_once(&[0; 10 << 10]) < 8);
    }
}
