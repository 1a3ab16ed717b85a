//! Where emitted values go: combined with those before, as long as they are in memory, or into the sink.

use std::convert::Infallible;

use mapreduce_executor::map::{KeyBatch, MapSink};

use super::{Combiner, Datum};

/// Pairs that wait to be put into the sink together.
#[derive(Debug)]
pub(super) struct Pairs<V> {
    pub(super) keys: KeyBatch,
    pub(super) values: Vec<V>,
}

impl<V> Pairs<V> {
    pub(super) fn new() -> Self {
        Pairs { keys: KeyBatch::default(), values: Vec::new() }
    }
}

/// Takes pairs.
pub(super) trait Fold<V> {
    /// Takes these, and leaves none.
    fn put(&mut self, pairs: &mut Pairs<V>, sink: &mut MapSink);
    /// Puts into the sink what is not there yet; its groups are about to be forgotten.
    fn flush(&mut self, sink: &mut MapSink);
}

/// Puts pairs into the sink as they are.
fn pile<V: Datum>(pairs: &mut Pairs<V>, encoded: &mut Vec<u8>, sink: &mut MapSink) {
    for (key, value) in pairs.keys.iter().zip(&pairs.values) {
        encoded.clear();
        V::put(value.as_ref(), encoded);
        let Ok(()) = sink.pile(key, |_| Ok::<(), Infallible>(()), (1, encoded), None);
    }
    pairs.keys.clear();
    pairs.values.clear();
}

/// Without a combiner: every value goes into the sink.
#[derive(Debug, Default)]
pub(super) struct Plain {
    encoded: Vec<u8>,
}

impl<V: Datum> Fold<V> for Plain {
    fn put(&mut self, pairs: &mut Pairs<V>, sink: &mut MapSink) {
        if sink.wants_pile() {
            return pile(pairs, &mut self.encoded, sink);
        }
        sink.group_all(&mut pairs.keys);
        for (&group, value) in pairs.keys.groups().iter().zip(pairs.values.drain(..)) {
            self.encoded.clear();
            V::put(value.as_ref(), &mut self.encoded);
            sink.push(group, 1, &self.encoded);
        }
        pairs.keys.clear();
    }

    fn flush(&mut self, _: &mut MapSink) {}
}

/// With a combiner: one value a group, in the order of the groups.
#[derive(Debug)]
pub(super) struct Combined<V, C> {
    combiner: C,
    values: Vec<V>,
    encoded: Vec<u8>,
}

impl<V, C> Combined<V, C> {
    pub(super) fn new(combiner: C) -> Self {
        Combined { combiner, values: Vec::new(), encoded: Vec::new() }
    }
}

impl<V: Datum, C: Combiner<V>> Fold<V> for Combined<V, C> {
    fn put(&mut self, pairs: &mut Pairs<V>, sink: &mut MapSink) {
        if sink.wants_pile() {
            return pile(pairs, &mut self.encoded, sink);
        }
        sink.group_all(&mut pairs.keys);
        for (group, value) in pairs.keys.groups().iter().zip(pairs.values.drain(..)) {
            match self.values.get_mut(group.index()) {
                Some(before) => self.combiner.combine(before, value),
                // Groups are numbered in the order of their first values.
                None => self.values.push(value),
            }
        }
        pairs.keys.clear();
    }

    fn flush(&mut self, sink: &mut MapSink) {
        for (group, value) in sink.groups().zip(self.values.drain(..)) {
            self.encoded.clear();
            V::put(value.as_ref(), &mut self.encoded);
            sink.push(group, 1, &self.encoded);
        }
    }
}
