//! Groups the pairs of one map task: in memory, and on the local disk when the memory is full.

use std::collections::HashMap;

use bytes::Bytes;
use hashbrown::{HashTable, hash_table::Entry};
use mapreduce_storage::FileRef;
use object_store::path::Path;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::{Partitioner, output::Output, runs};
use crate::{
    Resources, TaskError, UserCode, Values,
    shuffle::{Append, FileWriter, Run, Spilled, Stored},
};

/// A key that the sink knows, by number: from 0, in the order of first appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId(u32);

impl GroupId {
    /// The number.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Values of one key are set aside when they have taken so many bytes, so that no entry is much longer.
const CHUNK_BYTES: usize = 64 << 10;
/// What a group takes beside its key, hint and values: itself, and its place in the table.
const GROUP_BYTES: usize = size_of::<KeyGroup>() + 8;

/// Takes the pairs of one map task.
#[derive(Debug)]
pub struct MapSink {
    resources: Resources,
    partitioner: Partitioner,
    /// Groups by their keys' hashes.
    table: HashTable<Slot>,
    groups: Vec<KeyGroup>,
    /// Every group's key and hint, one behind the other.
    keys: Vec<u8>,
    /// Values of groups that have many.
    set_aside: HashMap<u32, Vec<Values>>,
    value_bytes: usize,
    n_values: u64,
    spilled: Vec<Run>,
}

/// What it takes to find a group, in one place: looking a key up is the hottest thing the engine does, and every
/// other place in memory costs as much again.
#[derive(Debug)]
struct Slot {
    /// The upper half of the key's hash.
    hash: u32,
    /// Where the key is in `keys`.
    key: u32,
    length: u32,
    id: GroupId,
}

/// Whether two keys of the same length are equal. Most are short, and for those a call of `memcmp` takes longer than
/// the comparison.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) if a.len() <= 16 => {
            u64::from_le_bytes(*a_first) == u64::from_le_bytes(*b_first)
                && u64::from_le_bytes(*a_last) == u64::from_le_bytes(*b_last)
        }
        (None, ..) => {
            match (a.first_chunk::<4>(), b.first_chunk::<4>(), a.last_chunk::<4>(), b.last_chunk::<4>()) {
                (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) => {
                    u32::from_le_bytes(*a_first) == u32::from_le_bytes(*b_first)
                        && u32::from_le_bytes(*a_last) == u32::from_le_bytes(*b_last)
                }
                _ => a.iter().eq(b),
            }
        }
        _ => a == b,
    }
}

#[derive(Debug)]
struct KeyGroup {
    hash: u64,
    /// Where the key starts in `keys`, where the hint starts, and where that ends.
    key: u32,
    hint: u32,
    end: u32,
    partition: u32,
    count: u64,
    values: SmallVec<[u8; 16]>,
}

impl MapSink {
    /// An empty sink.
    pub fn new(resources: &Resources, partitioner: Partitioner) -> Self {
        MapSink {
            resources: resources.clone(),
            partitioner,
            table: HashTable::new(),
            groups: Vec::new(),
            keys: Vec::new(),
            set_aside: HashMap::new(),
            value_bytes: 0,
            n_values: 0,
            spilled: Vec::new(),
        }
    }

    /// The group of `key`. `put_hint` is asked when the key is new. Valid until the sink is spilled.
    pub fn group<E>(
        &mut self,
        key: &[u8],
        put_hint: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<GroupId, E> {
        let hash = xxh3_64(key);
        let (groups, keys) = (&self.groups, &self.keys);
        let is_it = |slot: &Slot| {
            slot.hash == (hash >> 32) as u32
                && slot.length as usize == key.len()
                && same(&keys[slot.key as usize..][..key.len()], key)
        };
        match self.table.entry(hash, is_it, |slot| groups[slot.id.index()].hash) {
            Entry::Occupied(entry) => Ok(entry.get().id),
            Entry::Vacant(entry) => {
                let start = self.keys.len();
                self.keys.extend_from_slice(key);
                let hint = self.keys.len();
                if let Err(error) = put_hint(&mut self.keys) {
                    self.keys.truncate(start);
                    return Err(error);
                }
                // A sink is full long before it has four billion groups or four gigabytes of keys.
                let id = GroupId(self.groups.len() as u32);
                let length = (hint - start) as u32;
                entry.insert(Slot { hash: (hash >> 32) as u32, key: start as u32, length, id });
                self.groups.push(KeyGroup {
                    hash,
                    key: start as u32,
                    hint: hint as u32,
                    end: self.keys.len() as u32,
                    partition: self.partitioner.partition(key, hash),
                    count: 0,
                    values: SmallVec::new(),
                });
                Ok(id)
            }
        }
    }

    /// Puts a group that has just been made into another partition than its key's; one there is not is the last.
    pub fn set_partition(&mut self, group: GroupId, partition: u32) {
        self.groups[group.index()].partition = partition.min(self.partitioner.n_partitions() - 1);
    }

    /// Adds `n` values to a group, which are encoded as `encoded`.
    pub fn push(&mut self, id: GroupId, n: u64, encoded: &[u8]) {
        self.n_values += n;
        self.value_bytes += encoded.len();
        let group = &mut self.groups[id.index()];
        if group.values.len() + encoded.len() <= CHUNK_BYTES {
            group.count += n;
            group.values.extend_from_slice(encoded);
            return;
        }
        // What is set aside takes no more than it is long: vectors grow to twice that.
        let aside = self.set_aside.entry(id.0).or_default();
        if group.count > 0 {
            let count = std::mem::take(&mut group.count);
            aside.push(Values { count, bytes: Bytes::copy_from_slice(&group.values) });
            group.values.clear();
        }
        if encoded.len() >= CHUNK_BYTES {
            aside.push(Values { count: n, bytes: Bytes::copy_from_slice(encoded) });
        } else {
            group.count += n;
            group.values.extend_from_slice(encoded);
        }
    }

    /// All groups, in the order of first appearance.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..self.groups.len() as u32).map(GroupId)
    }

