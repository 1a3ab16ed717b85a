//! Requests to the NameNode: how long they are waited for, and which are made again.

use std::{
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hdfs_native::{
    Client, ClientBuilder, HdfsError, WriteOptions,
    client::FileStatus,
    file::{FileReader, FileWriter},
};
use tokio::time::{Instant, sleep, timeout};

use super::{failure::Failure, io, place::Place};

/// How long an answer is waited for. A NameNode that collects garbage may be silent for seconds.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
/// How long a reader waits for one of the DataNodes that have a block, in the client's words. Less than all of them are
/// waited for.
const SILENCE_MS: &str = "10000";
/// How long something is begun again that had no effect. Callers have a patience of their own beyond it.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The time between.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// The store holds user code that workers run: its directory is its owner's alone, as a local one is.
const ROOT_PERMISSION: u32 = 0o700;

/// A store's connection to its NameNode.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) place: Place,
    /// With the process it was made in: a fork can't use its parent's.
    client: Mutex<Option<Made>>,
    /// How many there were.
    clients: AtomicU64,
    has_root: AtomicBool,
}

/// A client.
#[derive(Debug, Clone)]
struct Made {
    by_pid: u32,
    number: u64,
    client: Client,
}

impl Connection {
    /// Nothing is sent yet.
    pub(super) fn new(place: Place) -> Self {
        // Directories of anybody's files are made with them, and are what HDFS makes them.
        let has_root = AtomicBool::new(!place.is_ours);
        Connection { place, client: Mutex::default(), clients: AtomicU64::new(0), has_root }
    }

    /// What is known of a file or directory.
    pub(super) async fn status(&self, file: &str) -> Result<FileStatus, Failure> {
        self.repeat(|client| async move { client.get_file_info(file).await }, Failure::may_pass).await
    }

    /// A reader that knows the file's length and which DataNodes have it.
    pub(super) async fn reader(&self, file: &str) -> Result<FileReader, Failure> {
        self.repeat(|client| async move { client.read(file).await }, Failure::may_pass).await
    }

    /// What is in a directory.
    pub(super) async fn entries(&self, directory: &str) -> Result<Vec<FileStatus>, Failure> {
        self.repeat(|client| async move { client.list_status(directory, false).await }, Failure::may_pass)
            .await
    }

    /// Makes a new file, and the directories above it.
    pub(super) async fn create(&self, file: &str) -> Result<FileWriter, Failure> {
        let create = |client: Client| async move { client.create(file, WriteOptions::default()).await };
        self.repeat(create, Failure::had_no_effect).await
    }

    pub(super) async fn rename(&self, from: &str, to: &str, overwrite: bool) -> Result<(), Failure> {
        let rename = |client: Client| async move { client.rename(from, to, overwrite).await };
        self.repeat(rename, Failure::had_no_effect).await
    }

    /// Says whether there was something. A directory goes only if `all` in it may.
    pub(super) async fn delete(&self, file: &str, all: bool) -> Result<bool, Failure> {
        self.repeat(|client| async move { client.delete(file, all).await }, Failure::had_no_effect).await
    }

    /// Makes a request again after a failure that `again` allows, for a time.
    async fn repeat<T, F>(
        &self,
        request: impl Fn(Client) -> F,
        again: impl Fn(&Failure) -> bool,
    ) -> Result<T, Failure>
    where
        F: Future<Output = hdfs_native::Result<T>>,
    {
        let began = Instant::now();
        loop {
            let made = self.client()?;
            let failure = match timeout(ANSWER_PATIENCE, request(made.client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Failure::from(error),
                Err(_) => {
                    // A connection that was cut without a word would be used until the operating system gives it up.
                    self.forget(made.number);
                    Failure::Unknown("the NameNode gave no answer".to_owned())
                }
            };
            if !again(&failure) || began.elapsed() >= PATIENCE {
                return Err(waited(failure, began));
            }
            sleep(PAUSE).await;
        }
    }

    /// Makes the store's directory if this did not do that before.
    pub(super) async fn make_root(&self) -> Result<(), Failure> {
        if self.has_root.load(Ordering::Relaxed) {
            return Ok(());
        }
        let root = &self.place.root;
        // Again does no harm.
        let make = |client: Client| async move { client.mkdirs(root, ROOT_PERMISSION, true).await };
        match self.repeat(make, Failure::may_pass).await {
            Err(Failure::Exists) => {
                Err(Failure::Refused(format!("{root} is a file; give a directory in the URL")))
            }
            done => done.map(|()| self.has_root.store(true, Ordering::Relaxed)),
        }
    }

    /// This process's client.
    fn client(&self) -> Result<Made, Failure> {
        let mut last = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(made) if made.by_pid == process::id() => Ok(made.clone()),
            _ => {
                let client = self.connect().map_err(|error| Failure::Refused(error.to_string()))?;
                let number = self.clients.fetch_add(1, Ordering::Relaxed);
                let made = Made { by_pid: process::id(), number, client };
                *last = Some(made.clone());
                Ok(made)
            }
        }
    }

    /// It reads the settings below `HADOOP_CONF_DIR`, if that is set.
    fn connect(&self) -> Result<Client, HdfsError> {
        let handle = io::handle().map_err(|error| HdfsError::OperationFailed(error.to_string()))?;
        // What may be repeated is decided here. The client's own way takes minutes to say that nobody listens.
        // And a DataNode that says nothing holds up a reader only until it asks another, not for a minute.
        let settings = [("dfs.client.failover.max.attempts", "0"), ("dfs.client.socket-timeout", SILENCE_MS)];
        let builder = ClientBuilder::new().with_url(self.place.namenode.as_str()).with_config(settings);
        builder.with_io_runtime(handle).build()
    }

    /// The next request takes a new connection, unless there is one already.
    fn forget(&self, number: u64) {
        let mut last = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        last.take_if(|made| made.number == number);
    }
}

/// The same, with the time that it took.
fn waited(failure: Failure, began: Instant) -> Failure {
    let said = |why: String| format!("{why} (tried for {} s)", began.elapsed().as_secs());
    match failure {
        Failure::NotNow(why) => Failure::NotNow(said(why)),
        Failure::Unknown(why) => Failure::Unknown(said(why)),
        other => other,
    }
}
