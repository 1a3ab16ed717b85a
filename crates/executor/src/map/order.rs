//! The order in which what is in memory goes into a file: by partition, then by key, then as it came.

use crate::keys;

/// Sorts by partition and the first bytes of the key, which decide almost always, as one number; what they leave
/// equal is then sorted by the whole key.
#[derive(Debug, Default)]
pub(super) struct Order(Vec<u128>);

/// One of the sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) partition: u32,
    /// Which it is of those that came; later ones have higher numbers.
    pub(super) number: u32,
}

impl Order {
    /// Adds one.
    #[inline]
    pub(super) fn push(&mut self, Place { partition, number }: Place, key: &[u8]) {
        self.0.push(u128::from(partition) << 96 | u128::from(keys::prefix(key)) << 32 | u128::from(number));
    }

    /// What one takes.
    pub(super) const BYTES: usize = size_of::<u128>();

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, n: usize) {
        self.0.reserve_exact(n);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets them, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Sorts them. `key` tells the key of a number.
    pub(super) fn sort<'k>(&mut self, key: impl Fn(u32) -> &'k [u8]) {
        self.0.sort_unstable();
        for equal in self.0.chunk_by_mut(|a, b| a >> 32 == b >> 32).filter(|equal| equal.len() > 1) {
            // Numbers are all that differs: equal keys stay as they came.
            equal.sort_unstable_by(|a, b| key(*a as u32).cmp(key(*b as u32)).then(a.cmp(b)));
        }
    }

    /// All of them.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + Clone {
        self.0.iter().map(|packed| Place { partition: (packed >> 96) as u32, number: *packed as u32 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_order_of_a_stable_sort(all in prop::collection::vec((0..3u32, "[ab\0]{0,10}"), 0..60)) {
            let mut order = Order::default();
            for (number, (partition, key)) in (0..).zip(&all) {
                order.push(Place { partition: *partition, number }, key.as_bytes());
            }
            order.sort(|n| all[n as usize].1.as_bytes());
            let sorted: Vec<_> = order.places().map(|place| place.number).collect();
            let mut expected: Vec<u32> = (0..all.len() as u32).collect();
            expected.sort_by_key(|n| &all[*n as usize]);
            prop_assert_eq!(sorted, expected);
        }
    }
}
