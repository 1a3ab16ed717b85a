//! Pairs in memory, one behind the other as they came: what is cheapest when most keys come but once, because
//! looking for a group would find none.

use super::{
    groups::still_kept,
    order::{Order, Place},
};
use crate::{prefetch::prefetch, shuffle::EntryRef, varint};

/// Pairs, as entries of a file.
#[derive(Debug, Default)]
pub(super) struct Pile {
    entries: Vec<u8>,
    /// Each by where it begins, counted from `first`.
    order: Order,
    first: u32,
    /// What they took when all was forgotten: their memory is still here.
    kept_bytes: usize,
    /// The hint of the pair that is being added.
    hint: Vec<u8>,
}

impl Pile {
    /// Adds `n` values of `key`, encoded as `values`, to a partition. The first pair has the number `first`; it counts
    /// when there is none yet.
    pub(super) fn push<E>(
        &mut self,
        key: &[u8],
        put_hint: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        (n, values): (u64, &[u8]),
        partition: u32,
        first: u32,
    ) -> Result<(), E> {
        self.hint.clear();
        put_hint(&mut self.hint)?;
        if self.entries.is_empty() {
            self.first = first;
        }
        // A sink that is asked now and then is full long before there are four billion bytes.
        let number = self.first + self.entries.len() as u32;
        self.order.push(Place { partition, number }, key);
        self.entries.reserve(key.len() + self.hint.len() + values.len() + 4 * varint::BYTES_MAX);
        EntryRef { key, hint: &self.hint, count: n, values }.put(&mut self.entries);
        Ok(())
    }

    /// The order of all pairs, which goes on with what else is to be written; it is to be given
    /// [back](Pile::give_back).
    pub(super) fn take_order(&mut self) -> Order {
        std::mem::take(&mut self.order)
    }

    /// Its memory will be used again, and counts until then; unless there are no pairs, which have no use for it.
    pub(super) fn give_back(&mut self, order: Order) {
        if !self.is_empty() {
            self.order = order;
        }
    }

    /// Where the pair with this number begins; none if it is of the others, which have lower ones.
    #[inline]
    pub(super) fn start(&self, number: u32) -> Option<usize> {
        if self.is_empty() { None } else { number.checked_sub(self.first).map(|start| start as usize) }
    }

    /// The pair that begins there, and its bytes.
    #[inline]
    pub(super) fn get(&self, start: usize) -> (EntryRef<'_>, &[u8]) {
        let rest = &self.entries[start..];
        #[expect(clippy::expect_used, reason = "`push` has written an entry here")]
        let (entry, length) = EntryRef::parse(rest).expect("an entry");
        (entry, &rest[..length])
    }

    /// Makes the processor fetch the pair that begins there, or how it begins if it is long.
    #[inline]
    pub(super) fn prefetch(&self, start: usize) {
        [start, start + 64, start + 128].into_iter().filter_map(|at| self.entries.get(at)).for_each(prefetch);
    }

    /// All keys, as they came.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let (entry, bytes) = (start < self.entries.len()).then(|| self.get(start))?;
            start += bytes.len();
            Some(entry.key)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What all pairs take, one behind the other.
    pub(super) fn entry_bytes(&self) -> usize {
        self.entries.len()
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.used_bytes().max(self.kept_bytes)
    }

    fn used_bytes(&self) -> usize {
        self.entries.len() + self.order.len() * Order::BYTES
    }

    /// Forgets all pairs, and keeps the memory if it is going to be used again: if it was.
    pub(super) fn clear(&mut self) {
        self.kept_bytes = still_kept(self.used_bytes(), self.kept_bytes);
        if self.kept_bytes == 0 {
            *self = Pile::default();
            return;
        }
        self.entries.clear();
        self.order.clear();
    }
}
