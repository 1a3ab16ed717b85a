//! Writing a file whose length nobody knows yet, in memory that does not grow with it.

use std::collections::VecDeque;

use futures::{StreamExt, stream};
use mapreduce_core::Content;
use object_store::{MultipartUpload, ObjectStoreExt, path::Path};
use tokio::task::JoinHandle;

use crate::{FileRef, StorageError, Store, background, paths};

/// What is sent at one time. S3 asks for 5 MiB at least, and for 10,000 parts at most.
const PART_BYTES: usize = 8 << 20;

/// A file that is being written, at a place that is the caller's own, such as its attempt's. It appears when it
/// is finished; if it is dropped before, it never was.
#[derive(Debug)]
pub struct FileUpload {
    store: Store,
    path: Path,
    /// What was not sent yet.
    part: Vec<u8>,
    /// None as long as one part is enough.
    parts: Option<Box<dyn MultipartUpload>>,
    /// Parts that are on their way, and how many may be; none: each is waited for.
    sending: VecDeque<JoinHandle<object_store::Result<()>>>,
    at_once: usize,
    length: u64,
    crc32c: u32,
    /// Up to which length no file is made; none: one is made in any case.
    content_bytes_max: Option<u64>,
}

impl FileUpload {
    /// A file at `path`, which is below a job's directory. Nothing is written yet.
    pub fn new(store: Store, path: Path) -> Self {
        FileUpload {
            store,
            path,
            part: Vec::new(),
            parts: None,
            sending: VecDeque::new(),
            at_once: 0,
            length: 0,
            crc32c: 0,
            content_bytes_max: None,
        }
    }

    /// The same, but a file that turns out to have at most so many bytes is none: its [`FileRef`] has them.
    pub fn with_content(self, content_bytes_max: u64) -> Self {
        FileUpload { content_bytes_max: Some(content_bytes_max), ..self }
    }

    /// The same, with so many parts on their way while the caller does something else: [`background`]'s threads send them.
    pub fn sending_at_once(self, at_once: usize) -> Self {
        FileUpload { at_once, ..self }
    }

    /// Appends.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.length += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART_BYTES { self.send_part().await } else { Ok(()) }
    }

    /// Makes the file durable, and reads it back: the marker that names it must not name what is not there (I4).
    pub async fn finish(mut self) -> Result<FileRef, StorageError> {
        if self.parts.is_none() {
            let bytes = std::mem::take(&mut self.part);
            if self.content_bytes_max.is_some_and(|max| self.length <= max) {
                let path = paths::below_job(&self.path);
                let content = Some(Content(bytes));
                return Ok(FileRef { path, length: self.length, crc32c: self.crc32c, content });
            }
            self.store.put(&self.path, bytes.into()).await.map_err(|e| StorageError::of(&self.path, e))?;
        } else {
            if !self.part.is_empty() {
                self.send_part().await?;
            }
            self.wait_until_sent(0).await?;
            if let Some(parts) = &mut self.parts {
                parts.complete().await.map_err(|e| StorageError::of(&self.path, e))?;
            }
        }
        let path = paths::below_job(&self.path);
        let wrote = FileRef { path, length: self.length, crc32c: self.crc32c, content: None };
        let found = read_back(&self.store, &self.path, self.at_once.max(1)).await?;
        if found != wrote {
            return Err(StorageError::Mismatch {
                path: self.path.to_string(),
                wrote: wrote.into(),
                found: found.into(),
            });
        }
        Ok(wrote)
    }

    /// Has the store forget what was sent. Without it, some keep that until somebody cleans up.
    pub async fn abort(mut self) -> Result<(), StorageError> {
        for part in self.sending.drain(..) {
            part.abort();
            let _ = part.await; // whatever became of it
        }
        match &mut self.parts {
            Some(parts) => parts.abort().await.map_err(|e| StorageError::of(&self.path, e)),
            None => Ok(()),
        }
    }

    async fn send_part(&mut self) -> Result<(), StorageError> {
        let part = std::mem::take(&mut self.part);
        let failed = |e| StorageError::of(&self.path, e);
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => self.parts.insert(self.store.put_multipart(&self.path).await.map_err(failed)?),
        };
        let sent = parts.put_part(part.into());
        if self.at_once == 0 {
            return sent.await.map_err(failed);
        }
        self.sending.push_back(background::handle().map_err(failed)?.spawn(sent));
        self.wait_until_sent(self.at_once - 1).await
    }

    /// Waits until no more parts than `n` are on their way.
    async fn wait_until_sent(&mut self, n: usize) -> Result<(), StorageError> {
        while self.sending.len() > n
            && let Some(part) = self.sending.pop_front()
        {
            let sent = part.await.unwrap_or_else(|error| Err(background::broke(error)));
            sent.map_err(|e| StorageError::of(&self.path, e))?;
        }
        Ok(())
    }
}

/// Reads a file in parts, not as a stream: local stores stream pieces of 8 KiB, each by another thread.
async fn read_back(store: &Store, path: &Path, at_once: usize) -> Result<FileRef, StorageError> {
    let failed = |e| StorageError::of(path, e);
    let length = store.head(path).await.map_err(failed)?.size;
    let mut crc32c = 0;
    let ranges = (0..length).step_by(PART_BYTES).map(|start| start..length.min(start + PART_BYTES as u64));
    let mut parts = stream::iter(ranges).map(|range| store.get_range(path, range)).buffered(at_once);
    while let Some(part) = parts.next().await {
        crc32c = crc32c::crc32c_append(crc32c, &part.map_err(failed)?);
    }
    Ok(FileRef { path: paths::below_job(path), length, crc32c, content: None })
}
