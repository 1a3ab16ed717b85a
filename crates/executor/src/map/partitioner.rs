//! Which partition a key goes to: a function of the key alone, the same in every process.

use xxhash_rust::xxh3::xxh3_64;

use crate::keys;

/// How keys are spread over partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioner {
    /// By the hash of the encoded key.
    Hash {
        /// How many there are, at least 1.
        n_partitions: u32,
    },
    /// By the order of encoded keys: partition `i` holds the keys below the `i`th of these, ascending, which are
    /// not in one before; the last partition holds the rest. So the partitions, one behind the other, are sorted.
    Range {
        /// One fewer than there are partitions.
        boundaries: Vec<Vec<u8>>,
    },
}

impl Partitioner {
    /// How many partitions there are.
    pub fn n_partitions(&self) -> u32 {
        match self {
            Partitioner::Hash { n_partitions } => (*n_partitions).max(1),
            Partitioner::Range { boundaries } => boundaries.len() as u32 + 1,
        }
    }
}

/// A partitioner for one job's keys, which may be followed by their values.
#[derive(Debug)]
pub(super) struct KeyPartitioner {
    pub(super) partitioner: Partitioner,
    /// Whether every key is followed by its value, encoded as a key.
    pub(super) sorts_values: bool,
    /// Of all boundaries: they decide mostly.
    prefixes: Vec<u64>,
}

impl KeyPartitioner {
    /// One for keys that nothing follows.
    pub(super) fn new(partitioner: Partitioner) -> Self {
        let prefixes = match &partitioner {
            Partitioner::Hash { .. } => Vec::new(),
            Partitioner::Range { boundaries } => boundaries.iter().map(|key| keys::prefix(key)).collect(),
        };
        KeyPartitioner { partitioner, sorts_values: false, prefixes }
    }

    /// The partition of a key: what may follow it has no say. What begins with no key is whole: the reduce task tells
    /// that it is wrong.
    pub(super) fn partition(&self, key: &[u8]) -> u32 {
        let length = if self.sorts_values { keys::first_length(key) } else { None };
        let key = &key[..length.unwrap_or(key.len())];
        match &self.partitioner {
            Partitioner::Hash { n_partitions: 0 | 1 } => 0,
            Partitioner::Hash { n_partitions } => (xxh3_64(key) % u64::from(*n_partitions)) as u32,
            Partitioner::Range { boundaries } => {
                let prefix = keys::prefix(key);
                let below = self.prefixes.partition_point(|boundary| *boundary < prefix);
                let beside = boundaries[below..].iter().take_while(|boundary| boundary.as_slice() <= key);
                (below + beside.count()) as u32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_hold_the_keys_below_their_boundary() {
        let boundaries = vec![b"b".to_vec(), b"d".to_vec()];
        let partitioner = KeyPartitioner::new(Partitioner::Range { boundaries });
        let partitions = [b"a", b"b", b"c", b"d", b"e"].map(|key| partitioner.partition(key));
        assert_eq!((partitioner.partitioner.n_partitions(), partitions), (3, [0, 1, 1, 2, 2]));
    }

    proptest! {
        /// Boundaries and keys that often share their first eight bytes.
        #[test]
        fn a_key_is_behind_the_boundaries_that_are_not_above_it(
            mut boundaries in prop::collection::vec("[ab\0]{0,3}(xxxxxxxx)?[ab\0]{0,3}", 0..9),
            key in "[ab\0]{0,3}(xxxxxxxx)?[ab\0]{0,3}",
        ) {
            boundaries.sort();
            boundaries.dedup();
            let expected = boundaries.iter().filter(|boundary| **boundary <= key).count();
            let boundaries = boundaries.into_iter().map(String::into_bytes).collect();
            let partitioner = KeyPartitioner::new(Partitioner::Range { boundaries });
            prop_assert_eq!(partitioner.partition(key.as_bytes()) as usize, expected);
        }
    }
}
