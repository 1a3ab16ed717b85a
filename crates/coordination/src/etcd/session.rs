//! The session at the servers: a lease, and a key that lives with it, for as long as the *servers* say so.
//!
//! **Its end.** When the lease expires, its keys go, the session's own among them. That this key is gone is the one sign
//! that the session has ended; a server that can't be reached says nothing. Every write is a transaction that asks for the
//! key, so that none takes effect after the end. Who has no incarnation to lose, a client or a monitor, then begins
//! another session.
//!
//! **Doubt.** etcd keeps no order between a write whose answer was lost and what the same process asks next, through
//! another server perhaps: the write may be on its way still, and take effect after a read has shown that it did not. So
//! every write asks, more exactly, whether the session's key was written last in the revision known as the *fence*; and
//! after a write of unknown outcome the key is written again, before anything else is asked. From then on the doubtful
//! write has taken effect or never will, and what is read is what remains.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mapreduce_core::Incarnation;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    connect::{Connection, Servers},
    failure::Trouble,
    lease::Own,
    wire::{self, Compare, KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest},
};
use crate::remote::{Failure, PATIENCE};

/// Before what went wrong is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What the calls and the background task share.
#[derive(Debug)]
pub(super) struct Session {
    pub servers: Servers,
    /// Who lives with it.
    pub incarnation: Option<Incarnation>,
    /// None while there is none.
    pub connection: watch::Sender<Option<Connection>>,
    /// The newest connection that was found not to work, and all older ones are not to be used.
    pub given_up: watch::Sender<u64>,
    own: Mutex<Own>,
    /// Held while the key is written to end a doubt.
    settling: tokio::sync::Mutex<()>,
    pub lost: watch::Sender<bool>,
    pub changes: watch::Sender<u64>,
    pub closing: watch::Sender<bool>,
    /// Whether the background task has come to its end.
    pub ended: watch::Sender<bool>,
}

/// While a write is under way. Dropped with it, by whoever gives up waiting, it leaves a doubt.
struct InDoubt<'a>(Option<&'a Session>);

impl InDoubt<'_> {
    /// It was answered.
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for InDoubt<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0 {
            session.own().doubts += 1;
        }
    }
}

/// How one try to write went.
enum Tried {
    /// In this revision.
    Written(i64),
    /// Not made: its condition does not hold.
    Beaten,
    /// Not made: the fence has moved.
    Fenced,
    /// Not made, and this connection can't make it; why.
    NeedsAnother(String),
}

impl Session {
    pub fn new(
        servers: Servers,
        incarnation: Option<Incarnation>,
        connection: Connection,
        own: Own,
    ) -> Arc<Session> {
        Arc::new(Session {
            servers,
            incarnation,
            connection: watch::Sender::new(Some(connection)),
            given_up: watch::Sender::new(0),
            own: Mutex::new(own),
            settling: tokio::sync::Mutex::default(),
            lost: watch::Sender::new(false),
            changes: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            ended: watch::Sender::new(false),
        })
    }

    pub fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// This connection, and older ones, are not used any more.
    pub fn give_up(&self, connection: &Connection) {
        let number = connection.number;
        self.given_up.send_if_modified(|newest| {
            let grows = *newest < number;
            *newest = number.max(*newest);
            grows
        });
    }

