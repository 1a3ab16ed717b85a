//! Groups that are known without a look at the key.

use mapreduce_executor::map::GroupId;
use pyo3::{ffi, prelude::*};

/// The groups of keys that came lately, by the identity of the key object. It holds the objects, so that none
/// can go and leave its address to another.
pub struct RecentKeys<'py> {
    slots: Vec<Option<(Bound<'py, PyAny>, GroupId)>>,
    /// How many more keys may be put here before one is found: where each comes as an object of its own, such as a word of
    /// a list that is split off, it is a waste of time and memory.
    credit: u32,
}

impl<'py> RecentKeys<'py> {
    const BITS: u32 = 12;
    const CREDIT: u32 = 1 << 13;
    /// Of so many keys one must be found.
    const PUTS_A_FIND: u32 = 8;

    pub fn new() -> Self {
        let slots = std::iter::repeat_with(|| None).take(1 << Self::BITS).collect();
        RecentKeys { slots, credit: Self::CREDIT }
    }

    /// Whether a key that others hold, too, is to be looked for and put here.
    #[inline]
    pub fn are_worth_it(&self) -> bool {
        self.credit > 0
    }

    fn slot(key: &Bound<'py, PyAny>) -> usize {
        // Fibonacci hashing: addresses of objects that were made together differ in few, low bits.
        let address = key.as_ptr() as u64;
        ((address >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - Self::BITS)) as usize
    }

    #[inline]
    pub fn get(&mut self, key: &Bound<'py, PyAny>) -> Option<GroupId> {
        match &self.slots[Self::slot(key)] {
            Some((recent, group)) if recent.is(key) => {
                self.credit = (self.credit + Self::PUTS_A_FIND).min(Self::CREDIT);
                Some(*group)
            }
            _ => None,
        }
    }

    pub fn put(&mut self, key: &Bound<'py, PyAny>, group: GroupId) {
        self.credit = self.credit.saturating_sub(1);
        self.slots[Self::slot(key)] = Some((key.clone(), group));
    }
}

/// Whether others than its pair hold a key, so that it may come again.
#[inline]
pub fn is_shared(key: &Bound<'_, PyAny>) -> bool {
    // SAFETY: reads a field of an object that is alive.
    unsafe { ffi::Py_REFCNT(key.as_ptr()) > 1 }
}
