//! Where emitted values go: combined with those before, as long as they are in memory, or into the sink.

use std::marker::PhantomData;

use mapreduce_executor::map::{GroupId, MapSink};

use super::{Combiner, Datum};

/// Takes the values of groups.
pub(super) trait Fold<V> {
    /// Takes one value of a group.
    fn put(&mut self, group: GroupId, value: V, sink: &mut MapSink);
    /// Puts into the sink what is not there yet; its groups are about to be forgotten.
    fn flush(&mut self, sink: &mut MapSink);
}

/// Without a combiner: every value goes into the sink.
#[derive(Debug)]
pub(super) struct Plain<V> {
    encoded: Vec<u8>,
    kind: PhantomData<fn(V)>,
}

impl<V> Plain<V> {
    pub(super) fn new() -> Self {
        Plain { encoded: Vec::new(), kind: PhantomData }
    }
}

impl<V: Datum> Fold<V> for Plain<V> {
    fn put(&mut self, group: GroupId, value: V, sink: &mut MapSink) {
        self.encoded.clear();
        V::put(value.as_ref(), &mut self.encoded);
        sink.push(group, 1, &self.encoded);
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
    #[inline]
    fn put(&mut self, group: GroupId, value: V, _: &mut MapSink) {
        match self.values.get_mut(group.index()) {
            Some(before) => self.combiner.combine(before, value),
            // Groups are numbered in the order of their first values.
            None => self.values.push(value),
        }
    }

    fn flush(&mut self, sink: &mut MapSink) {
        for (group, value) in sink.groups().zip(self.values.drain(..)) {
            self.encoded.clear();
            V::put(value.as_ref(), &mut self.encoded);
            sink.push(group, 1, &self.encoded);
        }
    }
}
