//! Waiting for memory less.

/// Makes the processor fetch this, without waiting for it.
#[inline]
pub fn prefetch<T>(place: &T) {
    let place = std::ptr::from_ref(place).cast::<i8>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it reads nothing; the instruction is part of every x86-64.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place);
    }
    // Elsewhere it waits, but reads that do not depend on each other are waited for at the same time.
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: a reference, so its first byte can be read.
    unsafe {
        std::hint::black_box(place.read());
    }
}
