//! One incarnation of a master without anything of the world around it: stores, clock and name are handed in, and so
//! are the calls of clients and workers, by a gRPC server or by a simulation.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use mapreduce_coordination::Coordinator;
use mapreduce_core::{Clock, Incarnation};
use mapreduce_storage::Store;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    context::{Context, Input},
    shell,
};

pub use crate::{server::to_event, shell::Ended};

/// What an incarnation lives on.
pub struct Means {
    /// Its name, never used before.
    pub me: Incarnation,
    /// Its connection, with its session.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where jobs are.
    pub store: Store,
    /// What it goes by in histories.
    pub clock: Arc<dyn Clock>,
    /// How long a process may be silent before it is taken for dead.
    pub lease: Duration,
}

/// An incarnation that has not begun yet. Until it does, what is asked of its [`Handle`] waits.
pub struct Master {
    context: Context,
    received: UnboundedReceiver<Input>,
}

/// What servers and simulations ask of a master. Clones are the same.
#[derive(Clone)]
pub struct Handle(pub(crate) Context);

impl Handle {
    /// Whose it is.
    pub fn incarnation(&self) -> &Incarnation {
        &self.0.me
    }
}

impl Master {
    /// With these means.
    pub fn new(Means { me, coordinator, store, clock, lease }: Means) -> Master {
        let (inputs, received) = unbounded_channel();
        let streams = Arc::default();
        Master { context: Context { me, coordinator, store, clock, lease, inputs, streams }, received }
    }

    /// What to ask it by.
    pub fn handle(&self) -> Handle {
        Handle(self.context.clone())
    }

    /// Owns and schedules jobs until `shutdown` completes or the session is lost. All that it has begun ends with it.
    pub async fn serve(self, shutdown: Pin<&mut impl Future<Output = ()>>) -> Ended {
        shell::serve(self.context, self.received, shutdown).await
    }
}
