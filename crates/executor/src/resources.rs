//! What an attempt may use: storage, memory, and the local disk for what does not fit into memory.

use std::{
    fs::File,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use mapreduce_storage::{StorageError, Store, answers_at_once, open};
use tokio::runtime::{Builder, Runtime};

use crate::TaskError;

/// The means of one executor. Clones share them.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Where jobs are.
    pub store: Store,
    waiting: Waiting,
    /// How much memory the engine's buffers may take, in bytes. A budget that is too small for one block of each
    /// of two files is exceeded.
    pub memory_bytes: usize,
    /// A directory on a local disk. What a task writes there has no name, and is gone with its process; side inputs
    /// have names, since processes share them.
    pub scratch: PathBuf,
}

/// How this thread waits for I/O.
#[derive(Debug, Clone)]
enum Waiting {
    /// The store does all of it on the thread that asks.
    InPlace,
    /// Nothing of it may run when an attempt asks for something: it is used by one thread.
    EventLoop(Arc<Runtime>),
    Suspended(Arc<dyn Suspend>),
}

/// Lets others run until I/O may have come further: an attempt in a simulation is a coroutine.
pub trait Suspend: std::fmt::Debug + Send + Sync {
    /// Who is to be woken when it has.
    fn waker(&self) -> Waker;
    /// Returns after somebody was.
    fn suspend(&self);
}

impl Resources {
    /// With the store that `url` names.
    pub fn open(url: &str, memory_bytes: usize, scratch: PathBuf) -> Result<Self, StorageError> {
        let waiting = match answers_at_once(url) {
            true => Waiting::InPlace,
            false => {
                let built = Builder::new_current_thread().enable_all().build();
                let no_loop =
                    |e| StorageError::Url { url: url.to_owned(), why: format!("no event loop: {e}") };
                Waiting::EventLoop(Arc::new(built.map_err(no_loop)?))
            }
        };
        Ok(Resources { store: open(url)?, waiting, memory_bytes, scratch })
    }

    /// With a store that [answers at once](answers_at_once).
    pub fn local(store: Store, memory_bytes: usize, scratch: PathBuf) -> Self {
        Resources { store, waiting: Waiting::InPlace, memory_bytes, scratch }
    }

    #[cfg(test)]
    pub(crate) fn waiting_in(
        runtime: Arc<Runtime>,
        store: Store,
        memory_bytes: usize,
        scratch: PathBuf,
    ) -> Self {
        Resources { store, waiting: Waiting::EventLoop(runtime), memory_bytes, scratch }
    }

    /// With a store whose answers are waited for by suspending what runs.
    pub fn suspending(store: Store, by: Arc<dyn Suspend>, memory_bytes: usize, scratch: PathBuf) -> Self {
        Resources { store, waiting: Waiting::Suspended(by), memory_bytes, scratch }
    }

    /// A new file on the local disk.
    pub(crate) fn scratch_file(&self) -> Result<File, TaskError> {
        tempfile::tempfile_in(&self.scratch).map_err(TaskError::scratch(&self.scratch))
    }

    /// Waits for I/O. Without an event loop a local store does it on this thread, which saves a small task several
    /// threads and the ways between them.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        match &self.waiting {
            Waiting::InPlace => futures::executor::block_on(future),
            Waiting::EventLoop(runtime) => runtime.block_on(future),
            Waiting::Suspended(by) => {
                let mut future = pin!(future);
                loop {
                    match future.as_mut().poll(&mut Context::from_waker(&by.waker())) {
                        Poll::Ready(output) => return output,
                        Poll::Pending => by.suspend(),
                    }
                }
            }
        }
    }
}
