//! Threads that talk to remote stores for whoever has no event loop of its own, or is to be free for other work.

use std::{
    process,
    sync::{Mutex, PoisonError},
};

use object_store::{Error, Result};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinError,
};

/// The runtime, and the process it was made in: a fork has its parent's memory without its threads. A fork's copy of its
/// parent's is left as it is, since ending it would wait for threads that are not there.
static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// This process's.
pub fn handle() -> Result<Handle> {
    let mut made = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match *made {
        Some((pid, runtime)) if pid == process::id() => Ok(runtime.handle().clone()),
        _ => {
            let built =
                Builder::new_multi_thread().worker_threads(2).thread_name("stores").enable_all().build();
            let failed = |error| Error::Generic { store: "threads", source: Box::new(error) };
            let runtime: &'static Runtime = Box::leak(Box::new(built.map_err(failed)?));
            *made = Some((process::id(), runtime));
            Ok(runtime.handle().clone())
        }
    }
}

/// Runs `work` there. It goes on if the caller does not wait for it.
pub async fn run<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    handle()?.spawn(work).await.unwrap_or_else(|error| Err(broke(error)))
}

/// The error of work that panicked or was cut off.
pub fn broke(error: JoinError) -> Error {
    let why = format!("a store's client broke: {error}; please report it");
    Error::Generic { store: "client", source: why.into() }
}
