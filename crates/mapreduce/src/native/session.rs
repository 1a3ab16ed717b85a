//! Submitting native jobs and reading their results. Blocking: a session has an event loop of its own.

use std::{
    collections::BTreeMap,
    fs, io,
    sync::{Arc, OnceLock},
    thread,
};

use bytes::Bytes;
use futures::StreamExt;
use mapreduce_core::{Clock, CodeRef, InputDescription, JobId, JobSpec, Settings, SystemClock};
use mapreduce_executor::{Resources, TaskError, keys::Pieces, map::sample, reduce::Merge, results};
use mapreduce_formats::FormatError;
use mapreduce_storage::{StorageError, Store, delete_job, make_job_dirs, paths, put_file};
use tokio::runtime::Runtime;

use super::{Combiner, Context, Datum, Input, Job, Mapper, Output, Reducer, code::damaged};
use crate::{
    Client, ClientError, ClusterError, ClusterUrls, Credentials, JobOutcome, LocalCluster, LocalOptions,
    monitor,
};

/// What reading a result takes beside the result.
const MEMORY_BYTES: usize = 64 << 20;

/// Why a job did not give a result.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// The cluster does not start or end.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster did not do what it was asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The input can't be read, or the output not be written.
    #[error(transparent)]
    Files(#[from] FormatError),
    /// Storage did not do what it was asked.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The result can't be read.
    #[error(transparent)]
    Result(#[from] TaskError),
    /// A task failed for good.
    #[error("{job} failed: {task}: {message}{}", record.as_ref().map(|r| format!("; at {r}")).unwrap_or_default())]
    Failed {
        /// The job.
        job: JobId,
        /// Which task.
        task: String,
        /// What happened.
        message: String,
        /// At which record or key.
        record: Option<String>,
    },
    /// Values can't be both sorted and combined.
    #[error(
        "a job that sorts values can't have a combiner, which would combine them before: leave either out"
    )]
    SortsCombined,
    /// Somebody cancelled the job.
    #[error("{0} was cancelled")]
    Cancelled(JobId),
    /// The system refuses something basic.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// A connection to a cluster; one of its own ends with it.
pub struct Session {
    runtime: Arc<Runtime>,
    client: Client,
    urls: ClusterUrls,
    username: String,
    cluster: Option<LocalCluster>,
    /// This program's own file, which is the code of its jobs, once it was read.
    program: Arc<OnceLock<io::Result<Code>>>,
}

/// What a job runs.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    bytes: Bytes,
    digest: String,
}

impl Code {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let digest = blake3::hash(&bytes).to_hex().to_string();
        Code { bytes: bytes.into(), digest }
    }

    /// This program's own file, of tens of megabytes.
    fn of_this_program() -> io::Result<Self> {
        Ok(Code::new(fs::read(std::env::current_exe()?)?))
    }
}

impl Session {
    /// Starts a cluster on this machine with so many workers, as the default user. Its processes run this program.
    pub fn local(n_workers: u32) -> Result<Session, NativeError> {
        Session::start(LocalOptions { n_workers, n_masters: 1, ..LocalOptions::default() })
    }

    /// The same with more to say about the cluster. Its processes run this program, whatever `options` name.
    pub fn start(options: LocalOptions) -> Result<Session, NativeError> {
        // Meanwhile, since a job will follow. If there is no thread for it, the job will do it.
        let code = Arc::new(OnceLock::new());
        let reading = code.clone();
        let _ = thread::Builder::new().spawn(move || reading.get_or_init(Code::of_this_program).is_ok());
        let mut session = Session::with_cluster(options)?;
        session.program = code;
        Ok(session)
    }

    /// The same where jobs have other code than this program.
    pub(crate) fn with_cluster(options: LocalOptions) -> Result<Session, NativeError> {
        let runtime = runtime()?;
        let program = std::env::current_exe().map_err(system("this program can't be found"))?;
        let options = LocalOptions { program, ..options };
        let cluster = runtime.block_on(LocalCluster::start(options))?;
        let mut session = Session::connect_in(runtime, cluster.urls().clone(), "admin", "admin")?;
        session.cluster = Some(cluster);
        Ok(session)
    }

    /// Connects to the cluster that has its coordination at this URL, and logs in.
    pub fn find(coordination: &str, username: &str, password: &str) -> Result<Session, NativeError> {
        let runtime = runtime()?;
        let urls = runtime.block_on(ClusterUrls::find(coordination))?;
        Session::connect_in(runtime, urls, username, password)
    }

