//! Reaching one of the servers, and saying which of them could not be reached, and how.
//!
//! There is one connection at a time, to one server: which of them works is found by trying them in turn, and it is left
//! when it does not answer. A server counts as one that works when it has answered a read of what is ours, which needs a
//! leader, a quorum, and the right to read it.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};
use tonic::{
    Request, Response, Status,
    metadata::{AsciiMetadataValue, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{
    failure::Trouble,
    lease::Granted,
    wire::{
        self, AuthClient, AuthenticateRequest, KeyValue, KvClient, LeaseClient, LeaseGrantRequest,
        LeaseRevokeRequest, RangeRequest, TxnRequest, TxnResponse, WatchClient,
    },
};
use crate::remote::{Login, PATIENCE, Place};

/// How long one server has to take us in. The next may be better.
const SERVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a server has to answer a call; another may be quicker.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// After all servers were tried, before they are tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Of an answer; the transport's own limit, 4 MiB, may be less than the names of all jobs.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What it takes to connect, now and later.
#[derive(Debug)]
pub(super) struct Servers {
    pub url: Arc<str>,
    pub place: Place,
    pub login: Option<Login>,
    /// Which server is tried first: not the same one by everybody, and not the one that was just left.
    first: AtomicUsize,
}

/// A connection to a server that worked when it was made.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// Grows with every connection of this process.
    pub number: u64,
    channel: Channel,
    /// Says who we are.
    token: Option<AsciiMetadataValue>,
}

/// Why a server did not take us in.
enum Refusal {
    /// No other will, either.
    Forbidden(String),
    /// It does not work; what is wrong with it, as the rest of a sentence that begins with the server.
    NotWorking(String),
}

impl Servers {
    pub fn new(url: Arc<str>, place: Place, login: Option<Login>) -> Servers {
        Servers { url, place, login, first: AtomicUsize::new(process::id() as usize) }
    }

    /// What everything of ours begins with.
    pub fn prefix(&self) -> String {
        format!("{}/", self.place.root)
    }

    /// To the first server that works. They may be about to start, or to elect a leader; so it tries for a while.
    pub async fn connect(&self) -> Result<Connection, String> {
        let began = Instant::now();
        let servers = &self.place.servers;
        let mut found = vec!["was not tried".to_owned(); servers.len()];
        let first = self.first.load(Ordering::Relaxed);
        let mut patience = SERVER_PATIENCE.min(PATIENCE / (servers.len() as u32 + 1));
        let connecting = async {
            loop {
                for i in (0..servers.len()).map(|i| (i + first) % servers.len()) {
                    match self.try_connect(&servers[i], patience).await {
                        Ok(connection) => {
                            self.first.store(i + 1, Ordering::Relaxed);
                            return Ok(connection);
                        }
                        Err(Refusal::Forbidden(why)) => return Err(why),
                        Err(Refusal::NotWorking(why)) => found[i] = why,
                    }
                }
                // Perhaps all are slow.
                patience *= 2;
                sleep(RETRY_PAUSE).await;
            }
        };
        if let Ok(connected) = timeout(PATIENCE, connecting).await {
            return connected;
        }
        let found: Vec<String> =
            servers.iter().zip(found).map(|(server, why)| format!("{server} {why}")).collect();
        let waited = began.elapsed().as_secs_f64();
        Err(format!("no server took us in within {waited:.1} s: {}", found.join(", ")))
    }

    async fn try_connect(&self, server: &str, patience: Duration) -> Result<Connection, Refusal> {
        match timeout(patience, self.greet(server)).await {
            Ok(connected) => connected,
            Err(_) => Err(Refusal::NotWorking(format!("does not answer (for {patience:?})"))),
        }
    }

    async fn greet(&self, server: &str) -> Result<Connection, Refusal> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let not_working = |e: tonic::transport::Error| {
            let why = Trouble::from(&Status::from_error(Box::new(e))).why();
            Refusal::NotWorking(format!("can't be reached ({why})"))
        };
        let endpoint = Endpoint::from_shared(format!("http://{server}")).map_err(not_working)?;
        let channel = endpoint.connect().await.map_err(not_working)?;
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let mut connection = Connection { number, channel, token: None };
        if let Some(login) = &self.login {
            connection.token = Some(self.authenticate(&connection, login).await?);
        }
        let look = RangeRequest { limit: 1, keys_only: true, ..wire::below(&self.prefix()) };
        connection.kv().range(connection.request(look)).await.map_err(|status| self.refusal(&status))?;
        Ok(connection)
    }

    async fn authenticate(
        &self,
        connection: &Connection,
        login: &Login,
    ) -> Result<AsciiMetadataValue, Refusal> {
        let Login { user: name, password } = login.clone();
        let asked = connection.request(AuthenticateRequest { name, password });
        let answer = AuthClient::new(connection.channel.clone()).authenticate(asked).await;
        let token = answer.map_err(|status| self.refusal(&status))?.into_inner().token;
        token.parse().map_err(|e| Refusal::NotWorking(format!("gave a token that can't be sent ({e})")))
    }

    fn refusal(&self, status: &Status) -> Refusal {
        let Place { root, auth, .. } = &self.place;
        let file = auth.as_deref().unwrap_or("".as_ref()).display();
        match status.message() {
            "etcdserver: authentication is not enabled" => Refusal::Forbidden(format!(
                "everybody may change {root}, so that the password in {file} protects nothing: enable authentication \
                 at the servers (etcdctl auth enable)"
            )),
            "etcdserver: user name is empty" => Refusal::Forbidden(format!(
                "{root} can't be used without a name and password (?auth=/absolute/file): the servers don't allow it"
            )),
            "etcdserver: authentication failed, invalid user ID or password" => Refusal::Forbidden(format!(
                "{root} can't be used: the servers don't know the name and password in {file}"
            )),
            "etcdserver: permission denied" => Refusal::Forbidden(format!(
                "{root} can't be used with the name and password in {file}: the servers don't allow it; the user needs a \
                 role with the permission readwrite to the prefix {}",
                self.prefix()
            )),
            _ => match Trouble::from(status) {
                Trouble::NotYet(why) => Refusal::NotWorking(why),
                trouble => {
                    Refusal::NotWorking(format!("is connected, but does not serve ({})", trouble.why()))
                }
            },
        }
    }
}

