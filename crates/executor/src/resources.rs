//! What an attempt may use: storage, memory, and the local disk for what does not fit into memory.

use std::{fs::File, path::PathBuf, sync::Arc};

use mapreduce_storage::{StorageError, Store, answers_at_once, open};
use tokio::runtime::{Builder, Runtime};

use crate::TaskError;

/// The means of one executor. Clones share them.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Where jobs are.
    pub store: Store,
    /// Where I/O waits; none if the store does all of it on the thread that asks. Nothing of it may run when an
    /// attempt asks for something: it is used by one thread.
    pub(crate) runtime: Option<Arc<Runtime>>,
    /// How much memory the engine's buffers may take, in bytes. A budget that is too small for one block of each
    /// of two files is exceeded.
    pub memory_bytes: usize,
    /// A directory on a local disk. What a task writes there has no name, and is gone with its process; side inputs
    /// have names, since processes share them.
    pub scratch: PathBuf,
}

impl Resources {
    /// With the store that `url` names.
    pub fn open(url: &str, memory_bytes: usize, scratch: PathBuf) -> Result<Self, StorageError> {
        let runtime = match answers_at_once(url) {
            true => None,
            false => {
                let built = Builder::new_current_thread().enable_all().build();
                let no_loop =
                    |e| StorageError::Url { url: url.to_owned(), why: format!("no event loop: {e}") };
                Some(Arc::new(built.map_err(no_loop)?))
            }
        };
        Ok(Resources { store: open(url)?, runtime, memory_bytes, scratch })
    }

    /// With a store that [answers at once](answers_at_once).
    pub fn local(store: Store, memory_bytes: usize, scratch: PathBuf) -> Self {
        Resources { store, runtime: None, memory_bytes, scratch }
    }

    /// A new file on the local disk.
    pub(crate) fn scratch_file(&self) -> Result<File, TaskError> {
        tempfile::tempfile_in(&self.scratch).map_err(TaskError::scratch(&self.scratch))
    }

    /// Waits for I/O. Without an event loop a local store does it on this thread, which saves a small task several
    /// threads and the ways between them.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => futures::executor::block_on(future),
        }
    }
}
