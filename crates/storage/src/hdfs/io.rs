//! The threads that talk to HDFS. They are not the caller's: files being written need a sign of life now and then, also
//! while a task computes; the client shares connections between all its users; and what was begun should end even if the
//! caller gives up, so that no half of it is left.

use std::{
    process,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::{Error, Result};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::mpsc::{self, Receiver, Sender},
    task::{JoinError, JoinHandle},
};

use super::failure::{Failure, generic};

/// How many items of a stream are fetched ahead.
const AHEAD: usize = 16;

/// The runtime, and the process it was made in: a fork has its parent's memory without its threads. A fork's copy of its
/// parent's is left as it is, since ending it would wait for threads that are not there.
static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// This process's.
pub(super) fn handle() -> Result<Handle> {
    let mut made = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match *made {
        Some((pid, runtime)) if pid == process::id() => Ok(runtime.handle().clone()),
        _ => {
            let built =
                Builder::new_multi_thread().worker_threads(2).thread_name("hdfs").enable_all().build();
            let runtime: &'static Runtime = Box::leak(Box::new(built.map_err(generic)?));
            *made = Some((process::id(), runtime));
            Ok(runtime.handle().clone())
        }
    }
}

/// Runs `work` there. It goes on if the caller does not wait for it.
pub(super) async fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    handle()?.spawn(work).await.unwrap_or_else(|error| Err(broke(error)))
}

/// What `produce`, which runs there, sends. It ends early if nobody wants more of it.
pub(super) fn streamed<T, F>(produce: impl FnOnce(Sender<Result<T>>) -> F) -> BoxStream<'static, Result<T>>
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(AHEAD);
    match handle() {
        Ok(handle) => {
            let producer = Some(handle.spawn(produce(sender)));
            // Some ask an ended stream again.
            stream::unfold((receiver, producer), next).fuse().boxed()
        }
        Err(error) => stream::once(std::future::ready(Err(error))).boxed(),
    }
}

type Stream<T> = (Receiver<Result<T>>, Option<JoinHandle<()>>);

/// The end is one only if the producer has come to it.
async fn next<T>((mut receiver, producer): Stream<T>) -> Option<(Result<T>, Stream<T>)> {
    if let Some(item) = receiver.recv().await {
        return Some((item, (receiver, producer)));
    }
    let broken = producer?.await.err()?;
    Some((Err(broke(broken)), (receiver, None)))
}

fn broke(error: JoinError) -> Error {
    generic(format!("the HDFS client broke: {error}; please report it"))
}

/// Waits for DataNodes no longer than that. What goes wrong on the way to them leaves nothing in doubt but data.
pub(super) async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = hdfs_native::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done.map_err(|error| match Failure::from(error) {
            Failure::Unknown(why) => Failure::Data(why),
            failure => failure,
        }),
        Err(_) => Err(Failure::Data(format!("DataNodes said nothing for {} s", patience.as_secs()))),
    }
}
