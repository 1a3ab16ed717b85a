//! The client's side of the keeper: starting it, and asking it for things.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
};

use super::{ClusterError, LocalOptions, error::system};
use crate::{
    Stores,
    home::{self, RunningCluster},
    keeper::{
        KeeperOptions,
        protocol::{Connection, Reply, Request},
    },
};

/// A keeper that this process started. When this is dropped its cluster ends, unless it is to outlive us.
#[derive(Debug)]
pub(super) struct OwnKeeper {
    child: Child,
    keep_alive: bool,
}

impl OwnKeeper {
    /// Starts a keeper and waits until it is ready.
    pub async fn start(options: &LocalOptions) -> Result<(OwnKeeper, RunningCluster), ClusterError> {
        let told = KeeperOptions {
            directory: options.directory.as_deref().map(absolute).transpose()?,
            stores: Stores {
                coordination: options.coordination.clone(),
                storage: options.storage.clone(),
                users: None,
            },
            users: options.users_url.clone().map_or_else(home::users_url, Ok)?,
            slots_per_worker: options.slots_per_worker,
            lease_ms: options.lease_ms,
            grace_ms: options.grace_ms,
            memory_bytes_max: options.memory_bytes_max,
            keep_alive: options.keep_alive,
            python: options.python.clone(),
            verbose: options.verbose,
        };
        let told = serde_json::to_string(&told)
            .map_err(|e| system("can't tell the keeper its options")(e.into()))?;
        let child = Command::new(&options.program)
            .arg("keeper")
            .arg(told)
            .stdin(if options.keep_alive { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(if options.verbose { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .map_err(|source| ClusterError::Program { program: options.program.clone(), source })?;
        let mut keeper = OwnKeeper { child, keep_alive: options.keep_alive };
        let cluster = keeper.first_line().await?;
        Ok((keeper, cluster))
    }

    async fn first_line(&mut self) -> Result<RunningCluster, ClusterError> {
        let mut line = String::new();
        let read = async {
            let stdout = self.child.stdout.take().map(OwnedFd::from).ok_or(io::ErrorKind::BrokenPipe)?;
            BufReader::new(pipe::Receiver::from_owned_fd(stdout)?).read_line(&mut line).await
        };
        read.await.map_err(system("can't read what the keeper says"))?;
        match serde_json::from_str(&line) {
            Ok(Reply::Cluster(cluster)) => Ok(cluster),
            Ok(Reply::Refused(why)) => Err(ClusterError::Keeper(why)),
            _ => Err(ClusterError::Keeper(format!(
                "the keeper ended before it was ready, and said {line:?}; is the program of the same version?"
            ))),
        }
    }

    /// Takes the exit status; the process has ended or is about to.
    pub fn wait(mut self) -> Result<(), ClusterError> {
        self.child.wait().map(|_| ()).map_err(system("can't wait for the keeper"))
    }
}

impl Drop for OwnKeeper {
    fn drop(&mut self) {
        // Tells the keeper that the client is gone.
        drop(self.child.stdin.take());
        if !self.keep_alive
            && let Err(e) = self.child.wait()
        {
            tracing::warn!("can't wait for the keeper: {e}");
        }
    }
}

fn absolute(directory: &Path) -> Result<PathBuf, ClusterError> {
    std::path::absolute(directory).map_err(system(format!("can't find {}", directory.display())))
}

/// Opens a connection to the keeper of `directory`.
pub(super) async fn connect(directory: &Path) -> Result<Connection, ClusterError> {
    Connection::to(directory).await.map_err(|e| match e.kind() {
        // The last is of one that ended before it took the connection.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            ClusterError::NotRunning { directory: directory.to_owned() }
        }
        _ => system(format!("can't reach the keeper of {}", directory.display()))(e),
    })
}

/// Sends `request` and takes the first reply.
pub(super) async fn ask(keeper: &mut Connection, request: &Request) -> Result<Reply, ClusterError> {
    let asked = async {
        keeper.writer.send(request).await?;
        keeper.lines.next().await
    };
    match asked.await {
        Ok(Some(Reply::Refused(why))) => Err(ClusterError::Keeper(why)),
        Ok(Some(reply)) => Ok(reply),
        Ok(None) => Err(ended_meanwhile()),
        Err(e) if matches!(e.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            Err(ended_meanwhile())
        }
        Err(e) => Err(system("can't talk to the cluster's keeper")(e)),
    }
}

fn ended_meanwhile() -> ClusterError {
    ClusterError::Keeper("the cluster was shut down meanwhile".to_owned())
}

/// What a keeper never says in this place.
pub(super) fn unexpected(reply: &Reply) -> ClusterError {
    ClusterError::Keeper(format!("the keeper answered {reply:?}; is the program of the same version?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster::LocalCluster, keeper::protocol::listen};

    /// As if a keeper was killed at any moment of a client's way to its answer.
    #[tokio::test(flavor = "multi_thread")]
    async fn of_a_keeper_that_ends_meanwhile_nothing_else_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let keepers =
            tokio::task::spawn_blocking(move || (0..5000).for_each(|_| drop(listen(&path).unwrap())));
        while !keepers.is_finished() {
            match LocalCluster::attach(directory.path()).await {
                Err(ClusterError::NotRunning { .. }) => {}
                Err(ClusterError::Keeper(why)) if why == "the cluster was shut down meanwhile" => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
