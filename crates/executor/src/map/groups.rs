//! Pairs in memory, grouped by their keys as they come.

use std::collections::HashMap;

use bytes::Bytes;
use smallvec::SmallVec;

use super::table::{Probe, Table};
use crate::{
    Values,
    keys::{ShortKey, put_bytes},
    prefetch::prefetch,
};

/// A key that the sink knows, by number: from 0, in the order of first appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupId(pub(super) u32);

impl GroupId {
    /// The number.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Keys that are looked up together, which is quicker than one by one.
#[derive(Debug, Default)]
pub struct KeyBatch {
    probes: Vec<Probe>,
    /// Those that are not short, one behind the other, and where each begins.
    long: Vec<u8>,
    starts: Vec<usize>,
    groups: Vec<GroupId>,
}

impl KeyBatch {
    /// Takes the key that `put` appends, and answers as it does.
    #[inline]
    pub fn push<T>(&mut self, put: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.long.len();
        let answer = put(&mut self.long);
        let probe = Probe::of(&self.long[start..]);
        self.probes.push(probe);
        match probe.is_short() {
            true => self.long.truncate(start),
            false => self.starts.push(start),
        }
        answer
    }

    /// Takes the key that bytes or text are, as [`put_bytes`] has it.
    #[inline]
    pub fn push_bytes(&mut self, tag: u8, bytes: &[u8]) {
        match ShortKey::of_bytes(tag, bytes) {
            Some(short) => self.push_short(short),
            None => self.push(|out| put_bytes(out, tag, bytes)),
        }
    }

    /// Takes a short key.
    #[inline]
    pub fn push_short(&mut self, key: ShortKey) {
        self.probes.push(Probe::short(key));
    }

    /// Gives the last key back: appends it to `key`.
    pub fn pop(&mut self, key: &mut Vec<u8>) {
        match self.probes.pop().map(Probe::key) {
            Some(Some(short)) => short.put(key),
            Some(None) => key.extend(self.long.drain(self.starts.pop().unwrap_or_default()..)),
            None => {}
        }
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.probes.len()
    }

    /// How many bytes those have together that are not short.
    #[inline]
    pub fn long_bytes(&self) -> usize {
        self.long.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.probes.is_empty()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.probes.clear();
        self.long.clear();
        self.starts.clear();
        self.groups.clear();
    }

    /// Their groups, in order, when they have been looked up.
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// How long one of them is.
    pub fn length(&self, nth: usize) -> usize {
        self.probes.get(nth).map_or(0, |probe| probe.length())
    }

    /// How long each is, in order.
    pub fn lengths(&self) -> impl Iterator<Item = usize> {
        self.probes.iter().map(|probe| probe.length())
    }
}

/// With fewer keys than this, all are looked for: the table is in the cache.
const KEYS_BEFORE_PILE: usize = 16 << 10;
/// Every so many new keys it is looked how many lookups they took.
const KEYS_BETWEEN_LOOKS: usize = 4 << 10;

/// Values of one key are set aside when they have taken so many bytes, so that no entry is much longer.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// Keys with their values.
#[derive(Debug, Default)]
pub(super) struct Groups {
    table: Table,
    groups: Vec<KeyGroup>,
    /// Every group's key and hint, one behind the other.
    keys: Vec<u8>,
    /// Values of groups that have many.
    set_aside: HashMap<u32, Vec<Values>>,
    /// What values take that are not in their groups.
    value_bytes: usize,
    /// What table, groups and keys took when all was forgotten: their memory is still here.
    kept_bytes: usize,
    /// Lookups since a look was taken at how many found nothing.
    n_looked_up: usize,
    most_are_new: bool,
}

#[derive(Debug)]
struct KeyGroup {
    /// Where the key starts in `keys`, and where the hint does, which ends where the next group's key starts.
    key: usize,
    hint: usize,
    partition: u32,
    count: u64,
    values: SmallVec<[u8; 16]>,
}

impl KeyGroup {
    /// What its values take outside of it.
    fn heap_bytes(&self) -> usize {
        if self.values.spilled() { self.values.capacity() } else { 0 }
    }
}

impl Groups {
    /// The group of `key`. If it is new, `put_hint` appends its hint and `partition` tells its partition.
    #[inline]
    pub(super) fn group<E>(
        &mut self,
        key: &[u8],
        put_hint: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        partition: impl FnOnce(&[u8]) -> u32,
    ) -> Result<GroupId, E> {
        self.n_looked_up += 1;
        let probe = Probe::of(key);
        match self.table.find(probe, key, &self.keys) {
            Some(group) => Ok(GroupId(group)),
            None => self.add(probe, key, put_hint, partition(key)),
        }
    }

