//! Pairs in memory, one behind the other as they came: what is cheapest when most keys come but once, because
//! looking for a group would find none.

use std::hint::black_box;

use super::groups::still_kept;
use crate::{shuffle::EntryRef, varint};

const PARTITION_BYTES: usize = size_of::<u32>();

/// Pairs, as entries of a file, and each behind its partition.
#[derive(Debug, Default)]
pub(super) struct Pile {
    entries: Vec<u8>,
    /// Where each begins.
    places: Vec<usize>,
    /// What they took when all was forgotten: their memory is still here.
    kept_bytes: usize,
    /// The hint of the pair that is being added.
    hint: Vec<u8>,
}

impl Pile {
    /// Adds `n` values of `key`, encoded as `values`, to a partition.
    pub(super) fn push<E>(
        &mut self,
        key: &[u8],
        put_hint: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        (n, values): (u64, &[u8]),
        partition: u32,
    ) -> Result<(), E> {
        self.hint.clear();
        put_hint(&mut self.hint)?;
        self.places.push(self.entries.len());
        let entry_bytes = key.len() + self.hint.len() + values.len() + 4 * varint::BYTES_MAX;
        self.entries.reserve(PARTITION_BYTES + entry_bytes);
        self.entries.extend_from_slice(&partition.to_le_bytes());
        EntryRef { key, hint: &self.hint, count: n, values }.put(&mut self.entries);
        Ok(())
    }

    /// The `n`th pair that was added, and its bytes.
    #[inline]
    pub(super) fn get(&self, n: usize) -> (EntryRef<'_>, &[u8]) {
        let rest = &self.entries[self.places[n] + PARTITION_BYTES..];
        #[expect(clippy::expect_used, reason = "`push` has written an entry here")]
        let (entry, length) = EntryRef::parse(rest).expect("an entry");
        (entry, &rest[..length])
    }

    /// Makes the processor fetch the `n`th pair, and the next few that this is called for at the same time.
    #[inline]
    pub(super) fn touch(&self, n: usize) {
        let start = self.places[n];
        let byte = |at: usize| self.entries.get(at).copied();
        black_box((byte(start), byte(start + 64)));
    }

    pub(super) fn partition(&self, n: usize) -> u32 {
        let rest = &self.entries[self.places[n]..];
        #[expect(clippy::expect_used, reason = "`push` has written it here")]
        u32::from_le_bytes(*rest.first_chunk().expect("a partition"))
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.used_bytes().max(self.kept_bytes)
    }

    fn used_bytes(&self) -> usize {
        self.entries.len() + size_of_val(self.places.as_slice())
    }

    /// Forgets all pairs, and keeps the memory if it is going to be used again: if it was.
    pub(super) fn clear(&mut self) {
        self.kept_bytes = still_kept(self.used_bytes(), self.kept_bytes);
        if self.kept_bytes == 0 {
            *self = Pile::default();
            return;
        }
        self.entries.clear();
        self.places.clear();
    }
}
