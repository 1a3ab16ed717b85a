//! Groups the pairs of one map task in memory.

use bytes::Bytes;
use hashbrown::{HashTable, hash_table::Entry};
use xxhash_rust::xxh3::xxh3_64;

use crate::shuffle::FileWriter;

/// A key that the sink knows, by number: from 0, in the order of first appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId(u32);

impl GroupId {
    /// The number.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Takes the pairs of one map task.
#[derive(Debug)]
pub struct MapSink {
    n_partitions: u32,
    /// Groups by their keys' hashes.
    table: HashTable<GroupId>,
    groups: Vec<KeyGroup>,
    /// Every group's key and hint, one behind the other.
    keys: Vec<u8>,
}

#[derive(Debug)]
struct KeyGroup {
    hash: u64,
    /// Where the key starts in `keys`, where the hint starts, and where that ends.
    key: usize,
    hint: usize,
    end: usize,
    count: u64,
    values: Vec<u8>,
}

impl MapSink {
    /// An empty sink for a job with so many partitions.
    pub fn new(n_partitions: u32) -> Self {
        MapSink { n_partitions, table: HashTable::new(), groups: Vec::new(), keys: Vec::new() }
    }

    /// The group of `key`. `put_hint` is asked when the key is new.
    pub fn group<E>(
        &mut self,
        key: &[u8],
        put_hint: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<GroupId, E> {
        let hash = xxh3_64(key);
        let (groups, keys) = (&self.groups, &self.keys);
        let is_it = |id: &GroupId| {
            let group = &groups[id.index()];
            group.hash == hash && keys[group.key..group.hint] == *key
        };
        match self.table.entry(hash, is_it, |id| groups[id.index()].hash) {
            Entry::Occupied(entry) => Ok(*entry.get()),
            Entry::Vacant(entry) => {
                let start = self.keys.len();
                self.keys.extend_from_slice(key);
                let hint = self.keys.len();
                if let Err(error) = put_hint(&mut self.keys) {
                    self.keys.truncate(start);
                    return Err(error);
                }
                // A split of four billion different keys would not fit into any memory.
                let id = GroupId(self.groups.len() as u32);
                entry.insert(id);
                let end = self.keys.len();
                self.groups.push(KeyGroup { hash, key: start, hint, end, count: 0, values: Vec::new() });
                Ok(id)
            }
        }
    }

    /// The place for `n` more values of a group: append their encoding.
    pub fn values(&mut self, group: GroupId, n: u64) -> &mut Vec<u8> {
        let group = &mut self.groups[group.index()];
        group.count += n;
        &mut group.values
    }

    /// All groups, in the order of first appearance.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..self.groups.len() as u32).map(GroupId)
    }

    /// How many values there are.
    pub fn n_values(&self) -> u64 {
        self.groups.iter().map(|group| group.count).sum()
    }

    /// The whole file of map output.
    pub fn into_file(self) -> Bytes {
        let partition = |group: &KeyGroup| (group.hash % u64::from(self.n_partitions.max(1))) as u32;
        let key = |group: &KeyGroup| &self.keys[group.key..group.hint];
        let mut order: Vec<&KeyGroup> = self.groups.iter().collect();
        order.sort_unstable_by(|a, b| partition(a).cmp(&partition(b)).then_with(|| key(a).cmp(key(b))));
        let mut file = FileWriter::new();
        for group in order {
            while file.partition() < partition(group) {
                file.end_partition();
            }
            file.push(key(group), &self.keys[group.hint..group.end], group.count, &group.values);
        }
        while file.partition() < self.n_partitions {
            file.end_partition();
        }
        file.finish()
    }
}
