//! What an attempt may use: storage, memory, and the local disk for what does not fit into memory.

use std::{fs::File, path::PathBuf, sync::Arc};

use mapreduce_storage::Store;
use tokio::runtime::Runtime;

use crate::TaskError;

/// The means of one executor. Clones share them.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Where jobs are.
    pub store: Store,
    /// Where I/O waits. Nothing of it may run when an attempt asks for something: it is used by one thread.
    pub runtime: Arc<Runtime>,
    /// How much memory the engine's buffers may take, in bytes. A budget that is too small for one block of each
    /// of two files is exceeded.
    pub memory_bytes: usize,
    /// A directory on a local disk. Files in it have no names: they are gone with their process.
    pub scratch: PathBuf,
}

impl Resources {
    /// A new file on the local disk.
    pub(crate) fn scratch_file(&self) -> Result<File, TaskError> {
        tempfile::tempfile_in(&self.scratch).map_err(TaskError::scratch(&self.scratch))
    }

    /// Waits for I/O.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}