    /// The keys that are in memory, in the order of first appearance.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.groups.iter().map(|group| &self.keys[group.key as usize..group.hint as usize])
    }

    /// How many values came in.
    pub fn n_values(&self) -> u64 {
        self.n_values
    }

    /// Whether it has taken its share of the memory. It may take more; but it is better spilled first.
    pub fn is_full(&self) -> bool {
        let bytes = self.value_bytes + self.keys.len() + self.groups.len() * GROUP_BYTES;
        bytes > self.resources.memory_bytes || self.keys.len() > u32::MAX as usize / 2
    }

    /// Writes all groups to the local disk, and forgets them.
    pub fn spill(&mut self, code: &mut dyn UserCode) -> Result<(), TaskError> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let mut file = FileWriter::new(Spilled::new(&self.resources)?);
        self.drain(&mut Output::new(&mut file, code))?;
        file.advance_to(self.partitioner.n_partitions())?;
        self.spilled.push(file.into_run());
        Ok(())
    }

    /// Writes the whole file of map output.
    pub fn finish(mut self, code: &mut dyn UserCode, path: Path) -> Result<FileRef, TaskError> {
        let mut file = FileWriter::new(Stored::new(&self.resources, path));
        if self.spilled.is_empty() {
            self.drain(&mut Output::new(&mut file, code))?;
        } else {
            self.spill(code)?;
            let runs = std::mem::take(&mut self.spilled);
            let n_partitions = self.partitioner.n_partitions();
            runs::merge(&runs, n_partitions, &self.resources, &mut Output::new(&mut file, code))?;
        }
        file.advance_to(self.partitioner.n_partitions())?;
        file.finish()?.finish()
    }

    /// Hands over all groups, partition by partition, in the order of their keys.
    fn drain<W: Append>(&mut self, output: &mut Output<'_, W>) -> Result<(), TaskError> {
        let mut set_aside = std::mem::take(&mut self.set_aside);
        let order = self.order();
        for (_, _, n) in order {
            let group = &self.groups[n as usize];
            let key = &self.keys[group.key as usize..group.hint as usize];
            let hint = &self.keys[group.hint as usize..group.end as usize];
            output.advance_to(group.partition)?;
            output.push(key, hint, set_aside.remove(&n).unwrap_or_default(), (group.count, &group.values))?;
        }
        self.clear();
        Ok(())
    }

    /// Forgets what is in memory.
    pub fn clear(&mut self) {
        self.table.clear();
        self.groups.clear();
        self.keys.clear();
        self.set_aside.clear();
        self.value_bytes = 0;
    }

    /// How many partitions there are.
    pub fn n_partitions(&self) -> u32 {
        self.partitioner.n_partitions()
    }

    /// What it may use.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Partition and first bytes of the key of each group, which decide almost always, and its number: sorted.
    fn order(&self) -> Vec<(u32, u64, u32)> {
        let key = |n: u32| {
            let group = &self.groups[n as usize];
            &self.keys[group.key as usize..group.hint as usize]
        };
        let first_bytes = |key: &[u8]| {
            let mut first = [0; 8];
            let n = key.len().min(8);
            first[..n].copy_from_slice(&key[..n]);
            u64::from_be_bytes(first)
        };
        let numbered = (0..).zip(&self.groups).map(|(n, group)| (group.partition, first_bytes(key(n)), n));
        let mut order: Vec<_> = numbered.collect();
        order.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| key(a.2).cmp(key(b.2))));
        order
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_the_same_if_all_their_bytes_are(mut a in prop::collection::vec(any::<u8>(), 0..40), at: prop::sample::Index) {
            let b = a.clone();
            prop_assert!(same(&a, &b));
            if !a.is_empty() {
                let at = at.index(a.len());
                a[at] ^= 1;
                prop_assert!(!same(&a, &b));
            }
        }
    }
}
