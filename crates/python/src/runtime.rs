//! Waiting for async work from Python: one runtime a process, made when it is first needed.

use std::{
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use pyo3::prelude::*;
use rustix::{process::getpid, thread::gettid};
use tokio::runtime::{Builder, Runtime};

use crate::raise::ClusterError;

/// How often a wait looks whether Ctrl-C was pressed.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// The runtime, and the process it was made in: a fork has its parent's memory without its threads.
static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// This process's runtime. Python forks only while it holds the interpreter, as the caller does, so no fork
/// finds the lock taken.
pub fn runtime(_attached: Python<'_>) -> PyResult<&'static Runtime> {
    let mut made = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match *made {
        Some((pid, runtime)) if pid == std::process::id() => Ok(runtime),
        _ => {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime =
                runtime.map_err(|e| ClusterError::new_err(format!("can't start the event loop: {e}")))?;
            let runtime: &'static Runtime = Box::leak(Box::new(runtime));
            *made = Some((std::process::id(), runtime));
            Ok(runtime)
        }
    }
}

/// Waits for the future that `make` makes while other Python threads run. Ctrl-C ends the wait and drops the
/// future.
pub fn block_on<F>(py: Python<'_>, make: impl FnOnce() -> F + Send) -> PyResult<F::Output>
where
    F: Future,
    F::Output: Send,
{
    let runtime = runtime(py)?;
    // Python handles signals in the main thread alone.
    let handles_signals = gettid() == getpid();
    py.detach(|| {
        runtime.block_on(async {
            let mut future = pin!(make());
            if !handles_signals {
                return Ok(future.await);
            }
            loop {
                match tokio::time::timeout(SIGNALS_EVERY, future.as_mut()).await {
                    Ok(output) => return Ok(output),
                    Err(_) => Python::attach(|py| py.check_signals())?,
                }
            }
        })
    })
}