    /// Looks for keys, again if need be, for as long as a call may wait.
    pub async fn read(&self, range: RangeRequest) -> Result<Vec<KeyValue>, Failure> {
        let began = Instant::now();
        loop {
            let connection = self.connected().await?;
            let asked = async {
                self.settle(&connection).await?;
                connection.range(range.clone()).await
            };
            let why = match asked.await {
                Ok(found) => return Ok(found),
                Err(Trouble::Refused(why)) => return Err(Failure::NotDone(why)),
                Err(trouble) => trouble.why(),
            };
            self.give_up(&connection);
            if began.elapsed() >= PATIENCE {
                return Err(Failure::NotDone(why));
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Makes one write, if the session lives and `condition` holds. Answers in which revision; none if the condition does
    /// not hold. It is sent again only when the servers said that it was not done.
    pub async fn write(&self, condition: Compare, write: RequestOp) -> Result<Option<i64>, Failure> {
        let began = Instant::now();
        loop {
            let connection = self.connected().await?;
            let why = match self.try_write(&connection, &condition, &write).await? {
                Tried::Written(revision) => return Ok(Some(revision)),
                Tried::Beaten => return Ok(None),
                Tried::Fenced => continue,
                Tried::NeedsAnother(why) => why,
            };
            self.give_up(&connection);
            if began.elapsed() >= PATIENCE {
                return Err(Failure::NotDone(why));
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    async fn try_write(
        &self,
        connection: &Connection,
        condition: &Compare,
        write: &RequestOp,
    ) -> Result<Tried, Failure> {
        if let Err(trouble) = self.settle(connection).await {
            return Ok(Tried::NeedsAnother(trouble.why()));
        }
        let Own { key, fence, .. } = self.own().clone();
        let transaction = TxnRequest {
            compare: vec![wire::written_in(&key, fence), condition.clone()],
            success: vec![write.clone()],
            failure: vec![wire::get(&key)],
        };
        let in_doubt = InDoubt(Some(self));
        let answer = match connection.txn(transaction).await {
            Ok(answer) => answer,
            Err(Trouble::Unknown(why)) => {
                self.give_up(connection);
                return Err(Failure::Unknown(why));
            }
            Err(Trouble::Refused(why)) => {
                in_doubt.end();
                return Err(Failure::NotDone(why));
            }
            Err(Trouble::NotYet(why)) => {
                in_doubt.end();
                return Ok(Tried::NeedsAnother(why));
            }
        };
        in_doubt.end();
        match answer.succeeded {
            true => Ok(Tried::Written(answer.revision())),
            false => self.judge(connection, fence, answer.found()),
        }
    }

    /// What the session's key says about a write that was refused at this fence.
    fn judge(&self, connection: &Connection, fence: i64, found: Option<&KeyValue>) -> Result<Tried, Failure> {
        let mut own = self.own();
        match found.filter(|found| found.create_revision == own.created) {
            Some(found) if found.mod_revision == fence => return Ok(Tried::Beaten),
            // Another call has moved it meanwhile, or a write of the key arrived late.
            Some(found) => {
                own.fence = own.fence.max(found.mod_revision);
                return Ok(Tried::Fenced);
            }
            None => drop(own),
        }
        self.gone(connection);
        match &self.incarnation {
            Some(_) => Err(Failure::SessionLost),
            None => Ok(Tried::NeedsAnother("the session has expired".to_owned())),
        }
    }

    /// The servers say that the session's key is gone.
    fn gone(&self, connection: &Connection) {
        if self.incarnation.is_some() {
            self.lost.send_replace(true);
        }
        // The background task finds it gone as well.
        self.give_up(connection);
    }

    /// Sees to it that no write of unknown outcome can take effect from now on.
    async fn settle(&self, connection: &Connection) -> Result<(), Trouble> {
        let has_doubt = || {
            let own = self.own();
            own.doubts > own.settled
        };
        if !has_doubt() {
            return Ok(());
        }
        let _one_at_a_time = self.settling.lock().await;
        let Own { key, created, doubts, settled, .. } = self.own().clone();
        if doubts == settled {
            return Ok(());
        }
        let put = PutRequest { key: key.clone(), ignore_lease: true, ..PutRequest::default() };
        let transaction = TxnRequest {
            compare: vec![wire::made_in(&key, created)],
            success: vec![wire::put(put)],
            failure: vec![],
        };
        let answer = connection.txn(transaction).await?;
        if !answer.succeeded {
            self.gone(connection);
            return Err(Trouble::NotYet("the session has expired".to_owned()));
        }
        let mut own = self.own();
        if own.created == created {
            own.fence = own.fence.max(answer.revision());
            own.settled = doubts;
        }
        Ok(())
    }

    /// The connection, as soon as there is one.
    async fn connected(&self) -> Result<Connection, Failure> {
        let (mut connections, mut given_up) = (self.connection.subscribe(), self.given_up.subscribe());
        let connected = async {
            loop {
                if *self.lost.borrow() {
                    return Err(Failure::SessionLost);
                }
                if *self.closing.borrow() {
                    return Err(Failure::NotDone("it was closed".to_owned()));
                }
                let newest = *given_up.borrow_and_update();
                match &*connections.borrow_and_update() {
                    Some(connection) if connection.number > newest => return Ok(connection.clone()),
                    _ => {}
                }
                tokio::select! { _ = connections.changed() => {}, _ = given_up.changed() => {} }
            }
        };
        timeout(PATIENCE, connected).await.unwrap_or_else(|_| {
            let servers = self.servers.place.servers.join(", ");
            Err(Failure::NotDone(format!("none of {servers} could be reached for {PATIENCE:?}")))
        })
    }

    /// Another session, for who has none to lose.
    pub fn replace(&self, own: Own) {
        *self.own() = own;
    }

    /// Whether the session's key is still there.
    pub async fn lives(&self, connection: &Connection) -> Result<bool, Trouble> {
        let Own { key, created, .. } = self.own().clone();
        let found = connection.range(wire::at(&key)).await?;
        Ok(found.first().is_some_and(|found| found.create_revision == created))
    }

    /// Returns when its entries are gone, or else after a while, and the servers end it when its lease has run out.
    pub async fn close(&self) {
        if self.incarnation.is_some() {
            self.lost.send_replace(true);
        }
        self.closing.send_replace(true);
        let mut ended = self.ended.subscribe();
        // It fails only when nobody could end it any more.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}