    /// Looks up the groups of all these keys, which have no hints.
    pub(super) fn group_all(
        &mut self,
        batch: &mut KeyBatch,
        mut found: impl FnMut(GroupId),
        partition: impl Fn(&[u8]) -> u32,
    ) {
        let KeyBatch { probes, long, starts, groups } = batch;
        self.n_looked_up += probes.len();
        groups.clear();
        let ends = starts.iter().skip(1).copied().chain([long.len()]);
        let mut long = starts.iter().zip(ends).map(|(start, end)| &long[*start..end]);
        for &probe in probes.iter() {
            let long = if probe.is_short() { &[] } else { long.next().unwrap_or_default() };
            let group = match self.table.find(probe, long, &self.keys) {
                Some(group) => GroupId(group),
                None => {
                    let short = probe.key().map(ShortKey::bytes);
                    let key = short.as_ref().map_or(long, |bytes| &bytes[..probe.length()]);
                    let no_hint = |_: &mut Vec<u8>| Ok::<(), std::convert::Infallible>(());
                    self.add(probe, key, no_hint, partition(key)).unwrap_or_else(|never| match never {})
                }
            };
            found(group);
            groups.push(group);
        }
    }

    /// Makes the processor fetch what looking up the last of these will read.
    #[inline]
    pub(super) fn prefetch(&self, batch: &KeyBatch) {
        if let Some(&probe) = batch.probes.last() {
            self.table.prefetch(probe);
        }
    }

    /// So many lookups were not needed, which would have found something.
    pub(super) fn count_known(&mut self, n: usize) {
        self.n_looked_up += n;
    }

    #[cold]
    fn add<E>(
        &mut self,
        probe: Probe,
        key: &[u8],
        put_hint: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        partition: u32,
    ) -> Result<GroupId, E> {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        let hint = self.keys.len();
        if let Err(error) = put_hint(&mut self.keys) {
            self.keys.truncate(start);
            return Err(error);
        }
        // A sink that is asked now and then is full long before it has four billion groups.
        let id = self.groups.len() as u32;
        self.table.insert(probe, start, id);
        let (count, values) = (0, SmallVec::new());
        self.groups.push(KeyGroup { key: start, hint, partition, count, values });
        if self.groups.len().is_multiple_of(KEYS_BETWEEN_LOOKS) {
            let n_looked_up = std::mem::take(&mut self.n_looked_up);
            self.most_are_new |=
                self.groups.len() >= KEYS_BEFORE_PILE && n_looked_up < 2 * KEYS_BETWEEN_LOOKS;
        }
        Ok(GroupId(id))
    }

    /// Adds `n` values to a group, which are encoded as `encoded`.
    pub(super) fn push(&mut self, id: GroupId, n: u64, encoded: &[u8]) {
        let group = &mut self.groups[id.index()];
        if group.values.len() + encoded.len() <= group.values.capacity() {
            group.count += n;
            group.values.extend_from_slice(encoded);
        } else {
            self.push_more(id, n, encoded);
        }
    }

    /// The same where the group has no room for them.
    #[cold]
    fn push_more(&mut self, id: GroupId, n: u64, encoded: &[u8]) {
        let group = &mut self.groups[id.index()];
        // What is set aside takes no more than it is long: vectors grow to twice that.
        let mut set_aside = |count, values: &[u8]| {
            self.value_bytes += values.len();
            let values = Values { count, bytes: Bytes::copy_from_slice(values) };
            self.set_aside.entry(id.0).or_default().push(values);
        };
        if group.count > 0 && group.values.len() + encoded.len() > CHUNK_BYTES {
            set_aside(std::mem::take(&mut group.count), &group.values);
            group.values.clear();
        }
        if encoded.len() > CHUNK_BYTES {
            return set_aside(n, encoded);
        }
        let before = group.heap_bytes();
        group.count += n;
        group.values.extend_from_slice(encoded);
        self.value_bytes += group.heap_bytes() - before;
    }

