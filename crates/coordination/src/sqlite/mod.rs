//! Coordination in a SQLite file, for the processes of one machine: no server to install.
//!
//! ```text
//! <directory>/                    mode 0700
//!   coordination.db               database.rs     the entries and sessions: the truth
//!   sessions/<incarnation>.lock   sessions.rs     held locked by its process: tells of its death at once
//!                                 heartbeat.rs    and holds its counter: tells of its silence (silence.rs)
//!   bell                          bell.rs         written to after every commit: tells of changes at once
//! ```
//!
//! Locks, counters and the bell make things fast. That a process is dead is decided by removing its session's
//! row, and every write checks its own row: nothing but the database has to be right.

mod bell;
mod database;
mod heartbeat;
mod sessions;
mod silence;
mod watcher;

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use mapreduce_core::Incarnation;
use tokio::{
    sync::watch,
    task::{coop::consume_budget, spawn_blocking},
};

use self::{
    bell::{Bell, Ear},
    database::{Database, Failure},
    heartbeat::Heart,
    sessions::Sessions,
    silence::{LOOKS_MIN, Silence},
    watcher::{Others, Shared, Watcher},
};
use crate::{CoordinationError, Coordinator, Entry, Lifetime, SessionOptions, Version};

/// How long a call waits for other processes' writes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest time between two looks at the store, should the bell be missed.
const TICK_MAX: Duration = Duration::from_secs(1);
/// Shortest time between two heartbeats, however short the lease.
const TICK_MIN: Duration = Duration::from_millis(10);

/// See [`crate::open`].
pub(crate) fn open(
    url: &str,
    directory: &Path,
    options: Option<SessionOptions>,
) -> Result<Arc<dyn Coordinator>, CoordinationError> {
    let io_error = |path: &Path, e: &io::Error| {
        Failure::Broken(format!("{}: {e} (the directory must be writable)", path.display())).at(url)
    };
    let session_directory = directory.join("sessions");
    make_directory(directory).map_err(|e| io_error(directory, &e))?;
    make_directory(&session_directory).map_err(|e| io_error(&session_directory, &e))?;
    let bell = directory.join("bell");
    let rung = Bell::open(&bell).map_err(|e| io_error(&bell, &e))?;
    let ear = Ear::open(&bell);
    let shared = Arc::new(Shared::new(rung, &ear).map_err(|e| io_error(&bell, &e))?);

    let file = directory.join("coordination.db");
    let url: Arc<str> = url.into();
    let session = options.as_ref().map(|o| o.incarnation.clone());
    let tick = options.as_ref().map_or(TICK_MAX, |o| (o.lease / LOOKS_MIN).clamp(TICK_MIN, TICK_MAX));
    let sessions = Sessions::new(session_directory);
    let mut database = Database::open(&file, &url, session.clone(), PATIENCE)?;
    let mut watching = Database::open(&file, &url, None, PATIENCE)?;
    let mut reading = Database::open(&file, &url, None, PATIENCE)?;
    // Who reads has others to serve, and asks again where it can wait.
    reading.set_patience(Duration::ZERO).map_err(|f| f.at(&url))?;
    // The watcher has others to look after while somebody writes; it tries again at its next tick.
    watching.set_patience(tick).map_err(|f| f.at(&url))?;
    reap(&sessions, &mut database, &shared);
    let begin = |o: &SessionOptions| begin_session(&sessions, &mut database, o, tick).map_err(|f| f.at(&url));
    let heart = options.as_ref().map(begin).transpose()?;
    let others = options.filter(|o| o.watch_others).map(|o| {
        let looks = o.lease.as_millis().div_ceil(tick.as_millis());
        Others::new(Silence::new(u32::try_from(looks).unwrap_or(u32::MAX)))
    });
    shared.committed();
    let watcher = Watcher {
        shared: shared.clone(),
        database: watching,
        sessions: sessions.clone(),
        ear,
        own: session.clone(),
        others,
        tick,
    };
    let spawned = thread::Builder::new().name("coordination".to_owned()).spawn(move || watcher.run());
    spawned.map_err(|e| Failure::Broken(format!("starting a thread: {e}")).at(&url))?;
    let (database, reading) = (Arc::new(Mutex::new(database)), Mutex::new(reading));
    Ok(Arc::new(Sqlite { url, session, database, reading, sessions, shared, heart: Mutex::new(heart) }))
}

/// Ends the sessions of the dead, if it can: on a full disk nothing can be written, and reading must be possible. The
/// dead are then among the answers, as they are for a moment after their deaths anyway.
fn reap(sessions: &Sessions, database: &mut Database, shared: &Shared) {
    match sessions.reap(database) {
        Ok(true) => shared.committed(),
        Ok(false) => {}
        Err(failure) => tracing::warn!(?failure, "the sessions of the dead can't be ended yet"),
    }
}

fn begin_session(
    sessions: &Sessions,
    database: &mut Database,
    options: &SessionOptions,
    interval: Duration,
) -> Result<Heart, Failure> {
    let file = sessions.begin(database, &options.incarnation)?;
    heartbeat::start(file, interval).map_err(|e| Failure::Broken(format!("starting the heartbeat: {e}")))
}

