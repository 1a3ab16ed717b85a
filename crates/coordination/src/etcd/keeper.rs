//! The background task of a session: it connects, keeps the lease alive, watches, and ends the session when told to.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    connect::Connection,
    failure::Trouble,
    lease,
    session::Session,
    wire::{self, Event, EventType, LeaseKeepAliveRequest},
};
use crate::remote::PATIENCE;

/// Between two connections.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Why a connection is left.
enum End {
    /// It does not work; why.
    Broken(String),
    /// The servers say that the session is over.
    SessionOver,
}

impl Session {
    /// Returns when the session is over.
    pub async fn keep(self: Arc<Self>) {
        let mut closing = self.closing.subscribe();
        let is_told_to = async { closing.wait_for(|closing| *closing).await.is_ok() };
        let is_over =
            tokio::select! { () = self.attend_all() => true, is_told_to = is_told_to => !is_told_to };
        if !is_over {
            self.end().await;
        }
        self.connection.send_replace(None);
        self.ended.send_replace(true);
        self.changed();
    }

    /// One connection after the other, for as long as there is a session.
    async fn attend_all(&self) {
        loop {
            let connection = self.connection.borrow().clone();
            match connection {
                Some(connection) => {
                    match self.attend(&connection).await {
                        End::SessionOver if self.incarnation.is_some() => {
                            self.lost.send_replace(true);
                            return;
                        }
                        End::SessionOver => {}
                        End::Broken(why) => tracing::info!("{}: leaving a server: {why}", self.servers.url),
                    }
                    self.connection.send_replace(None);
                    sleep(RETRY_PAUSE).await;
                }
                None => match self.connect_again().await {
                    Ok(connection) => drop(self.connection.send_replace(Some(connection))),
                    Err(why) => tracing::warn!("{} can't be reached: {why}", self.servers.url),
                },
            }
        }
    }

    /// With another session, if ours is over and there was nobody to lose it.
    async fn connect_again(&self) -> Result<Connection, String> {
        let connection = self.servers.connect().await?;
        if self.incarnation.is_none() && !self.lives(&connection).await.map_err(Trouble::why)? {
            let begun = lease::begin(&self.servers, &connection, None, None, &mut None).await;
            match begun.map_err(Trouble::why)? {
                Some(own) => self.replace(own),
                None => return Err("the session's name is taken".to_owned()),
            }
        }
        Ok(connection)
    }

    /// Returns when the connection does not work any more, or the session is over.
    async fn attend(&self, connection: &Connection) -> End {
        let mut given_up = self.given_up.subscribe();
        let given_up = given_up.wait_for(|newest| *newest >= connection.number);
        tokio::select! {
            end = self.watch_all(connection) => end,
            end = self.keep_lease(connection) => end,
            end = self.look(connection) => end,
            _ = given_up => End::Broken("a call had no answer".to_owned()),
        }
    }

    /// One watch on everything of ours. What happened before it was there may have been missed, so that a new one counts
    /// as a change; so does whatever is answered.
    async fn watch_all(&self, connection: &Connection) -> End {
        let key = self.own().key.clone();
        let (asking, asked) = mpsc::channel(1);
        // There is room for one.
        let _ = asking.try_send(wire::watch_below(&self.servers.prefix()));
        let watching = connection.watch().watch(connection.request(ReceiverStream::new(asked))).await;
        let mut answers = match watching {
            Ok(answers) => answers.into_inner(),
            Err(status) => return End::Broken(format!("no watch: {status}")),
        };
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) if answer.canceled => {
                    let (why, compacted) = (answer.cancel_reason, answer.compact_revision);
                    return End::Broken(format!("the watch was cancelled: {why} (compacted: {compacted})"));
                }
                Ok(Some(answer)) => answer,
                Ok(None) => return End::Broken("the watch has ended".to_owned()),
                Err(status) => return End::Broken(format!("the watch broke: {status}")),
            };
            let removes = |event: &Event| {
                event.r#type() == EventType::Delete && event.kv.as_ref().is_some_and(|kv| kv.key == key)
            };
            if answer.events.iter().any(removes) {
                return End::SessionOver;
            }
            self.changed();
        }
    }

    /// Looks once whether the session has ended while there was no watch to tell.
    async fn look(&self, connection: &Connection) -> End {
        match self.lives(connection).await {
            Ok(true) => pending().await,
            Ok(false) => End::SessionOver,
            Err(trouble) => End::Broken(format!("the session can't be looked for: {}", trouble.why())),
        }
    }

    /// Shows the servers that we live, and sees whether they do. A server that is silent for a part of the lease is left
    /// while there is time to tell another.
    async fn keep_lease(&self, connection: &Connection) -> End {
        let (lease, granted) = {
            let own = self.own();
            (own.lease, own.granted)
        };
        let patience = granted * 2 / 5;
        let silent = || End::Broken(format!("no sign of life for {patience:?}"));
        let (asking, asked) = mpsc::channel(1);
        let _ = asking.try_send(LeaseKeepAliveRequest { id: lease });
        let request = connection.request(ReceiverStream::new(asked));
        let mut answers = match timeout(patience, connection.lease().lease_keep_alive(request)).await {
            Ok(Ok(answers)) => answers.into_inner(),
            Ok(Err(status)) => return End::Broken(format!("the lease can't be kept: {status}")),
            Err(_) => return silent(),
        };
        loop {
            match timeout(patience, answers.message()).await {
                Ok(Ok(Some(answer))) if answer.ttl > 0 => {}
                // One server says so. The next connection looks whether the session's key is gone.
                Ok(Ok(Some(_))) => return End::Broken("the lease is not known there".to_owned()),
                Ok(Ok(None)) => return End::Broken("the lease's stream has ended".to_owned()),
                Ok(Err(status)) => return End::Broken(format!("the lease's stream broke: {status}")),
                Err(_) => return silent(),
            }
            sleep(granted / 5).await;
            if asking.send(LeaseKeepAliveRequest { id: lease }).await.is_err() {
                return End::Broken("the lease's stream is closed".to_owned());
            }
        }
    }

    /// Ends the session at the servers if one can be reached.
    async fn end(&self) {
        let lease = self.own().lease;
        let ending = async {
            let mut connection = self.connection.borrow().clone();
            loop {
                let tried = match connection.take() {
                    Some(connection) => connection.revoke(lease).await.map_err(Trouble::why),
                    None => match self.servers.connect().await {
                        Ok(again) => {
                            connection = Some(again);
                            continue;
                        }
                        Err(why) => Err(why),
                    },
                };
                match tried {
                    Ok(()) => return,
                    Err(why) => tracing::info!("{}: the session can't be ended yet: {why}", self.servers.url),
                }
            }
        };
        if timeout(PATIENCE, ending).await.is_err() {
            tracing::warn!("{} can't be reached: the servers will end the session", self.servers.url);
        }
    }
}
