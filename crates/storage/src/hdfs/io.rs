//! Talking to HDFS on threads that are not the caller's: files being written need a sign of life now and then, also
//! while a task computes; the client shares connections between all its users; and what was begun should end even if the
//! caller gives up, so that no half of it is left.

use std::time::Duration;

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use object_store::Result;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
};

use super::failure::Failure;
use crate::background::broke;
pub(super) use crate::background::{handle, run};

/// How many items of a stream are fetched ahead.
const AHEAD: usize = 16;

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