    pub(super) fn set_partition(&mut self, id: GroupId, partition: u32) {
        self.groups[id.index()].partition = partition;
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether more than half of the lookups found nothing, at the end: those before say nothing about those to come.
    /// Once it is so, it stays so until all is forgotten.
    #[inline]
    pub(super) fn most_are_new(&self) -> bool {
        self.most_are_new
    }

    pub(super) fn partition(&self, id: GroupId) -> u32 {
        self.groups[id.index()].partition
    }

    pub(super) fn key(&self, id: GroupId) -> &[u8] {
        let group = &self.groups[id.index()];
        &self.keys[group.key..group.hint]
    }

    pub(super) fn hint(&self, id: GroupId) -> &[u8] {
        let end = self.groups.get(id.index() + 1).map_or(self.keys.len(), |next| next.key);
        &self.keys[self.groups[id.index()].hint..end]
    }

    /// Makes the processor fetch a group.
    pub(super) fn prefetch_group(&self, id: GroupId) {
        prefetch(&self.groups[id.index()]);
    }

    /// The group's values that were set aside; the caller's from now on.
    pub(super) fn take_aside(&mut self, id: GroupId) -> Vec<Values> {
        // Mostly no group has any.
        if self.set_aside.is_empty() { Vec::new() } else { self.set_aside.remove(&id.0).unwrap_or_default() }
    }

    /// The values of the group behind those that were set aside, and how many they are.
    pub(super) fn last_values(&self, id: GroupId) -> (u64, &[u8]) {
        let group = &self.groups[id.index()];
        (group.count, &group.values)
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.value_bytes + self.used_bytes().max(self.kept_bytes)
    }

    /// What table, groups and keys need.
    fn used_bytes(&self) -> usize {
        self.keys.len() + self.groups.len() * (size_of::<KeyGroup>() + Table::GROUP_BYTES)
    }

    /// Forgets what is in memory, and keeps the memory if it is going to be used again: if it was.
    pub(super) fn clear(&mut self) {
        self.kept_bytes = still_kept(self.used_bytes(), self.kept_bytes);
        if self.kept_bytes == 0 {
            *self = Groups::default();
            return;
        }
        self.table.clear();
        self.groups.clear();
        self.keys.clear();
        self.set_aside.clear();
        (self.value_bytes, self.n_looked_up, self.most_are_new) = (0, 0, false);
    }
}

/// How many bytes are kept when all is forgotten of which `used` were in use, but `kept` since the last time; 0 if they are
/// to be given back, since most of them would stay idle. A quarter is not counted: what is kept and what the other half of
/// the sink takes would else fill the sink before it has taken as much as it had.
pub(super) fn still_kept(used: usize, kept: usize) -> usize {
    if used < kept / 2 { 0 } else { (used - used / 4).max(kept) }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::keys::tag;

    #[test]
    fn a_key_that_was_given_back_is_not_looked_up() {
        let (mut keys, mut last) = (KeyBatch::default(), Vec::new());
        for key in [b"one".as_slice(), b"more", b""] {
            keys.push(|out| out.extend_from_slice(key));
        }
        keys.push_bytes(tag::TEXT, b"more");
        keys.push(|out| out.extend_from_slice(b"another"));
        keys.pop(&mut last);
        let (mut groups, mut found) = (Groups::default(), Vec::new());
        groups.group_all(&mut keys, |group| found.push(group.index()), |_| 0);
        assert_eq!(
            (last.as_slice(), found.as_slice(), groups.len()),
            (b"another".as_slice(), [0, 1, 2, 3].as_slice(), 4)
        );
        assert_eq!(keys.lengths().collect::<Vec<_>>(), [3, 4, 0, 6]);
    }

    #[test]
    fn what_values_take_counts_and_not_how_long_they_are() {
        let mut groups = Groups::default();
        let Ok(id) = groups.group(b"key", |_| Ok::<(), Infallible>(()), |_| 0);
        (0..16).for_each(|_| groups.push(id, 1, b"x"));
        assert_eq!(groups.value_bytes, 0, "they are in the group");
        (16..40_000).for_each(|_| groups.push(id, 1, b"x"));
        assert_eq!(groups.value_bytes, CHUNK_BYTES);
        groups.push(id, 1, &[b'y'; 2 * CHUNK_BYTES]);
        assert_eq!(groups.value_bytes, CHUNK_BYTES + 40_000 + 2 * CHUNK_BYTES);
        assert_eq!((groups.take_aside(id).len(), groups.last_values(id)), (2, (0, b"".as_slice())));
    }
}
