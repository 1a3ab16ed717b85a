//! A file on its way to become an object.
//!
//! It is written under a name of its own, closed, and renamed: the NameNode does that at once for everybody, and refuses
//! it if the object must not be there yet and is. So an object is there whole or not at all, and of any number of
//! contenders one makes it.
//!
//! What a close returns for is on the disks of all DataNodes that the file was still being written to: the last packet of
//! each block asks them to sync, and they answer after it. Those are as many as the file has copies, unless some died
//! meanwhile. How few the NameNode puts up with is its own setting, `dfs.namenode.replication.min`, and it is 1 unless
//! somebody changed it. The rename is in the NameNode's log, synced, before it answers.

use std::{pin::pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures::{pending, poll};
use hdfs_native::file::FileWriter;
use tokio::time::{Instant, sleep};

use super::{
    connection::{Connection, PATIENCE, PAUSE},
    failure::Failure,
    io::in_time,
    place::Place,
};

/// What is sent at one time.
const CHUNK_BYTES: usize = 1 << 20;
/// How long DataNodes may be silent when a chunk is sent to them or read, or a file is closed.
pub(super) const DATA_PATIENCE: Duration = Duration::from_secs(30);
/// How many DataNodes that say nothing are waited for before the caller hears of it.
const SILENCES: u32 = 3;
/// How much later than DataNodes have acknowledged a file's end the NameNode is asked to close it. They tell it of the end
/// at the same time as they tell the writer, and if they come second, the client asks again only after half a second. On a
/// machine with more to do than it had cores, 2 ms still left one file in five to that, 10 ms one in thirty, 20 ms none.
const REPORT_PAUSE: Duration = Duration::from_millis(20);

/// Whether there may be an object of that name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    MustBeAbsent,
    MayBeThere,
}

/// A file being written, whose name is no object's.
pub(super) struct Draft {
    connection: Arc<Connection>,
    name: String,
    writer: FileWriter,
}

/// A file that is written, and has no object's name yet.
pub(super) struct Written {
    connection: Arc<Connection>,
    name: String,
}

impl Draft {
    /// An empty one for `file`.
    pub(super) async fn begin(connection: Arc<Connection>, file: &str) -> Result<Self, Failure> {
        connection.make_root().await?;
        let name = Place::writing(file).map_err(|error| Failure::Refused(error.to_string()))?;
        match connection.create(&name).await {
            Ok(writer) => Ok(Draft { connection, name, writer }),
            Err(failure) => {
                if matches!(failure, Failure::Unknown(_)) {
                    discard(&connection, &name).await;
                }
                Err(failure)
            }
        }
    }

    /// One with `chunks` in it.
    pub(super) async fn of(
        connection: Arc<Connection>,
        file: &str,
        chunks: &[Bytes],
    ) -> Result<Self, Failure> {
        let mut draft = Draft::begin(connection, file).await?;
        for chunk in chunks {
            if let Err(failure) = draft.write(chunk.clone()).await {
                draft.discard().await;
                return Err(failure);
            }
        }
        Ok(draft)
    }

    /// Appends. After an error it is good for nothing.
    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            in_time(DATA_PATIENCE, self.writer.write_bytes(chunk)).await?;
        }
        Ok(())
    }

    /// The same, and all DataNodes have what it has so far.
    pub(super) async fn synced(mut self) -> Result<Self, Failure> {
        match in_time(DATA_PATIENCE, self.writer.hsync()).await {
            Ok(()) => Ok(self),
            Err(failure) => {
                self.discard().await;
                Err(failure)
            }
        }
    }

    /// Makes it durable.
    pub(super) async fn close(mut self) -> Result<Written, Failure> {
        match in_time(DATA_PATIENCE, after_reports(self.writer.close())).await {
            Ok(()) => Ok(Written { connection: self.connection, name: self.name }),
            Err(failure) => {
                self.discard().await;
                Err(failure)
            }
        }
    }

    /// Deletes it.
    pub(super) async fn discard(self) {
        // The end of the writer first: it would keep the file from others.
        drop(self.writer);
        discard(&self.connection, &self.name).await;
    }
}

/// Closes a file, and gives DataNodes the time to report its end before the NameNode is asked whether it is complete. The
/// client asks as soon as it goes on after their acknowledgement, for which it waits first of all; so it goes on later.
/// If it wakes up for something else, nothing but the time is lost.
async fn after_reports<T>(close: impl Future<Output = T>) -> T {
    let mut close = pin!(close);
    if let Poll::Ready(closed) = poll!(close.as_mut()) {
        return closed;
    }
    pending!();
    sleep(REPORT_PAUSE).await;
    close.await
}

impl Written {
    /// Gives it the name of an object. An outcome that is unknown at first is found out; if that can't be done, the error
    /// says so.
    pub(super) async fn publish(self, file: &str, target: Target) -> Result<(), Failure> {
        let overwrite = target == Target::MayBeThere;
        match self.connection.rename(&self.name, file, overwrite).await {
            Err(Failure::Unknown(why)) => self.settle(file, why).await,
            Err(certain) => {
                discard(&self.connection, &self.name).await;
                Err(certain)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether it was renamed, which nobody but its writer does. If it was not, it is deleted, so that a request which is
    /// still on its way finds nothing to rename.
    async fn settle(&self, file: &str, why: String) -> Result<(), Failure> {
        match self.connection.status(&self.name).await {
            Err(Failure::Absent) => return self.confirm(file, why).await,
            Err(_) => return Err(Failure::Unknown(why)),
            Ok(_) => {}
        }
        match self.connection.delete(&self.name, false).await {
            Ok(true) => Err(Failure::NotNow(why)),
            // It was renamed after the look.
            Ok(false) => self.confirm(file, why).await,
            Err(_) => Err(Failure::Unknown(why)),
        }
    }

    /// It has lost its name: to the object, unless the whole directory was deleted.
    async fn confirm(&self, file: &str, why: String) -> Result<(), Failure> {
        let found = self.connection.status(file).await;
        found.map(drop).map_err(|_| Failure::Unknown(why))
    }
}

/// Makes a draft or a written file, again if it fails: it has no effect yet, and the next one goes to other DataNodes. The
/// NameNode goes on sending writers to one that died until it notices, after ten minutes unless it is told otherwise; and
/// the client has no way to say which one to leave out.
pub(super) async fn patiently<T, F>(make: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let (began, mut tries) = (Instant::now(), 1);
    loop {
        let failure = match make().await {
            Err(failure) if failure.may_pass() => failure,
            done => return done,
        };
        let elsewhere = matches!(failure, Failure::Data(_)) && tries < SILENCES;
        if !elsewhere && began.elapsed() >= PATIENCE {
            // Nothing is in doubt before the rename.
            return Err(match failure {
                Failure::Unknown(why) => Failure::NotNow(why),
                failure => failure,
            });
        }
        tries += 1;
        sleep(PAUSE).await;
    }
}

/// Deletes a file that is no object. If it can't be done now, nothing but its space is lost, until the job is deleted: so
/// what the caller has to say is not replaced by that.
async fn discard(connection: &Connection, name: &str) {
    let _ = connection.delete(name, false).await;
}
