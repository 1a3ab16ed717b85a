//! Reaching the servers, and saying which of them could not be reached, and how.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use zookeeper_client::{Client, Error, SessionInfo};

use super::access::Access;
use crate::remote::{PATIENCE, Place};

/// How long one server has to say what is wrong with it.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to carry on a session.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What it takes to connect, now and later.
#[derive(Debug)]
pub(super) struct Servers {
    pub url: Arc<str>,
    pub place: Place,
    pub access: Access,
    /// How long the servers wait for a sign of life. They have limits of their own and may choose another time.
    pub lease: Duration,
}

impl Servers {
    async fn try_connect(&self, session: Option<&SessionInfo>) -> Result<Client, Error> {
        let mut connector = Client::connector().with_session_timeout(self.lease);
        if let Some(login) = self.access.login() {
            connector = connector.with_auth("digest", login);
        }
        if let Some(session) = session {
            connector = connector.with_session(session.clone());
        }
        connector.connect(&self.place.servers.join(",")).await
    }

    /// A new session. Servers may be about to start, or to elect a leader; so it tries for a while.
    pub async fn connect(&self) -> Result<Client, String> {
        let began = Instant::now();
        let connecting = async {
            loop {
                match self.try_connect(None).await {
                    Ok(client) => return client,
                    // The library's patience is the lease, which may be shorter than ours.
                    Err(error) => tracing::info!("no session with {} yet: {error}", self.url),
                }
                sleep(RETRY_PAUSE).await;
            }
        };
        match timeout(PATIENCE, connecting).await {
            Ok(client) => Ok(client),
            Err(_) => {
                let found = self.probe_all().await;
                Err(format!("no server took us in within {:.1} s: {found}", began.elapsed().as_secs_f64()))
            }
        }
    }

    /// The session again, as soon as a server can be reached. None if the servers say that it is over.
    pub async fn carry_on(&self, session: &SessionInfo) -> Option<Client> {
        loop {
            match self.try_connect(Some(session)).await {
                Ok(client) => return Some(client),
                Err(Error::SessionExpired) => return None,
                Err(error) => tracing::warn!("{} can't be reached: {error}", self.url),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// What is wrong with each server, in the order of the URL.
    async fn probe_all(&self) -> String {
        let mut probes = JoinSet::new();
        for (n, server) in self.place.servers.iter().cloned().enumerate() {
            probes.spawn(async move { (n, format!("{server} {}", probe(&server).await)) });
        }
        let mut found: Vec<(usize, String)> = probes.join_all().await;
        found.sort();
        found.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ")
    }
}

/// What is wrong with a server that took nobody in.
async fn probe(server: &str) -> String {
    let mut stream = match timeout(PROBE_PATIENCE, TcpStream::connect(server)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return format!("can't be reached ({error})"),
        Err(_) => return format!("can't be reached (no answer within {PROBE_PATIENCE:?})"),
    };
    let mut said = String::new();
    let asked = async {
        stream.write_all(b"srvr").await?;
        (&mut stream).take(200).read_to_string(&mut said).await
    };
    match timeout(PROBE_PATIENCE, asked).await {
        Ok(Ok(_)) if said.contains("not currently serving") => {
            "runs and serves nobody (no quorum: most of the ensemble's servers must run)".to_owned()
        }
        Ok(Ok(_)) if said.contains("Mode:") => "serves, but took too long".to_owned(),
        Ok(_) => "answers, but not as a ZooKeeper server that serves".to_owned(),
        Err(_) => "is connected, but says nothing (stopped, or not ZooKeeper)".to_owned(),
    }
}
