//! Telling the processor what memory will be read soon.

/// Makes the processor fetch the beginning of this, and go on meanwhile. A hint, which only x86-64 and ARM are given.
#[inline]
pub fn prefetch<T>(place: &T) {
    let place = std::ptr::from_ref(place).cast::<i8>();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it changes nothing, and may be given any address; this is a valid one.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above. The standard library has no name for the instruction yet.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{place}]",
            place = in(reg) place,
            options(nostack, preserves_flags, readonly),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = place;
}
