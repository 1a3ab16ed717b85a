//! The coordination store as one process of the simulation reaches it: the one in memory, behind a network.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use mapreduce_coordination::{CoordinationError, Coordinator, Entry, Lifetime, Version};
use mapreduce_core::Incarnation;
use tokio::{sync::watch, time::sleep};

use crate::{
    laws,
    process::{Lost, Process},
    world::Service,
};

const URL: &str = "simulated coordination";
/// How often is looked whether somebody is still cut off.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct SimCoordinator {
    process: Process,
    inner: Arc<dyn Coordinator>,
    lost: watch::Sender<bool>,
}

impl SimCoordinator {
    /// Connects, with a session. That it has ended is heard of later than it happens.
    pub(crate) fn open(
        process: &Process,
        incarnation: Incarnation,
    ) -> Result<Arc<SimCoordinator>, CoordinationError> {
        let inner = process.world().coordination().open(Some(incarnation))?;
        let lost = watch::Sender::new(false);
        let (mut ends, hears, listener) = (inner.session_lost(), lost.clone(), process.clone());
        tokio::spawn(async move {
            let has_ended = ends.wait_for(|lost| *lost).await.is_ok();
            if has_ended {
                sleep(listener.world().draw_ms(0, 300)).await;
                // Who does not reach the store does not hear of it, and goes on with what it can.
                while listener.is_cut_off_from(Service::Coordination) {
                    sleep(LOOK).await;
                }
                listener.gate().await;
                hears.send_replace(true);
            }
        });
        Ok(Arc::new(SimCoordinator { process: process.clone(), inner, lost }))
    }

    async fn call<T: Send + 'static>(
        &self,
        (verb, path, is_write): (&str, &str, bool),
        effect: impl FnOnce(&dyn Coordinator, &str) -> Option<Result<T, CoordinationError>> + Send + 'static,
    ) -> Result<T, CoordinationError> {
        let (inner, at) = (self.inner.clone(), path.to_owned());
        // What the store in memory does is done at once.
        let world = self.process.world().clone();
        let at_once = move || {
            let done = effect(inner.as_ref(), &at);
            if is_write {
                world.disk().sync();
                world.changed(&at);
            }
            done
        };
        match self.process.call(Service::Coordination, format!("{verb} {path}"), at_once).await {
            Ok(Some(done)) => done,
            Err(Lost::Unknown) if is_write => {
                Err(CoordinationError::Ambiguous { path: path.to_owned(), why: "no answer".to_owned() })
            }
            Ok(None) | Err(_) => {
                Err(CoordinationError::Unavailable { url: URL.to_owned(), why: "refused".to_owned() })
            }
        }
    }
}

impl fmt::Debug for SimCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{URL} of {}", self.process.name())
    }
}

#[async_trait]
impl Coordinator for SimCoordinator {
    async fn create(
        &self,
        path: &str,
        value: Bytes,
        lifetime: Lifetime,
    ) -> Result<Version, CoordinationError> {
        self.call(("create", path, true), move |c, at| c.create(at, value, lifetime).now_or_never()).await
    }

    async fn get(&self, path: &str) -> Result<Option<Entry>, CoordinationError> {
        self.call(("get", path, false), |c, at| c.get(at).now_or_never()).await
    }

    async fn set(&self, path: &str, value: Bytes, expected: Version) -> Result<Version, CoordinationError> {
        let process = self.process.clone();
        let set = move |c: &dyn Coordinator, at: &str| {
            let before = c.get(at).now_or_never()?.ok()?;
            let done = c.set(at, value.clone(), expected).now_or_never()?;
            if let (Ok(_), Some(before)) = (&done, before) {
                laws::set(&process, at, &before.value, &value);
            }
            Some(done)
        };
        self.call(("set", path, true), set).await
    }

    async fn delete(&self, path: &str, expected: Version) -> Result<(), CoordinationError> {
        self.call(("delete", path, true), move |c, at| c.delete(at, expected).now_or_never()).await
    }

    async fn children(&self, parent: &str) -> Result<Vec<String>, CoordinationError> {
        self.call(("children", parent, false), |c, at| c.children(at).now_or_never()).await
    }

    /// Changes are heard of later than they happen, and only those: who has not seen what it was told of is not told
    /// again. The store's own channel would wake those who wait in an order of its own dice.
    fn watch(&self, parent: &str) -> watch::Receiver<u64> {
        let (hears, heard) = watch::channel(0);
        let (process, parent) = (self.process.clone(), parent.to_owned());
        tokio::spawn(async move {
            let world = process.world();
            let mut seen = world.n_changes(&parent);
            while !hears.is_closed() {
                seen = world.change(&parent, seen).await;
                sleep(world.draw_ms(0, if world.is_calm() { 1 } else { 30 })).await;
                process.gate().await;
                hears.send_modify(|n| *n += 1);
            }
        });
        heard
    }

    fn session_lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
