//! Python's cyclic garbage collector.

use pyo3::{ffi, prelude::*};

/// Keeps the collector quiet as long as it lives. User code makes many objects at once, all of which are alive:
/// looking through them again and again finds nothing and takes half of the time.
pub struct QuietCollector<'py> {
    was_enabled: bool,
    _py: Python<'py>,
}

impl<'py> QuietCollector<'py> {
    /// Keeps it quiet from here on.
    pub fn new(py: Python<'py>) -> Self {
        // SAFETY: takes nothing, and `py` says that this thread is attached to the interpreter.
        QuietCollector { was_enabled: unsafe { ffi::PyGC_Disable() } == 1, _py: py }
    }
}

impl Drop for QuietCollector<'_> {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: as above; the token in `self` can't outlive the attachment.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}