    /// Connects to a cluster that runs, and logs in.
    pub fn connect(urls: ClusterUrls, username: &str, password: &str) -> Result<Session, NativeError> {
        Session::connect_in(runtime()?, urls, username, password)
    }

    fn connect_in(
        runtime: Arc<Runtime>,
        urls: ClusterUrls,
        username: &str,
        password: &str,
    ) -> Result<Session, NativeError> {
        let user = Credentials::User { username: username.to_owned(), password: password.to_owned() };
        let client = runtime.block_on(Client::new(urls.clone(), user))?;
        // A wrong name or password is told at once; and a job need not wait until they were looked at.
        runtime.block_on(client.login())?;
        let (username, program) = (username.to_owned(), Arc::default());
        Ok(Session { runtime, client, urls, username, cluster: None, program })
    }

    /// Submits a job whose code is `code`, with its side inputs by name, and waits for its end. How it is to be run may
    /// depend on its inputs.
    pub(crate) fn run(
        &self,
        code: Code,
        code_ref: impl FnOnce(String) -> CodeRef,
        input: Input,
        output: Option<Output>,
        settings: impl FnOnce(&[InputDescription]) -> Result<Settings, NativeError>,
        side_inputs: &BTreeMap<String, Bytes>,
    ) -> Result<JobId, NativeError> {
        let inputs = self.runtime.block_on(input.describe())?;
        let output = output.map(|output| self.runtime.block_on(output.describe())).transpose()?;
        let job = self.runtime.block_on(self.client.reserve())?;
        let digest = code.digest.clone();
        let (side_inputs, settings) = match self.prepare(job, code, side_inputs, || settings(&inputs)) {
            Ok(prepared) => prepared,
            Err(e) => {
                // A job that is never submitted is none that could be cleared.
                if let Err(e) = self.runtime.block_on(delete_job(self.client.store(), job)) {
                    tracing::warn!(%job, "what was uploaded can't be removed: {e}");
                }
                return Err(e);
            }
        };
        let (user, submitted_at_ms) = (self.username.clone(), SystemClock::default().unix_ms());
        let (code, contents) = (code_ref(digest), BTreeMap::new());
        let spec =
            JobSpec { job, user, code, inputs, side_inputs, contents, output, settings, submitted_at_ms };
        self.runtime.block_on(async {
            self.client.submit(&spec).await?;
            let mut updates = Box::pin(self.client.watch(job));
            while updates.next().await.transpose()?.is_some() {}
            match self.client.outcome(job).await? {
                JobOutcome::Succeeded => Ok(job),
                JobOutcome::Cancelled => Err(NativeError::Cancelled(job)),
                JobOutcome::Failed(failure) => Err(NativeError::Failed {
                    job,
                    task: failure.task.to_string(),
                    message: failure.message,
                    record: failure.record,
                }),
            }
        })
    }

    /// Uploads the code of a job and its side inputs, whose digests are given by their names. Meanwhile it is found out how
    /// the job is to be run.
    fn prepare(
        &self,
        job: JobId,
        code: Code,
        side_inputs: &BTreeMap<String, Bytes>,
        settings: impl FnOnce() -> Result<Settings, NativeError>,
    ) -> Result<(BTreeMap<String, String>, Settings), NativeError> {
        make_job_dirs(&self.urls.storage, job)?;
        let (store, side_inputs) = (self.client.store().clone(), side_inputs.clone());
        let uploading = self.runtime.spawn(async move {
            put_file(&store, &paths::code(job, &code.digest), code.bytes).await?;
            put_side_inputs(&store, job, &side_inputs).await
        });
        let settings = settings();
        // Whatever the settings are: who removes what was uploaded must not do so while it is written.
        let uploaded = self.runtime.block_on(uploading);
        let uploaded = uploaded.map_err(|e| system("the job's code is not uploaded")(e.into()))?;
        Ok((uploaded?, settings?))
    }

    /// This program, as the code of a job.
    fn program(&self) -> Result<Code, NativeError> {
        match self.program.get_or_init(Code::of_this_program) {
            Ok(code) => Ok(code.clone()),
            Err(e) => {
                let source = io::Error::new(e.kind(), e.to_string());
                Err(NativeError::System { what: "this program's file can't be read", source })
            }
        }
    }

    /// The groups of a job's result.
    pub(crate) fn open_result(&self, job: JobId) -> Result<Merge, NativeError> {
        Ok(results::merge(&self.resources()?, job)?)
    }

    fn resources(&self) -> Result<Resources, NativeError> {
        Ok(Resources::open(&self.urls.storage, MEMORY_BYTES, std::env::temp_dir())?)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(mut cluster) = self.cluster.take()
            && let Err(e) = self.runtime.block_on(cluster.shutdown(true))
        {
            tracing::warn!("the cluster could not be ended: {e}");
        }
    }
}

