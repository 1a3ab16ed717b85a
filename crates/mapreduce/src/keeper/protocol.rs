//! What a keeper and its clients say to each other: one JSON value a line, over the Unix socket
//! `<directory>/keeper.sock`, which is its owner's alone.

use std::{
    fs::{File, Permissions},
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::home::RunningCluster;

const SOCKET: &str = "keeper.sock";

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Which cluster is this?
    Describe,
    /// Start processes. The ends of those are told on this connection, as long as it is open.
    Spawn { masters: u32, workers: u32 },
    /// End every process; with `cleanup`, remove the cluster's state too.
    Shutdown { cleanup: bool },
}

/// What a keeper says. Its first line on standard output is `Cluster` or `Refused`, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The cluster, answering `Describe`.
    Cluster(RunningCluster),
    /// The processes, answering `Spawn`.
    Spawned(Vec<Spawned>),
    /// One of them ended.
    Exited { pid: u32, how: String },
    /// Every process has ended, and what was to be removed is, or why it is left. The last line.
    ShutDown { left: Option<String> },
    /// It could not be done.
    Refused(String),
}

/// A process that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spawned {
    /// Its id.
    pub pid: u32,
    /// Where its output goes; none when that is the client's own terminal.
    pub log: Option<PathBuf>,
}

/// The socket's path, short enough for the kernel (108 bytes) however long the directory's is, as long as the
/// file that comes with it is open.
fn socket_path(directory: &Path) -> std::io::Result<(File, PathBuf)> {
    let directory = File::open(directory)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    Ok((directory, path.into()))
}

/// Listens for clients of the keeper of `directory`, whose lock the caller holds.
pub(crate) fn listen(directory: &Path) -> std::io::Result<UnixListener> {
    remove_socket(directory)?;
    let (_open, path) = socket_path(directory)?;
    let listener = UnixListener::bind(path)?;
    // The directory may be one that a person gave, and open to others.
    std::fs::set_permissions(directory.join(SOCKET), Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket, which may be a killed keeper's.
pub(crate) fn remove_socket(directory: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(directory.join(SOCKET)) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// One end of a connection.
pub(crate) struct Connection {
    pub lines: LineReader,
    pub writer: LineWriter,
}

impl Connection {
    /// To the keeper of `directory`.
    pub async fn to(directory: &Path) -> std::io::Result<Connection> {
        let (_open, path) = socket_path(directory)?;
        Ok(Connection::new(UnixStream::connect(path).await?))
    }

    /// Over an open socket.
    pub fn new(stream: UnixStream) -> Connection {
        let (read, write) = stream.into_split();
        Connection { lines: LineReader(BufReader::new(read).lines()), writer: LineWriter(write) }
    }
}

/// Reads one value a line.
pub(crate) struct LineReader(Lines<BufReader<OwnedReadHalf>>);

impl LineReader {
    /// The next value; none when the other side has closed.
    pub async fn next<T: for<'a> Deserialize<'a>>(&mut self) -> std::io::Result<Option<T>> {
        let line = self.0.next_line().await?;
        line.map(|line| serde_json::from_str(&line)).transpose().map_err(std::io::Error::from)
    }
}

/// Writes one value a line.
pub(crate) struct LineWriter(OwnedWriteHalf);

impl LineWriter {
    /// Sends one value.
    pub async fn send(&mut self, value: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_longer_than_the_kernel_takes_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        drop(listen(&deep).unwrap());
        let listener = listen(&deep).unwrap();
        let mut client = Connection::to(&deep).await.unwrap();
        let mut served = Connection::new(listener.accept().await.unwrap().0);

        let request = Request::Spawn { masters: 1, workers: 2 };
        client.writer.send(&request).await.unwrap();
        assert_eq!(served.lines.next().await.unwrap(), Some(request));
        drop(client);
        assert_eq!(served.lines.next::<Request>().await.unwrap(), None);
    }
}
