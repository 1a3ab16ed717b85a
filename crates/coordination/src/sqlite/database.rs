//! The database file: schema, transactions and what SQLite's errors mean to us.
//!
//! Writes are `BEGIN IMMEDIATE` transactions in WAL mode with `synchronous=FULL`: linearizable across
//! processes, and durable when they return (with `?sync=no`, as durable as the kernel's memory). A write of a session checks in its own transaction that the
//! session is still there; that, and not any clock, is what fences a process that others took for dead.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mapreduce_core::Incarnation;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, config::DbConfig,
    named_params, params,
};

use crate::{CoordinationError, Entry, UNSYNCED, Version, child_name};

/// `PRAGMA user_version`. Grows with every incompatible change of the schema.
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE entry (
        path TEXT PRIMARY KEY,
        value BLOB NOT NULL,
        version INTEGER NOT NULL,
        session TEXT REFERENCES session (id) ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX entry_session ON entry (session) WHERE session IS NOT NULL;
    CREATE TABLE session (
        id TEXT PRIMARY KEY,
        pid INTEGER NOT NULL,
        pid_started INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE sequence (last INTEGER NOT NULL);
    INSERT INTO sequence VALUES (0);
    PRAGMA user_version = 1;
";

/// Entries of one directory that are looked through for what has changed.
const FINGERPRINTED_MAX: i64 = 100;

/// How many entries there are, and the highest version.
pub(super) type Fingerprint = (i64, Option<i64>);

/// Why a transaction did not happen.
#[derive(Debug)]
pub(super) enum Failure {
    /// An answer of ours.
    Answer(CoordinationError),
    /// Another process holds the write lock all the time. Nothing was changed.
    Busy,
    /// Anything else; nothing was changed.
    Broken(String),
}

impl From<CoordinationError> for Failure {
    fn from(error: CoordinationError) -> Self {
        Failure::Answer(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => Failure::Busy,
            _ => Failure::Broken(error.to_string()),
        }
    }
}

impl Failure {
    pub(super) fn at(self, url: &str) -> CoordinationError {
        let why = match self {
            Failure::Answer(error) => return error,
            Failure::Busy => "another process has been writing to the database for too long".to_owned(),
            Failure::Broken(why) => why,
        };
        CoordinationError::Unavailable { url: url.to_owned(), why }
    }
}

/// One connection to the database.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    url: Arc<str>,
    session: Option<Incarnation>,
}

impl Database {
    /// Opens the database file, and makes it if it isn't there. Entries are written by `session`, if there is
    /// one. Writes wait for other processes' writes for `patience`.
    pub(super) fn open(
        file: &Path,
        url: &Arc<str>,
        session: Option<Incarnation>,
        patience: Duration,
    ) -> Result<Database, CoordinationError> {
        let open = || -> Result<Connection, Failure> {
            let new = !file.exists();
            let mut connection = Connection::open(file)?;
            if new {
                // By name: to open the file beside SQLite, and close it, would drop the locks that SQLite holds.
                let owner_only = fs::set_permissions(file, Permissions::from_mode(0o600));
                owner_only.map_err(|e| Failure::Broken(format!("{}: {e}", file.display())))?;
            }
            connection.busy_handler(Some(waiting(patience)))?;
            write_ahead(&connection, patience)?;
            let synchronous = if url.ends_with(UNSYNCED) { "OFF" } else { "FULL" };
            connection.pragma_update(None, "synchronous", synchronous)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
            prepare_schema(&mut connection)?;
            Ok(connection)
        };
        let connection = open().map_err(|failure| failure.at(url))?;
        Ok(Database { connection, url: url.clone(), session })
    }

    /// Changes how long writes wait for other processes' writes.
    pub(super) fn set_patience(&mut self, patience: Duration) -> Result<(), Failure> {
        Ok(self.connection.busy_handler(Some(waiting(patience)))?)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Changes entries in a write transaction, as long as the session lasts.
    fn write<T>(
        &mut self,
        path: &str,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let session = self.session.clone();
        self.transact(path, |t| match session {
            Some(session) if !has_session(t, &session)? => Err(CoordinationError::SessionLost.into()),
            _ => change(t),
        })
    }

    /// Runs `change` in a write transaction. `what` names it in an error.
    pub(super) fn transact<T>(
        &mut self,
        what: &str,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = change(&transaction)?;
        match transaction.commit() {
            Ok(()) => Ok(done),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Err(Failure::Busy),
            // The frames may lie in the log already, and a recovery after a crash may find them.
            Err(error) => {
                Err(CoordinationError::Ambiguous { path: what.to_owned(), why: error.to_string() }.into())
            }
        }
    }

    pub(super) fn create(
        &mut self,
        path: &str,
        value: &[u8],
        session: Option<&Incarnation>,
    ) -> Result<Version, Failure> {
        self.write(path, |t| {
            let version = next_version(t)?;
            let made = t
                .prepare_cached(
                    "INSERT INTO entry (path, value, version, session) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (path) DO NOTHING",
                )?
                .execute(params![path, value, version, session.map(Incarnation::as_str)])?;
            if made == 0 {
                return Err(CoordinationError::AlreadyExists { path: path.to_owned() }.into());
            }
            Ok(from_column(version))
        })
    }

    pub(super) fn get(&self, path: &str) -> Result<Option<Entry>, Failure> {
        let mut select =
            self.connection.prepare_cached("SELECT value, version FROM entry WHERE path = ?1")?;
        let entry = select.query_row([path], |row| {
            Ok(Entry { value: Bytes::from(row.get::<_, Vec<u8>>(0)?), version: from_column(row.get(1)?) })
        });
        Ok(entry.optional()?)
    }

    pub(super) fn set(&mut self, path: &str, value: &[u8], expected: Version) -> Result<Version, Failure> {
        self.write(path, |t| {
            let version = next_version(t)?;
            let changed = t
                .prepare_cached("UPDATE entry SET value = ?2, version = ?3 WHERE path = ?1 AND version = ?4")?
                .execute(params![path, value, version, expected.0.cast_signed()])?;
            require_changed(changed, path)?;
            Ok(from_column(version))
        })
    }

    pub(super) fn delete(&mut self, path: &str, expected: Version) -> Result<(), Failure> {
        self.write(path, |t| {
            let changed = t
                .prepare_cached("DELETE FROM entry WHERE path = ?1 AND version = ?2")?
                .execute(params![path, expected.0.cast_signed()])?;
            require_changed(changed, path)
        })
    }

    pub(super) fn children(&self, parent: &str) -> Result<Vec<String>, Failure> {
        // '0' follows '/', so the range holds just the paths that go on after "<parent>/".
        let mut select = self
            .connection
            .prepare_cached("SELECT path FROM entry WHERE path > :parent || '/' AND path < :parent || '0'")?;
        let paths = select.query_map(named_params! { ":parent": parent }, |row| row.get::<_, String>(0))?;
        let mut names = Vec::new();
        for path in paths {
            names.extend(child_name(parent, &path?).map(str::to_owned));
        }
        Ok(names)
    }

    /// What is another whenever an entry below `parent` has been made, changed or removed, as no two writes share a
    /// version: how many there are, and the newest one. None if there are too many to look through each time.
    pub(super) fn fingerprint(&self, parent: &str) -> Result<Option<Fingerprint>, Failure> {
        if parent == "/" {
            return Ok(None);
        }
        let mut select = self.connection.prepare_cached(
            "SELECT count(*), max(version) FROM (
                 SELECT version FROM entry WHERE path > :parent || '/' AND path < :parent || '0' LIMIT :most + 1
             )",
        )?;
        let found: Fingerprint = select
            .query_row(named_params! { ":parent": parent, ":most": FINGERPRINTED_MAX }, |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        Ok(Some(found).filter(|(n, _)| *n <= FINGERPRINTED_MAX))
    }

    /// A number that changes with every commit of any other connection.
    pub(super) fn data_version(&self) -> Result<i64, Failure> {
        Ok(self.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
    }

    pub(super) fn has_session(&self, id: &Incarnation) -> Result<bool, Failure> {
        has_session(&self.connection, id)
    }

    pub(super) fn sessions(&self) -> Result<Vec<SessionRow>, Failure> {
        sessions(&self.connection)
    }
}

/// A session and the process that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionRow {
    pub(super) id: Incarnation,
    pub(super) pid: u32,
    pub(super) pid_started: u64,
}

pub(super) fn sessions(c: &Connection) -> Result<Vec<SessionRow>, Failure> {
    let mut select = c.prepare_cached("SELECT id, pid, pid_started FROM session")?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let id = id.parse().map_err(|e| Failure::Broken(format!("table session: {e}")))?;
        let pid_started: i64 = row.get(2)?;
        found.push(SessionRow { id, pid: row.get(1)?, pid_started: pid_started.cast_unsigned() });
    }
    Ok(found)
}

pub(super) fn insert_session(t: &Transaction<'_>, row: &SessionRow) -> Result<(), Failure> {
    t.prepare_cached("INSERT INTO session VALUES (?1, ?2, ?3)")?.execute(params![
        row.id.as_str(),
        row.pid,
        row.pid_started.cast_signed()
    ])?;
    Ok(())
}

/// Ends a session: its entries go with it. Answers whether it was there.
pub(super) fn delete_session(t: &Transaction<'_>, id: &Incarnation) -> Result<bool, Failure> {
    Ok(t.prepare_cached("DELETE FROM session WHERE id = ?1")?.execute([id.as_str()])? > 0)
}

fn has_session(c: &Connection, id: &Incarnation) -> Result<bool, Failure> {
    Ok(c.prepare_cached("SELECT 1 FROM session WHERE id = ?1")?.exists([id.as_str()])?)
}

fn next_version(t: &Transaction<'_>) -> Result<i64, Failure> {
    let mut next = t.prepare_cached("UPDATE sequence SET last = last + 1 RETURNING last")?;
    Ok(next.query_row([], |row| row.get(0))?)
}

fn from_column(version: i64) -> Version {
    Version(version.cast_unsigned())
}

fn require_changed(changed: usize, path: &str) -> Result<(), Failure> {
    match changed {
        0 => Err(CoordinationError::Conflict { path: path.to_owned() }.into()),
        _ => Ok(()),
    }
}

/// Waits for the write lock in short steps, because writes last a millisecond and people wait for them;
/// SQLite's own handler soon sleeps for 100 ms.
fn waiting(patience: Duration) -> impl FnMut(i32) -> bool + Send + 'static {
    let mut since = Instant::now();
    move |times| {
        if times == 0 {
            since = Instant::now();
        }
        let waited = since.elapsed();
        thread::sleep(Duration::from_millis(if waited.as_millis() < 50 { 1 } else { 10 }));
        waited < patience
    }
}

/// Turns WAL mode on. SQLite does not call the busy handler when two processes do so at one time.
fn write_ahead(connection: &Connection, patience: Duration) -> Result<(), Failure> {
    let mut wait = waiting(patience);
    for times in 0.. {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let why = format!("the file system does not support WAL mode (journal mode is {mode:?})");
                return Err(Failure::Broken(why));
            }
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && wait(times) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn prepare_schema(connection: &mut Connection) -> Result<(), Failure> {
    let version = |c: &Connection| c.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    if version(connection)? == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match version(&transaction)? {
        0 => transaction.execute_batch(SCHEMA)?,
        SCHEMA_VERSION => {}
        other => {
            let why = format!(
                "its database has schema version {other}, this program reads {SCHEMA_VERSION}: run the same \
                 version of this program everywhere, or choose another directory"
            );
            return Err(Failure::Broken(why));
        }
    }
    Ok(transaction.commit()?)
}
