//! What the tests of storage share: samples, and stores that fail as they are told.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use mapreduce_core::{
    AttemptEnd, AttemptId, Epoch, Failure, FailureKind, History, HistoryEvent, Incarnation, JobId, Role,
    Stage, TaskId,
};
use mapreduce_storage::{FileRef, Marker, Store};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

pub const JOB: JobId = JobId(7);

pub fn map(index: u32) -> TaskId {
    TaskId { stage: Stage::Map, index }
}

pub fn reduce(index: u32) -> TaskId {
    TaskId { stage: Stage::Reduce, index }
}

pub fn attempt(epoch: u64, number: u32) -> AttemptId {
    AttemptId { epoch: Epoch(epoch), number }
}

pub fn worker(n: u64) -> Incarnation {
    Incarnation::new(Role::Worker, n)
}

pub fn marker(task: TaskId, attempt: AttemptId) -> Marker {
    let path = format!("attempts/{task}/{attempt}/output");
    Marker {
        task,
        attempt,
        worker: worker(1),
        files: vec![FileRef { path, length: 10, crc32c: 99, content: None }],
        input_manifest: None,
        records_in: 5,
        records_out: 6,
        counters: Default::default(),
        started_at_ms: 100,
        ended_at_ms: 200,
    }
}

pub fn failure(task: TaskId, attempt: AttemptId) -> Failure {
    Failure {
        task,
        attempt,
        worker: worker(1),
        what: FailureKind::ExecutorExited { code: 3 },
        message: "the executor exited".into(),
        traceback: String::new(),
        record: None,
        pickled_exception: None,
        at_ms: 300,
    }
}

pub fn launched(task: TaskId, attempt: AttemptId, worker: Incarnation) -> HistoryEvent {
    HistoryEvent::Launched { task, attempt, worker, at_ms: 10 }
}

pub fn ended(task: TaskId, attempt: AttemptId, end: AttemptEnd) -> HistoryEvent {
    HistoryEvent::Ended { task, attempt, end, at_ms: 20 }
}

pub fn history(epoch: u64, sequence: u64, events: Vec<HistoryEvent>) -> History {
    History { epoch: Epoch(epoch), sequence, events }
}

/// What happens to one write or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It never arrives; the caller hears of an error.
    RequestLost,
    /// It takes effect; the caller hears of an error.
    ReplyLost,
    /// There is no room for it; it takes no effect.
    NoRoom,
    /// The same, and from then on nothing can be deleted.
    Stuck,
    /// What should be created is overwritten, if it is there.
    Overwrites,
    /// A read finds the last byte changed.
    Flipped,
    /// A read finds the last byte missing.
    Cut,
}

/// A store whose next writes and reads go as `puts` and `gets` say, and then as they should.
#[derive(Debug)]
pub struct Faulty {
    inner: Store,
    puts: Mutex<VecDeque<Fault>>,
    gets: Mutex<VecDeque<Fault>>,
    is_stuck: AtomicBool,
}

impl Faulty {
    pub fn over(inner: &Store, puts: &[Fault], gets: &[Fault]) -> Store {
        let queue = |faults: &[Fault]| Mutex::new(faults.iter().copied().collect());
        let (puts, gets, is_stuck) = (queue(puts), queue(gets), AtomicBool::new(false));
        Arc::new(Faulty { inner: inner.clone(), puts, gets, is_stuck })
    }
}

fn next(faults: &Mutex<VecDeque<Fault>>) -> Fault {
    faults.lock().unwrap().pop_front().unwrap_or(Fault::None)
}

fn lost<T>() -> Result<T> {
    Err(object_store::Error::Generic { store: "faulty", source: "connection lost".into() })
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let fault = next(&self.puts);
        self.is_stuck.fetch_or(fault == Fault::Stuck, Ordering::Relaxed);
        match fault {
            Fault::RequestLost => lost(),
            Fault::NoRoom | Fault::Stuck => {
                let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                Err(object_store::Error::Generic { store: "faulty", source: full.into() })
            }
            Fault::ReplyLost => {
                self.inner.put_opts(path, payload, opts).await?;
                lost()
            }
            Fault::Overwrites => self.inner.put_opts(path, payload, PutMode::Overwrite.into()).await,
            _ => self.inner.put_opts(path, payload, opts).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, opts).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = next(&self.gets);
        if matches!(fault, Fault::RequestLost | Fault::ReplyLost) {
            return lost();
        }
        let mut found = self.inner.get_opts(path, options).await?;
        if fault == Fault::None {
            return Ok(found);
        }
        let (meta, attributes, extensions) =
            (found.meta.clone(), found.attributes.clone(), found.extensions.clone());
        let mut range = found.range.clone();
        found.range = range.clone();
        let mut bytes = found.bytes().await?.to_vec();
        let last = bytes.pop().unwrap();
        if fault == Fault::Flipped {
            bytes.push(last ^ 1);
        }
        range.end = range.start + bytes.len() as u64;
        let stream = futures::stream::iter([Ok(Bytes::from(bytes))]);
        Ok(GetResult {
            payload: GetResultPayload::Stream(Box::pin(stream)),
            meta,
            range,
            attributes,
            extensions,
        })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.is_stuck.load(Ordering::Relaxed) {
            true => paths.map(|_| lost()).boxed(),
            false => self.inner.delete_stream(paths),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
