//! Clusters as Python holds them: one whose processes this one started or is attached to, and one that is only connected
//! to.

use std::{path::PathBuf, sync::Arc};

use mapreduce::{ClusterUrls, Credentials, LocalCluster, LocalOptions};
use pyo3::prelude::*;
use tokio::sync::{RwLock, watch};

use crate::{
    auth::authenticate,
    client::Client,
    fork::ForkGuard,
    raise::{self, client_error, cluster_error, invalid},
    runtime::block_on,
};

/// A cluster that runs, to its clients.
pub struct Live {
    pub client: mapreduce::Client,
    pub urls: ClusterUrls,
    pub username: String,
    /// Turns true when Python is done with the cluster, and ends every wait.
    closed: watch::Sender<bool>,
}

impl Live {
    fn open(py: Python<'_>, urls: ClusterUrls, username: String, password: String) -> PyResult<Live> {
        let credentials = Credentials::User { username: username.clone(), password };
        // A client's connections live in the runtime.
        let client = block_on(py, || mapreduce::Client::new(urls.clone(), credentials))?;
        let client = client.map_err(client_error)?;
        Ok(Live { client, urls, username, closed: watch::Sender::new(false) })
    }

    /// Ends every wait.
    fn close(&self) {
        self.closed.send_replace(true);
    }

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
    raise::ClusterError::new_err("the cluster was shut down, or the connection to it closed")
}

/// A local cluster that this process started or is attached to.
#[pyclass(frozen, module = "mapreduce._native")]
pub struct Cluster {
    live: Arc<ForkGuard<Live>>,
    /// Exclusively locked only to shut it down.
    local: ForkGuard<RwLock<LocalCluster>>,
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
        let (live, local) = (self.live.require()?, self.local.require()?);
        live.run(py, || async { local.read().await.scale(n_workers, n_masters).await }, cluster_error)
    }

    fn kill(&self, py: Python<'_>, ids: Vec<String>) -> PyResult<()> {
        let (live, local) = (self.live.require()?, self.local.require()?);
        let ids = ids.iter().map(|id| id.parse().map_err(invalid)).collect::<PyResult<Vec<_>>>()?;
        live.run(py, || async { local.read().await.kill(&ids).await }, cluster_error)
    }

    #[pyo3(signature = (*, shutdown, cleanup))]
    fn finish(&self, py: Python<'_>, shutdown: bool, cleanup: bool) -> PyResult<()> {
        // What a fork does with its copy is nobody's end.
        let (Some(live), Some(local)) = (self.live.get(), self.local.get()) else { return Ok(()) };
        live.close();
        if !shutdown {
            return Ok(());
        }
        block_on(py, || async { local.write().await.shutdown(cleanup).await })?.map_err(cluster_error)
    }
}

impl Cluster {
    fn of(py: Python<'_>, cluster: LocalCluster, username: String, password: String) -> PyResult<Cluster> {
        let directory = cluster.directory().to_owned();
        let live = Live::open(py, cluster.urls().clone(), username, password)?;
        let local = ForkGuard::new(RwLock::new(cluster));
        Ok(Cluster { live: Arc::new(ForkGuard::new(live)), local, directory })
    }
}

/// A connection to a cluster whose processes others start.
#[pyclass(frozen, module = "mapreduce._native")]
pub struct Connection {
    live: Arc<ForkGuard<Live>>,
}

#[pymethods]
impl Connection {
    /// Raises when there is no cluster at `url`, no master of it answers, or name and password are wrong.
    #[staticmethod]
    fn open(py: Python<'_>, url: String, username: String, password: String) -> PyResult<Connection> {
        let urls = block_on(py, || async { ClusterUrls::find(&url).await })?.map_err(client_error)?;
        let live = Live::open(py, urls, username, password)?;
        live.run(py, || live.client.login(), client_error)?;
        Ok(Connection { live: Arc::new(ForkGuard::new(live)) })
    }

    fn client(&self) -> Client {
        Client { live: self.live.clone() }
    }

    /// The same as a cluster's; there is nothing of it to be shut down or cleaned up.
    #[pyo3(signature = (*, shutdown, cleanup))]
    #[expect(unused_variables, reason = "named for Python")]
    fn finish(&self, shutdown: bool, cleanup: bool) {
        if let Some(live) = self.live.get() {
            live.close();
        }
    }
}