impl<M, C, R> Job<M, C, R>
where
    M: Mapper,
    C: Combiner<M::Value>,
    R: Reducer<Key = M::Key, Value = M::Value>,
{
    /// How the job is run over `inputs`. If it is to be sorted, a sample of them is mapped for it, in this process.
    fn settings_for(&self, session: &Session, inputs: &[InputDescription]) -> Result<Settings, NativeError> {
        let Some(n_partitions) = self.sorted else { return Ok(self.settings.clone()) };
        let mut code = self.code();
        let unknown =
            |name: &str| format!("the job has no side input {name:?}: give it one before it is sorted");
        let read = |name: &str| {
            Ok(self.side_inputs.get(name).map(|content| content.to_vec()).ok_or_else(|| unknown(name))?)
        };
        code.start(&Context { read: &read }).map_err(TaskError::from)?;
        let resources = session.resources()?;
        let partitioning = sample(&mut code, (JobId(0), inputs, &BTreeMap::new()), n_partitions, &resources)?;
        Ok(Settings { partitioning, ..self.settings.clone() })
    }

    /// Runs the job to its end. This program's own file is its code.
    pub fn run<'a>(
        &self,
        session: &'a Session,
        input: Input,
        output: Option<Output>,
    ) -> Result<Done<'a, R::Key, R::Output>, NativeError> {
        if self.settings.sort_values && self.combiner.is_some() {
            return Err(NativeError::SortsCombined);
        }
        let code = session.program()?;
        let native = |digest| CodeRef::Native { digest };
        let settings = |inputs: &[InputDescription]| self.settings_for(session, inputs);
        let job = session.run(code, native, input, output, settings, &self.side_inputs)?;
        Ok(Done { session, job, kind: std::marker::PhantomData })
    }
}

/// A job that has succeeded.
pub struct Done<'a, K, O> {
    session: &'a Session,
    job: JobId,
    kind: std::marker::PhantomData<fn() -> (K, O)>,
}

impl<K: Datum, O: Datum> Done<'_, K, O> {
    /// Its id.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// What its parts have counted, by name. Exact: every task counts once, by the attempt that finished it, however often
    /// it was tried. A sum that exceeds 64 bits stays at their end.
    pub fn counters(&self) -> Result<BTreeMap<String, i64>, NativeError> {
        let session = self.session;
        Ok(session.runtime.block_on(monitor::counters(&session.urls, self.job))?)
    }

    /// The results in the order of keys, if they were not written to files.
    pub fn results(&self) -> Result<impl Iterator<Item = Result<(K, O), NativeError>>, NativeError> {
        let mut groups = self.session.open_result(self.job)?;
        let mut waiting: std::vec::IntoIter<(K, O)> = Vec::new().into_iter();
        Ok(std::iter::from_fn(move || {
            loop {
                if let Some(result) = waiting.next() {
                    return Some(Ok(result));
                }
                match next_results(&mut groups) {
                    Ok(Some(results)) => waiting = results.into_iter(),
                    Ok(None) => return None,
                    Err(error) => return Some(Err(error)),
                }
            }
        }))
    }
}

/// The results of the next key.
fn next_results<K: Datum, O: Datum>(groups: &mut Merge) -> Result<Option<Vec<(K, O)>>, NativeError> {
    let Some(mut group) = groups.next_group()? else { return Ok(None) };
    let mut found = Vec::new();
    for run in group.values.collect()? {
        let mut rest = run.bytes.as_ref();
        while !rest.is_empty() {
            let key = K::take_key(&mut Pieces::new(&group.key)).ok_or_else(|| damaged("a key"))?;
            found.push((key, O::take(&mut rest).ok_or_else(|| damaged("a result"))?));
        }
    }
    Ok(Some(found))
}

/// Uploads the side inputs of a job; answers their digests by name.
async fn put_side_inputs(
    store: &Store,
    job: JobId,
    side_inputs: &BTreeMap<String, Bytes>,
) -> Result<BTreeMap<String, String>, StorageError> {
    let mut digests = BTreeMap::new();
    for (name, content) in side_inputs {
        let digest = blake3::hash(content).to_hex().to_string();
        put_file(store, &paths::side_input(job, &digest), content.clone()).await?;
        digests.insert(name.clone(), digest);
    }
    Ok(digests)
}

fn runtime() -> Result<Arc<Runtime>, NativeError> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    built.map(Arc::new).map_err(system("no event loop"))
}

pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> NativeError {
    move |source| NativeError::System { what, source }
}
