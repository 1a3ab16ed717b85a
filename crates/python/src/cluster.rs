//! A local cluster, as Python holds it: its processes.

use std::{path::PathBuf, sync::Arc};

use mapreduce::{ClusterError, Credentials, LocalCluster, LocalOptions};
use pyo3::prelude::*;
use tokio::sync::{RwLock, watch};

use crate::{
    auth::authenticate,
    client::Client,
    fork::ForkGuard,
    raise::{self, cluster_error, invalid},
    runtime::block_on,
};

/// A cluster that runs, and a client of it.
pub struct Live {
    /// Exclusively locked only to shut it down.
    cluster: RwLock<LocalCluster>,
    pub client: mapreduce::Client,
    pub urls: mapreduce::ClusterUrls,
    pub username: String,
    /// Turns true when Python is done with the cluster, and ends every wait.
    closed: watch::Sender<bool>,
}

impl Live {
    /// Waits for the future that `make` makes, or for the end of the cluster.
    pub fn run<F, T, E>(
        &self,
        py: Python<'_>,
        make: impl FnOnce() -> F + Send,
        error: impl FnOnce(E) -> PyErr,
    ) -> PyResult<T>
    where
        F: Future<Output = Result<T, E>>,
        T: Send,
        E: Send,
    {
        let mut closed = self.closed.subscribe();
        let done = block_on(py, || async move {
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => None,
                done = make() => Some(done),
            }
        })?;
        done.ok_or_else(was_shut_down)?.map_err(error)
    }

    /// Raises when Python is done with the cluster.
    pub fn check_open(&self) -> PyResult<()> {
        if *self.closed.borrow() { Err(was_shut_down()) } else { Ok(()) }
    }
}

fn was_shut_down() -> PyErr {
    raise::ClusterError::new_err("the cluster was shut down")
}

/// A local cluster that this process started or is attached to.
#[pyclass(frozen, module = "mapreduce._native")]
pub struct Cluster {
    live: Arc<ForkGuard<Live>>,
    /// Where the cluster keeps its state.
    #[pyo3(get)]
    directory: PathBuf,
}

#[pymethods]
impl Cluster {
    #[staticmethod]
    #[pyo3(signature = (
        directory, users, username, password, *, coordination, storage, n_workers, n_masters, slots_per_worker, lease_ms, grace_ms,
        memory_bytes_max, keep_alive, program, python
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are the keywords of one Python call")]
    fn start(
        py: Python<'_>,
        directory: Option<PathBuf>,
        users: Option<String>,
        username: String,
        password: String,
        coordination: Option<String>,
        storage: Option<String>,
        n_workers: u32,
        n_masters: u32,
        slots_per_worker: u32,
        lease_ms: u64,
        grace_ms: u64,
        memory_bytes_max: Option<u64>,
        keep_alive: bool,
        program: PathBuf,
        python: PathBuf,
    ) -> PyResult<Cluster> {
        let options = LocalOptions {
            directory,
            coordination,
            storage,
            users_url: users,
            n_masters,
            n_workers,
            slots_per_worker,
            lease_ms,
            grace_ms,
            memory_bytes_max,
            keep_alive,
            python: Some(python),
            program,
            verbose: false,
        };
        authenticate(py, options.users_url.clone(), &username, &password)?;
        let cluster = block_on(py, || LocalCluster::start(options))?.map_err(cluster_error)?;
        Cluster::of(py, cluster, username, password)
    }

    #[staticmethod]
    fn attach(
        py: Python<'_>,
        directory: PathBuf,
        users: Option<String>,
        username: String,
        password: String,
    ) -> PyResult<Cluster> {
        let cluster = block_on(py, || LocalCluster::attach(&directory))?.map_err(cluster_error)?;
        let users = users.unwrap_or_else(|| cluster.urls().users.clone());
        authenticate(py, Some(users), &username, &password)?;
        Cluster::of(py, cluster, username, password)
    }

    fn client(&self) -> Client {
        Client { live: self.live.clone() }
    }

    fn scale(&self, py: Python<'_>, n_workers: Option<u32>, n_masters: Option<u32>) -> PyResult<()> {
        let live = self.live.require()?;
        live.run(py, || async { live.cluster.read().await.scale(n_workers, n_masters).await }, cluster_error)
    }

    fn kill(&self, py: Python<'_>, ids: Vec<String>) -> PyResult<()> {
        let live = self.live.require()?;
        let ids = ids.iter().map(|id| id.parse().map_err(invalid)).collect::<PyResult<Vec<_>>>()?;
        live.run(py, || async { live.cluster.read().await.kill(&ids).await }, cluster_error)
    }

    #[pyo3(signature = (*, shutdown, cleanup))]
    fn finish(&self, py: Python<'_>, shutdown: bool, cleanup: bool) -> PyResult<()> {
        // What a fork does with its copy is nobody's end.
        let Some(live) = self.live.get() else { return Ok(()) };
        live.closed.send_replace(true);
        if !shutdown {
            return Ok(());
        }
        block_on(py, || async { live.cluster.write().await.shutdown(cleanup).await })?.map_err(cluster_error)
    }
}

impl Cluster {
    fn of(py: Python<'_>, cluster: LocalCluster, username: String, password: String) -> PyResult<Cluster> {
        let urls = cluster.urls().clone();
        let directory = cluster.directory().to_owned();
        let credentials = Credentials::User { username: username.clone(), password };
        // A client's connections live in the runtime.
        let client = block_on(py, || mapreduce::Client::new(urls.clone(), credentials))?;
        let client = client.map_err(ClusterError::from).map_err(cluster_error)?;
        let closed = watch::Sender::new(false);
        let live = Live { cluster: RwLock::new(cluster), client, urls, username, closed };
        Ok(Cluster { live: Arc::new(ForkGuard::new(live)), directory })
    }
}
