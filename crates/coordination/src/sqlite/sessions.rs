//! Sessions: a row in the database and a file `sessions/<incarnation>.lock` that its process holds locked as
//! long as it lives. The row is the truth; the lock tells when the process died.
//!
//! A file is made and removed only within a write transaction, so no two processes ever do so at one time and
//! a file that is unlocked belongs to nobody alive. Incarnations are never used twice, so neither is a file's
//! name. Who looks only takes shared locks, so that two who look don't take each other for the living.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use mapreduce_core::Incarnation;

use super::database::{Database, Failure, SessionRow, delete_session, insert_session, sessions};
use crate::process::process_start_ticks;

const SUFFIX: &str = ".lock";

/// The directory of lock files.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    directory: PathBuf,
}

impl Sessions {
    pub(super) fn new(directory: PathBuf) -> Sessions {
        Sessions { directory }
    }

    fn path(&self, id: &Incarnation) -> PathBuf {
        self.directory.join(format!("{id}{SUFFIX}"))
    }

    /// Begins this process's session. It lasts as long as the file is open, or until somebody ends it.
    pub(super) fn begin(&self, database: &mut Database, id: &Incarnation) -> Result<File, Failure> {
        let path = self.path(id);
        let pid = std::process::id();
        let pid_started = process_start_ticks(pid).map_err(|e| Failure::Broken(e.to_string()))?;
        database.transact(id.as_str(), |t| {
            let make = || {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                file.lock()?;
                Ok(file)
            };
            let file = make().map_err(|e| at(&path, &e))?;
            insert_session(t, &SessionRow { id: id.clone(), pid, pid_started })?;
            Ok(file)
        })
    }

    /// Ends a session whose process says so itself.
    pub(super) fn end(&self, database: &mut Database, id: &Incarnation) -> Result<(), Failure> {
        database.transact(id.as_str(), |t| {
            delete_session(t, id)?;
            self.remove_file(id)
        })
    }

    /// Ends the sessions of processes that are silent. Their files stay as long as they hold them.
    pub(super) fn condemn(&self, database: &mut Database, silent: &[Incarnation]) -> Result<bool, Failure> {
        database.transact("sessions", |t| {
            let mut ended = false;
            for id in silent {
                ended |= delete_session(t, id)?;
            }
            Ok(ended)
        })
    }

    /// Whether there is anything to [reap](Sessions::reap).
    pub(super) fn any_dead(&self, database: &Database) -> Result<bool, Failure> {
        Ok(!self.dead(&database.sessions()?)?.is_empty())
    }

    /// Ends the sessions of processes that are dead and removes what they left. Answers whether there were any.
    pub(super) fn reap(&self, database: &mut Database) -> Result<bool, Failure> {
        // A look without the write lock first: nearly always there is nothing to do.
        if !self.any_dead(database)? {
            return Ok(false);
        }
        database.transact("sessions", |t| {
            let mut ended = false;
            for id in self.dead(&sessions(t)?)? {
                ended |= delete_session(t, &id)?;
                self.remove_file(&id)?;
                tracing::info!(incarnation = %id, "its process is gone: session ended");
            }
            Ok(ended)
        })
    }

    /// The file of another process's session, to wait for its lock and to read its heartbeat. None: it is gone.
    pub(super) fn open(&self, id: &Incarnation) -> Result<Option<File>, Failure> {
        open_existing(&self.path(id))
    }

    pub(super) fn remove_file(&self, id: &Incarnation) -> Result<(), Failure> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(at(&path, &e)),
            _ => Ok(()),
        }
    }

    /// The sessions, and the files without a session, that no living process holds.
    fn dead(&self, rows: &[SessionRow]) -> Result<Vec<Incarnation>, Failure> {
        let mut candidates: Vec<Incarnation> = rows.iter().map(|row| row.id.clone()).collect();
        for file in fs::read_dir(&self.directory).map_err(|e| at(&self.directory, &e))? {
            let name = file.map_err(|e| at(&self.directory, &e))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
            candidates.extend(id.filter(|id| !rows.iter().any(|row| row.id == *id)));
        }
        let mut dead = Vec::new();
        for id in candidates {
            if self.is_dead(&id)? {
                dead.push(id);
            }
        }
        Ok(dead)
    }

    fn is_dead(&self, id: &Incarnation) -> Result<bool, Failure> {
        let path = self.path(id);
        let Some(file) = open_existing(&path)? else { return Ok(true) };
        match file.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(at(&path, &e)),
        }
    }
}

fn open_existing(path: &Path) -> Result<Option<File>, Failure> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(at(path, &e)),
    }
}

fn at(path: &Path, error: &io::Error) -> Failure {
    Failure::Broken(format!("{}: {error}", path.display()))
}
