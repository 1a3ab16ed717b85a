//! Groups of keys that come often, in a table so small that it stays in the cache. Of most data a few keys are most of
//! the pairs, and these need not be looked up together with others, nor be kept until then.

use super::{
    groups::{GroupId, KeyBatch},
    table::{Probe, Slot},
};
use crate::keys::ShortKey;

/// With 24 bytes each they leave most of a second-level cache to others.
const SLOTS: usize = 2048;

/// The groups of short keys that were looked up lately. Each has but one slot that may hold it.
#[derive(Debug)]
pub struct FrequentKeys(Vec<Slot>);

impl Default for FrequentKeys {
    fn default() -> Self {
        FrequentKeys(vec![Slot::default(); SLOTS])
    }
}

impl FrequentKeys {
    /// The key's group, if it is here.
    #[inline]
    pub fn get(&self, key: ShortKey) -> Option<GroupId> {
        let probe = Probe::short(key);
        self.0[probe.hash() % SLOTS].group_of(probe).map(GroupId)
    }

    /// Takes those of the keys that are short, which have been looked up.
    pub fn put_all(&mut self, batch: &KeyBatch) {
        for (probe, group) in batch.probes_and_groups().filter(|(probe, _)| probe.is_short()) {
            self.0[probe.hash() % SLOTS] = Slot::new(probe, probe.words, group.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::tag, map::groups::Groups};

    fn key(text: &str) -> ShortKey {
        ShortKey::of_bytes(tag::TEXT, text.as_bytes()).unwrap()
    }

    #[test]
    fn it_knows_what_was_looked_up_until_another_key_needs_the_place() {
        let (mut groups, mut frequent) = (Groups::default(), FrequentKeys::default());
        let names: Vec<String> = (0..3 * SLOTS).map(|n| format!("key {n}")).collect();
        for names in names.chunks(100) {
            let mut batch = KeyBatch::default();
            names.iter().for_each(|name| batch.push_short(key(name)));
            batch.push_bytes(tag::TEXT, b"one that is not short");
            assert!(names.iter().all(|name| frequent.get(key(name)).is_none()));
            groups.group_all(&mut batch, |_| {}, |_| 0);
            frequent.put_all(&batch);
            assert_eq!(frequent.get(key(&names[99 % names.len()])), Some(batch.groups()[99 % names.len()]));
        }
        let n_known = names.iter().filter(|name| frequent.get(key(name)).is_some()).count();
        assert!((SLOTS / 2..=SLOTS).contains(&n_known), "{n_known}");
        for name in &names {
            let mut encoded = Vec::new();
            key(name).put(&mut encoded);
            assert!(frequent.get(key(name)).is_none_or(|group| groups.key(group) == encoded), "{name}");
        }
        assert_eq!(frequent.get(key("")), None);
    }
}
