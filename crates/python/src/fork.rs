//! What a fork must not touch: connections, threads and file locks belong to the process that made them.

use pyo3::prelude::*;

use crate::raise::ClusterError;

/// A value that only the process that made it may use. A fork's copy is not even dropped, because dropping it
/// would act on what it shares with its parent, such as the parent's event queue.
#[derive(Debug)]
pub struct ForkGuard<T> {
    pid: u32,
    value: Option<T>,
}

impl<T> ForkGuard<T> {
    /// This process's own.
    pub fn new(value: T) -> ForkGuard<T> {
        ForkGuard { pid: std::process::id(), value: Some(value) }
    }

    /// The value; none in a fork.
    pub fn get(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.pid == std::process::id())
    }

    /// The value; in a fork, an error that says what to do.
    pub fn require(&self) -> PyResult<&T> {
        self.get().ok_or_else(|| {
            ClusterError::new_err(format!(
                "this cluster belongs to process {}, and this is its fork {}: attach to it with \
                 LocalCluster(auth, initialize=False, directory=...) or connect(url, auth), or start one here",
                self.pid,
                std::process::id()
            ))
        })
    }
}

impl<T> Drop for ForkGuard<T> {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}
