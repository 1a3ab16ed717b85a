//! Groups that are known without a look at the key.

use mapreduce_executor::map::GroupId;
use pyo3::{ffi, prelude::*};

/// The groups of keys that came lately, by the identity of the key object. It holds the objects, so that none
/// can go and leave its address to another.
pub struct RecentKeys<'py> {
    slots: Vec<Option<(Bound<'py, PyAny>, GroupId)>>,
}

impl<'py> RecentKeys<'py> {
    const BITS: u32 = 12;

    pub fn new() -> Self {
        RecentKeys { slots: std::iter::repeat_with(|| None).take(1 << Self::BITS).collect() }
    }

    fn slot(key: &Bound<'py, PyAny>) -> usize {
        // Fibonacci hashing: addresses of objects that were made together differ in few, low bits.
        let address = key.as_ptr() as u64;
        ((address >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - Self::BITS)) as usize
    }

    #[inline]
    pub fn get(&self, key: &Bound<'py, PyAny>) -> Option<GroupId> {
        match &self.slots[Self::slot(key)] {
            Some((recent, group)) if recent.is(key) => Some(*group),
            _ => None,
        }
    }

    pub fn put(&mut self, key: &Bound<'py, PyAny>, group: GroupId) {
        self.slots[Self::slot(key)] = Some((key.clone(), group));
    }
}

/// Whether others than its pair hold a key, so that it may come again.
#[inline]
pub fn is_shared(key: &Bound<'_, PyAny>) -> bool {
    // SAFETY: reads a field of an object that is alive.
    unsafe { ffi::Py_REFCNT(key.as_ptr()) > 1 }
}
