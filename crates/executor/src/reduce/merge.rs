//! Merges sorted inputs into groups.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use mapreduce_storage::StorageError;

use crate::{Group, shuffle::Entries};

/// Merges partitions, sorted by key, into one sequence of groups. Values of equal keys follow each other in the
/// order of the inputs, and the first input with a key gives the hint: so a result does not depend on timing.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<Entries>,
    /// The next entry of every input that has one.
    heads: BinaryHeap<Reverse<Head>>,
}

#[derive(Debug)]
struct Head {
    group: Group,
    input: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        self.group.key.cmp(&other.group.key).then(self.input.cmp(&other.input))
    }
}
impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Head {}

impl Merge {
    /// Merges `inputs`, in this order.
    pub fn new(inputs: Vec<Entries>) -> Result<Self, StorageError> {
        let mut merge = Merge { inputs, heads: BinaryHeap::new() };
        for input in 0..merge.inputs.len() {
            if let Some(group) = merge.read(input)? {
                merge.heads.push(Reverse(Head { group, input }));
            }
        }
        Ok(merge)
    }

    /// The next group; none after the last.
    pub fn next_group(&mut self) -> Result<Option<Group>, StorageError> {
        let Some(mut group) = self.pop()? else { return Ok(None) };
        while self.heads.peek().is_some_and(|Reverse(head)| head.group.key == group.key) {
            if let Some(more) = self.pop()? {
                group.values.extend(more.values);
            }
        }
        Ok(Some(group))
    }

    /// Takes the first entry, and puts its input's next one in its place.
    fn pop(&mut self) -> Result<Option<Group>, StorageError> {
        let Some(Reverse(Head { input, .. })) = self.heads.peek() else { return Ok(None) };
        let next = self.read(*input)?;
        let Some(mut first) = self.heads.peek_mut() else { return Ok(None) };
        Ok(Some(match next {
            Some(next) => std::mem::replace(&mut first.0.group, next),
            None => PeekMut::pop(first).0.group,
        }))
    }

    fn read(&mut self, input: usize) -> Result<Option<Group>, StorageError> {
        let entries = &mut self.inputs[input];
        entries.next_entry().map_err(|error| StorageError::Damaged {
            path: entries.path().to_owned(),
            why: error.to_string(),
        })
    }
}
