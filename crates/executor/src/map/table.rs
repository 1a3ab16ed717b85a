//! Finding a key's group by the key: the hottest thing that the engine does, and mostly a wait for memory.
//!
//! A table with open addressing and linear probing that is at most half full. A slot holds the whole key if that is
//! short, as most are, so that finding it reads one cache line. Of keys that are looked up together each is announced
//! first: the processor fetches what all of them need at the same time, where looking up one key after the other would
//! wait for each. (Chen, Ailamaki, Gibbons, Mowry: Improving Hash Join Performance through Prefetching, ICDE 2004, call
//! it group prefetching.)

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    keys::{SHORT_BYTES, ShortKey},
    prefetch::prefetch,
};

/// What a key is looked up by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    /// A short key, filled up with zeros; of a long one the hash.
    words: [u64; 2],
    length: u32,
}

impl Probe {
    /// That of a key.
    #[inline]
    pub(super) fn of(key: &[u8]) -> Probe {
        ShortKey::encoded(key).map_or_else(|| Probe::long(key), Probe::short)
    }

    #[inline]
    pub(super) fn short(ShortKey { word, length }: ShortKey) -> Probe {
        Probe { words: [word as u64, (word >> 64) as u64], length: length as u32 }
    }

    #[cold]
    fn long(key: &[u8]) -> Probe {
        // Those of more than four gigabytes count as equally long: keys are compared whole.
        Probe { words: [xxh3_64(key), 0], length: u32::try_from(key.len()).unwrap_or(u32::MAX) }
    }

    #[inline]
    pub(super) fn is_short(self) -> bool {
        self.length as usize <= SHORT_BYTES
    }

    /// The key, if it is short.
    #[inline]
    pub(super) fn key(self) -> Option<ShortKey> {
        let word = u128::from(self.words[0]) | u128::from(self.words[1]) << 64;
        self.is_short().then_some(ShortKey { word, length: self.length as usize })
    }

    /// How long the key is.
    pub(super) fn length(self) -> usize {
        self.length as usize
    }

    /// Both halves multiplied and folded, as wyhash does. The constants are digits of pi.
    #[inline]
    fn hash(self) -> usize {
        let a = self.words[0] ^ 0x243f_6a88_85a3_08d3;
        let b = self.words[1] ^ 0x1319_8a2e_0370_7344 ^ u64::from(self.length);
        let product = u128::from(a) * u128::from(b);
        (product as u64 ^ (product >> 64) as u64) as usize
    }
}

/// From keys to their groups' numbers.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// A power of two of them, or none.
    slots: Vec<Slot>,
    n_taken: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// As in the key's [`Probe`]; the second word of a long key says where the key is.
    words: [u64; 2],
    length: u32,
    /// The group's number plus one; 0: the slot is free.
    group: u32,
}

/// Slots of a table that has just begun.
const SLOTS_MIN: usize = 1 << 10;

impl Table {
    /// What a group takes here: between two and four slots.
    pub(super) const GROUP_BYTES: usize = 3 * size_of::<Slot>();

    /// The group of `key`, whose probe this is; none if it is new. `keys` is where all keys are. If the key is short, the probe
    /// alone says it.
    #[inline]
    pub(super) fn find(&self, probe: Probe, key: &[u8], keys: &[u8]) -> Option<u32> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = probe.hash();
        loop {
            let slot = self.slots.get(at & mask)?;
            if slot.group == 0 {
                return None;
            }
            let rest_is = || match probe.is_short() {
                true => slot.words[1] == probe.words[1],
                false => keys[slot.words[1] as usize..].starts_with(key),
            };
            if slot.length == probe.length && slot.words[0] == probe.words[0] && rest_is() {
                return Some(slot.group - 1);
            }
            at = at.wrapping_add(1);
        }
    }

    /// Adds a group whose key is new, and has this probe, and is at `start`.
    pub(super) fn insert(&mut self, probe: Probe, start: usize, group: u32) {
        if 2 * (self.n_taken + 1) > self.slots.len() {
            let larger = (2 * self.slots.len()).max(SLOTS_MIN);
            let slots = std::mem::replace(&mut self.slots, vec![Slot::default(); larger]);
            slots.into_iter().filter(|slot| slot.group > 0).for_each(|slot| self.put(slot));
        }
        self.n_taken += 1;
        let words = if probe.is_short() { probe.words } else { [probe.words[0], start as u64] };
        self.put(Slot { words, length: probe.length, group: group + 1 });
    }

    fn put(&mut self, slot: Slot) {
        let probe = Probe { words: slot.words, length: slot.length };
        let probe = if probe.is_short() { probe } else { Probe { words: [slot.words[0], 0], ..probe } };
        let mask = self.slots.len() - 1;
        let mut at = probe.hash() & mask;
        while self.slots[at].group > 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    /// Makes the processor fetch what `find` will read for this one.
    #[inline]
    pub(super) fn prefetch(&self, probe: Probe) {
        if let Some(slot) = self.slots.get(probe.hash() & self.slots.len().wrapping_sub(1)) {
            prefetch(slot);
        }
    }

    /// Forgets all groups, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.slots.fill(Slot::default());
        self.n_taken = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Short keys and long ones, which share their beginnings and may end with zeros.
        #[test]
        fn it_finds_what_a_map_finds(
            rounds in prop::collection::vec(prop::collection::vec(("[a\0]{0,3}", 0..20usize, "[b\0]?"), 0..60), 1..3),
        ) {
            let mut table = Table::default();
            for round in rounds {
                let (mut keys, mut expected) = (Vec::new(), HashMap::new());
                for (first, middle, last) in round {
                    let key = format!("{first}{}{last}", "x".repeat(middle)).into_bytes();
                    let probe = Probe::of(&key);
                    table.prefetch(probe);
                    let found = table.find(probe, &key, &keys);
                    prop_assert_eq!(found, expected.get(&key).copied());
                    if found.is_none() {
                        let group = expected.len() as u32;
                        table.insert(probe, keys.len(), group);
                        keys.extend_from_slice(&key);
                        expected.insert(key, group);
                    }
                }
                table.clear();
            }
        }
    }

    /// All in one slot's neighbourhood: it probes past what is not it.
    #[test]
    fn keys_that_collide_are_told_apart() {
        let mut table = Table::default();
        let collide: Vec<Probe> = (0..1_000_000u64)
            .map(|n| Probe { words: [n, n >> 7], length: 16 })
            .filter(|probe| probe.hash() % SLOTS_MIN == 5)
            .take(301)
            .collect();
        assert_eq!(collide.len(), 301);
        let (absent, known) = collide.split_last().unwrap();
        (0..).zip(known).for_each(|(group, probe)| table.insert(*probe, 0, group));
        for (group, probe) in (0..).zip(known) {
            assert_eq!(table.find(*probe, &[], &[]), Some(group));
        }
        assert_eq!(table.find(*absent, &[], &[]), None);
    }

    #[test]
    fn it_grows() {
        let (mut table, mut keys) = (Table::default(), Vec::new());
        let long = |n: u32| format!("{n:040}").into_bytes();
        for n in 0..5000u32 {
            let key = if n % 2 == 0 { n.to_le_bytes().to_vec() } else { long(n) };
            table.insert(Probe::of(&key), keys.len(), n);
            keys.extend_from_slice(&key);
        }
        for n in 0..5000u32 {
            let key = if n % 2 == 0 { n.to_le_bytes().to_vec() } else { long(n) };
            assert_eq!(table.find(Probe::of(&key), &key, &keys), Some(n));
        }
        assert_eq!(table.find(Probe::of(&long(2)), &long(2), &keys), None);
    }
}
