//! A cluster on this machine: masters and workers as child processes of a keeper, coordination and storage in
//! one directory.

mod error;
mod keeper;
mod leftovers;
mod options;
mod processes;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mapreduce_core::Incarnation;
use tokio::time::timeout;

pub use self::{error::ClusterError, options::LocalOptions, processes::kill};
use self::{
    error::system,
    keeper::{OwnKeeper, ask, connect, unexpected},
    options::{check_n_masters, check_n_workers},
    processes::{Living, retire_to, spawn},
};
use crate::{
    ClusterUrls, Stores,
    home::RunningCluster,
    keeper::{
        protocol::{Reply, Request},
        remove_leftovers,
    },
    process::Process,
};

/// How long a keeper whose connection broke may take to end.
const DEATH_PATIENCE: Duration = Duration::from_secs(2);

/// A local cluster that runs. When the value that started it is dropped, the cluster ends and its state stays
/// (a temporary directory does not), unless it was started with `keep_alive`.
#[derive(Debug)]
pub struct LocalCluster {
    directory: PathBuf,
    urls: ClusterUrls,
    keeper_pid: u32,
    grace: Duration,
    temporary: bool,
    /// None for a cluster that somebody else started.
    own_keeper: Option<OwnKeeper>,
}

impl LocalCluster {
    /// Starts a cluster, and returns when its masters and workers are registered.
    pub async fn start(options: LocalOptions) -> Result<LocalCluster, ClusterError> {
        options.check()?;
        let (keeper, cluster) = OwnKeeper::start(&options).await?;
        let mut cluster = LocalCluster::of(cluster, options.directory.is_none(), Some(keeper))?;
        let spawned = spawn(&cluster.directory, &cluster.urls, options.n_masters, options.n_workers).await;
        if let Err(e) = spawned {
            // What went wrong first is what the caller should hear.
            if let Err(e) = cluster.shutdown(false).await {
                tracing::warn!("the cluster that did not start could not be ended: {e}");
            }
            return Err(e);
        }
        Ok(cluster)
    }

    /// The cluster that runs in `directory`. It stays when this value is dropped.
    pub async fn attach(directory: &Path) -> Result<LocalCluster, ClusterError> {
        let mut keeper = connect(directory).await?;
        match ask(&mut keeper, &Request::Describe).await? {
            Reply::Cluster(cluster) => LocalCluster::of(cluster, false, None),
            reply => Err(unexpected(&reply)),
        }
    }

    fn of(
        cluster: RunningCluster,
        temporary: bool,
        own_keeper: Option<OwnKeeper>,
    ) -> Result<LocalCluster, ClusterError> {
        let RunningCluster { directory, users, keeper_pid, grace_ms } = cluster;
        let urls = ClusterUrls::local(&directory, users)?;
        let grace = Duration::from_millis(grace_ms);
        Ok(LocalCluster { directory, urls, keeper_pid, grace, temporary, own_keeper })
    }

    /// Where its state is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What a [`crate::Client`] of it is told.
    pub fn urls(&self) -> &ClusterUrls {
        &self.urls
    }

    /// Makes it so many living workers and masters; what is not named stays. Starts new ones and returns when
    /// they are registered, or ends the most recently started, which may finish what they run within the grace
    /// period.
    pub async fn scale(&self, n_workers: Option<u32>, n_masters: Option<u32>) -> Result<(), ClusterError> {
        n_masters.map_or(Ok(()), check_n_masters)?;
        n_workers.map_or(Ok(()), check_n_workers)?;
        let (masters, workers) = Living::all(&self.urls).await?;
        let missing = |wanted: Option<u32>, living: &[Living]| {
            wanted.map_or(0, |n| n.saturating_sub(u32::try_from(living.len()).unwrap_or(u32::MAX)))
        };
        spawn(&self.directory, &self.urls, missing(n_masters, &masters), missing(n_workers, &workers))
            .await?;
        let retire = async |living: Vec<Living>, wanted: Option<u32>| match wanted {
            Some(n) => retire_to(living, n, self.grace).await,
            None => Ok(()),
        };
        tokio::try_join!(retire(masters, n_masters), retire(workers, n_workers))?;
        Ok(())
    }

    /// Kills these masters and workers with SIGKILL, and returns when they have ended. An unknown id is an
    /// error, and then nobody is killed.
    pub async fn kill(&self, ids: &[Incarnation]) -> Result<(), ClusterError> {
        kill(std::slice::from_ref(&self.urls), ids).await
    }

    /// Ends every process of the cluster, and with `cleanup` removes its state; of stores elsewhere, all jobs. Returns when
    /// nothing is left; once more does nothing more.
    pub async fn shutdown(&mut self, cleanup: bool) -> Result<(), ClusterError> {
        let elsewhere = cleanup && Stores::of(&self.directory)? != Stores::default();
        let left = |cleanup| {
            remove_leftovers(&self.directory, self.temporary, cleanup)
                .map_err(|e| ClusterError::Keeper(e.to_string()))
        };
        // What is elsewhere can be found as long as the directory is there, which therefore goes last.
        match self.ask_to_shut_down(cleanup && !elsewhere).await {
            // The keeper was killed, and with it everything that it kept.
            Err(ClusterError::NotRunning { .. }) => left(cleanup && !elsewhere)?,
            ended => ended?,
        }
        if let Some(keeper) = self.own_keeper.take() {
            keeper.wait()?;
        }
        if elsewhere {
            leftovers::remove_cluster(&self.urls).await?;
            left(true)?;
        }
        Ok(())
    }

    async fn ask_to_shut_down(&self, cleanup: bool) -> Result<(), ClusterError> {
        let failed = || system("can't wait for the keeper");
        let keeper = Process::open(self.keeper_pid, None).map_err(failed())?;
        let ended = async {
            match keeper {
                Some(keeper) => keeper.ended().await.map_err(failed()),
                None => Ok(()),
            }
        };
        let asked = async { ask(&mut connect(&self.directory).await?, &Request::Shutdown { cleanup }).await };
        match asked.await {
            Ok(Reply::ShutDown { left: None }) => ended.await,
            Ok(Reply::ShutDown { left: Some(why) }) => Err(ClusterError::Keeper(why)),
            Ok(reply) => Err(unexpected(&reply)),
            // Of a keeper that is at its end or was just killed, this is what there is to see first.
            Err(error) => match timeout(DEATH_PATIENCE, ended).await {
                Ok(Ok(())) => Err(ClusterError::NotRunning { directory: self.directory.clone() }),
                _ => Err(error),
            },
        }
    }
}
