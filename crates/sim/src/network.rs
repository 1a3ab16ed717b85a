//! The network of the simulation. A stream is two queues, one a direction: what is said arrives in order and later, or
//! the stream breaks and what was on its way is lost. Where a cable is cut, nothing arrives and nobody is told, until the
//! stream is given up.

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use mapreduce_coordination::records::Member;
use mapreduce_rpc::control::WorkerMessage;
use mapreduce_worker::incarnation::{FromMaster, Network};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Duration, sleep},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use crate::{laws, process::Process, world::Service};

/// How long a stream over which nothing comes through lives.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(4);
/// How often a cut cable is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The network as one worker sees it.
pub(crate) struct SimNetwork {
    pub(crate) worker: Process,
}

#[async_trait]
impl Network for SimNetwork {
    async fn attend(
        &self,
        master: &Member,
        said: UnboundedReceiver<WorkerMessage>,
    ) -> Result<FromMaster, Status> {
        let world = self.worker.world();
        self.worker.gate().await;
        let name = master.address.clone().unwrap_or_default();
        let known = world.state().masters.get(&name).cloned();
        let Some((process, handle)) = known.filter(|(process, _)| !process.is_dead()) else {
            return Err(Status::unavailable("connection refused"));
        };
        sleep(world.draw_ms(0, 10)).await;
        let heard = pipe(UnboundedReceiverStream::new(said).map(Ok), &self.worker, &process);
        let said = handle.attend(Box::pin(UnboundedReceiverStream::new(heard))).await?;
        let master = process.clone();
        let said = said.inspect(move |message| laws::said(&master, message));
        let heard = pipe(said, &process, &self.worker);
        Ok(Box::pin(UnboundedReceiverStream::new(heard)))
    }
}

/// Carries what `from` says to `to`.
fn pipe<T: Send + 'static>(
    said: impl Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
    from: &Process,
    to: &Process,
) -> UnboundedReceiver<Result<T, Status>> {
    let (hear, heard) = unbounded_channel();
    tokio::spawn(carry(said, from.clone(), to.clone(), hear));
    heard
}

async fn carry<T: Send + 'static>(
    mut said: impl Stream<Item = Result<T, Status>> + Unpin,
    from: Process,
    to: Process,
    hear: UnboundedSender<Result<T, Status>>,
) {
    let what = format!("-> {}", to.name());
    loop {
        let sent = async {
            let message = said.next().await?;
            Some((message, from.call(Service::Network, what.clone(), || ()).await))
        };
        let sent = tokio::select! {
            biased;
            () = hear.closed() => return,
            // The system closes what a dead process had open.
            () = from.death() => None,
            sent = sent => sent,
        };
        let Some((message, sent)) = sent else { return };
        let arrives = sent.is_ok() && passes(&from, &to).await;
        to.gate().await;
        if !arrives {
            let _ = hear.send(Err(Status::unavailable("the connection broke"))); // or nobody listens any more
            return;
        }
        if hear.send(message).is_err() {
            return;
        }
    }
}

/// Whether something comes through from one host to the other before the stream is given up.
async fn passes(from: &Process, to: &Process) -> bool {
    let hosts = (from.host().to_owned(), to.host().to_owned());
    let mut waited = Duration::ZERO;
    while from.world().state().partitions.contains(&hosts) {
        if waited >= GIVEN_UP_AFTER {
            return false;
        }
        sleep(LOOK).await;
        waited += LOOK;
    }
    true
}