/// Makes the directory, for its owner only, and the missing ones above it, so that they survive a power cut.
fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let Some(parent) = directory.parent() else { return Ok(()) };
    make_directory(parent)?;
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists || !directory.is_dir() => Err(e),
        _ => File::open(parent)?.sync_all(),
    }
}

/// One process's connection to the store.
#[derive(Debug)]
struct Sqlite {
    url: Arc<str>,
    session: Option<Incarnation>,
    database: Arc<Mutex<Database>>,
    /// For what no writer has to be waited for.
    reading: Mutex<Database>,
    sessions: Sessions,
    shared: Arc<Shared>,
    heart: Mutex<Option<Heart>>,
}

/// Without [`Coordinator::close`] this is a crash: the lock is dropped, and others end the session.
impl Drop for Sqlite {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Sqlite {
    /// Reads on the thread that asks. Readers of a write-ahead log don't wait for its writer, and what they read is in
    /// memory, so this takes less time than the way to another thread and back.
    async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&Database) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, CoordinationError> {
        consume_budget().await;
        let outcome = work(&self.reading.lock().unwrap_or_else(PoisonError::into_inner));
        match outcome {
            // The log is being made anew, or recovered.
            Err(Failure::Busy) => self.run(move |database| work(database)).await,
            outcome => outcome.map_err(|failure| failure.at(&self.url)),
        }
    }

    /// Runs `work` off the async threads.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, CoordinationError> {
        let database = self.database.clone();
        // A panic while it was locked left no transaction open: that one was rolled back when it was dropped.
        let work = move || work(&mut database.lock().unwrap_or_else(PoisonError::into_inner));
        match spawn_blocking(work).await {
            Ok(outcome) => outcome.map_err(|failure| failure.at(&self.url)),
            Err(e) => Err(Failure::Broken(format!("the call was cut off: {e}")).at(&self.url)),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&mut Database, &str) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, CoordinationError> {
        let (database, shared, path) = (self.database.clone(), self.shared.clone(), path.to_owned());
        let named = path.clone();
        let work = move || {
            let outcome = work(&mut database.lock().unwrap_or_else(PoisonError::into_inner), &path);
            // After a doubtful commit as well; and here, so that it is done even if nobody awaits us any more.
            if matches!(&outcome, Ok(_) | Err(Failure::Answer(CoordinationError::Ambiguous { .. }))) {
                shared.committed();
            }
            outcome
        };
        match spawn_blocking(work).await {
            Ok(outcome) => outcome.map_err(|failure| failure.at(&self.url)),
            Err(e) => {
                Err(CoordinationError::Ambiguous { path: named, why: format!("the call was cut off: {e}") })
            }
        }
    }

    fn stop_heart(&self) {
        self.heart.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[async_trait]
impl Coordinator for Sqlite {
    async fn create(
        &self,
        path: &str,
        value: Bytes,
        lifetime: Lifetime,
    ) -> Result<Version, CoordinationError> {
        let session = lifetime.session(self.session.as_ref(), &self.url, path)?.cloned();
        self.write(path, move |database, path| database.create(path, &value, session.as_ref())).await
    }

    async fn get(&self, path: &str) -> Result<Option<Entry>, CoordinationError> {
        let path = path.to_owned();
        self.read(move |database| database.get(&path)).await
    }

    async fn set(&self, path: &str, value: Bytes, expected: Version) -> Result<Version, CoordinationError> {
        self.write(path, move |database, path| database.set(path, &value, expected)).await
    }

    async fn delete(&self, path: &str, expected: Version) -> Result<(), CoordinationError> {
        self.write(path, move |database, path| database.delete(path, expected)).await
    }

    async fn children(&self, parent: &str) -> Result<Vec<String>, CoordinationError> {
        let (parent, sessions, shared) = (parent.to_owned(), self.sessions.clone(), self.shared.clone());
        // Here too, so that the answer is right even if no master is alive to look out for deaths.
        // What can't be told is looked at more closely, and said there: reading must be possible all the same.
        if self.read(move |database| sessions.any_dead(database)).await.unwrap_or(true) {
            let sessions = self.sessions.clone();
            let reap = move |database: &mut Database| {
                reap(&sessions, database, &shared);
                Ok(())
            };
            self.run(reap).await?;
        }
        self.read(move |database| database.children(&parent)).await
    }

    fn watch(&self, parent: &str) -> watch::Receiver<u64> {
        self.shared.watch(parent)
    }

    fn session_lost(&self) -> watch::Receiver<bool> {
        self.shared.lost.subscribe()
    }

    async fn close(&self) {
        if let Some(session) = self.session.clone() {
            self.shared.lost.send_replace(true);
            let sessions = self.sessions.clone();
            let ended = self.write(session.as_str(), {
                let session = session.clone();
                move |database, _| sessions.end(database, &session)
            });
            match ended.await {
                Ok(()) | Err(CoordinationError::SessionLost) => {}
                Err(error) => tracing::warn!(%error, incarnation = %session, "others will end the session"),
            }
        }
        self.stop_heart();
        self.shared.stop();
    }
}