impl Connection {
    fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub async fn range(&self, range: RangeRequest) -> Result<Vec<KeyValue>, Trouble> {
        Ok(in_time(self.kv().range(self.request(range))).await?.kvs)
    }

    pub async fn txn(&self, transaction: TxnRequest) -> Result<TxnResponse, Trouble> {
        in_time(self.kv().txn(self.request(transaction))).await
    }

    /// A lease of this length, in whole seconds, or of the shortest one that there is.
    pub async fn grant(&self, lease: Duration) -> Result<Granted, Trouble> {
        let ttl = lease.as_millis().div_ceil(1000).try_into().unwrap_or(i64::MAX);
        let granted = in_time(self.lease().lease_grant(self.request(LeaseGrantRequest { ttl }))).await?;
        Ok((granted.id, Duration::from_secs(granted.ttl.max(1).unsigned_abs())))
    }

    /// Ends a lease, and what lives with it.
    pub async fn revoke(&self, id: i64) -> Result<(), Trouble> {
        match in_time(self.lease().lease_revoke(self.request(LeaseRevokeRequest { id }))).await {
            Err(Trouble::Refused(why)) if why.ends_with("lease not found") => Ok(()),
            revoked => revoked.map(|_| ()),
        }
    }

    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// From us, and for a server that has a leader: one that was cut off from the others would let a stream stay silent,
    /// and a call wait.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Trouble> {
    match timeout(ANSWER_PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Trouble::from(&status)),
        Err(_) => Err(Trouble::Unknown(format!("no answer within {ANSWER_PATIENCE:?}"))),
    }
}
