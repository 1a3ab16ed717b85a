//! The session with the ensemble, for as long as the *servers* say that it lives.
//!
//! The client library gives its session up when it has reached no server for 7/5 of the lease. It can't know: with all
//! servers down, or with no quorum, nobody ends sessions, and they go on when the servers return. So a session that the
//! library has given up is carried on under its id and password ([`Servers::carry_on`]) until a server takes it in or
//! says that it has expired. In the first case nothing has happened to the incarnation: what it ran goes on, and what
//! it could not write meanwhile it writes now. In the second its entries are gone, and it ends.
//!
//! A new session never takes an old one's place unnoticed, or writes of an incarnation that others took for dead would
//! take effect. Only who has none to lose, a client or a monitor, is given a new one.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use zookeeper_client::{
    AddWatchMode, Client, Error, EventType, PersistentWatcher, SessionInfo, SessionState,
};

use super::{connect::Servers, failure::is_terminal};
use crate::remote::{Failure, PATIENCE};

/// Between two tries to watch.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What the calls and the background task share.
#[derive(Debug)]
pub(super) struct Session {
    pub servers: Servers,
    /// Whether an incarnation lives with it.
    pub has_incarnation: bool,
    /// None once it was closed.
    client: watch::Sender<Option<Client>>,
    pub lost: watch::Sender<bool>,
    pub changes: watch::Sender<u64>,
}

impl Session {
    pub fn new(servers: Servers, has_incarnation: bool, client: Client) -> Session {
        let (client, lost) = (watch::Sender::new(Some(client)), watch::Sender::new(false));
        Session { servers, has_incarnation, client, lost, changes: watch::Sender::new(0) }
    }

    /// Makes one call. It waits for a connection first, so that what can't be sent is known not to be done.
    pub async fn call<T, E>(
        &self,
        call: impl AsyncFnOnce(&Client) -> Result<T, E>,
    ) -> Result<Result<T, E>, Failure>
    where
        Error: From<E>,
        E: Clone,
    {
        let client = self.connected().await?;
        let Ok(outcome) = timeout(PATIENCE, call(&client)).await else {
            return Err(Failure::Unknown(format!("no answer within {PATIENCE:?}")));
        };
        match &outcome {
            Err(error) if is_terminal(&error.clone().into()) => {
                drop(client);
                // Whether the session is over, the servers tell.
                self.connected().await?;
                Err(Failure::Unknown("the connection broke".to_owned()))
            }
            _ => Ok(outcome),
        }
    }

    /// The client, as soon as it has a connection.
    async fn connected(&self) -> Result<Client, Failure> {
        let mut clients = self.client.subscribe();
        let connected = async {
            loop {
                if *self.lost.borrow() {
                    return Err(Failure::SessionLost);
                }
                let Some(client) = clients.borrow_and_update().clone() else {
                    return Err(Failure::NotDone("it was closed".to_owned()));
                };
                let mut state = client.state_watcher();
                match client.state() {
                    SessionState::SyncConnected => return Ok(client),
                    _ => {
                        // Its last handle must not be ours when it is closed.
                        drop(client);
                        tokio::select! { _ = state.changed() => {}, _ = clients.changed() => {} }
                    }
                }
            }
        };
        timeout(PATIENCE, connected).await.unwrap_or_else(|_| {
            let servers = self.servers.place.servers.join(", ");
            Err(Failure::NotDone(format!("none of {servers} could be reached for {PATIENCE:?}")))
        })
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Watches, and carries the session on; returns when it is over.
    pub async fn keep(self: Arc<Self>) {
        loop {
            let Some(session) = self.client.borrow().as_ref().map(|client| client.session().clone()) else {
                return;
            };
            self.watch_all().await;
            let Some(client) = self.again(&session).await else {
                self.lost.send_replace(true);
                // Calls that wait for it to be carried on hear of it by this.
                self.client.send_replace(None);
                self.changed();
                return;
            };
            // Not into a session that was closed meanwhile.
            self.client.send_if_modified(|old| old.is_some() && old.replace(client).is_some());
            self.changed();
        }
    }

    /// The session carried on, or for who has none to lose another.
    async fn again(&self, session: &SessionInfo) -> Option<Client> {
        if self.has_incarnation {
            return self.servers.carry_on(session).await;
        }
        loop {
            match self.servers.connect().await {
                Ok(client) => return Some(client),
                Err(why) => tracing::warn!("{} can't be reached: {why}", self.servers.url),
            }
        }
    }

    /// One watch on everything below the root; returns when the client library has given up its session. A change may
    /// be missed while there is no connection, so that every new one counts as a change.
    async fn watch_all(&self) {
        let Some(mut watcher) = self.watch_again().await else { return };
        loop {
            let event = watcher.changed().await;
            self.changed();
            match event.session_state {
                _ if event.event_type != EventType::Session => {}
                // The servers forget it with the connection, and the library (0.11) means to tell them again but doesn't:
                // it sends them empty lists. The old watcher goes when the new one is there, or they would stop that, too.
                SessionState::SyncConnected => match self.watch_again().await {
                    Some(again) => watcher = again,
                    None => return,
                },
                state if state.is_terminated() => return,
                _ => {}
            }
        }
    }

    /// A watch that the servers know of; none when the client library has given up its session.
    async fn watch_again(&self) -> Option<PersistentWatcher> {
        let root = &self.servers.place.root;
        loop {
            // Whoever holds a client keeps it from being closed: only for the call.
            let client = self.client.borrow().clone()?;
            match client.watch(root, AddWatchMode::PersistentRecursive).await {
                Ok(watcher) => {
                    self.changed();
                    return Some(watcher);
                }
                Err(_) if client.state().is_terminated() => return None,
                Err(error) => tracing::warn!("{} can't be watched yet: {error}", self.servers.url),
            }
            drop(client);
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Ends it at the servers. Returns when its entries are gone, or else after a while, and the servers end it when
    /// its lease has run out.
    pub async fn close(&self) {
        if self.has_incarnation {
            self.lost.send_replace(true);
        }
        let Some(client) = self.client.send_replace(None) else { return };
        let mut state = client.state_watcher();
        // The library closes the session when nobody holds the client any more.
        drop(client);
        let closed = async {
            while !state.state().is_terminated() {
                state.changed().await;
            }
        };
        if timeout(PATIENCE, closed).await.is_err() {
            tracing::warn!("{} can't be reached: the servers will end the session", self.servers.url);
        }
    }
}
