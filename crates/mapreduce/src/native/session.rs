//! Submitting native jobs and reading their results. Blocking: a session has an event loop of its own.

use std::{fs, io, path::PathBuf, sync::Arc};

use futures::StreamExt;
use mapreduce_core::{
    Clock, CodeRef, Compression, FileFormat, InputDescription, InvalidText, JobId, JobSpec,
    OutputDescription, Settings, SystemClock,
};
use mapreduce_executor::{Resources, TaskError, keys::Pieces, map::sample, reduce::Merge, results};
use mapreduce_formats::{FormatError, SPLIT_BYTES, check_output, find, split};
use mapreduce_storage::{StorageError, make_job_dirs, paths, put_file};
use tokio::runtime::Runtime;

use super::{Combiner, Datum, Job, Mapper, Reducer, code::damaged};
use crate::{
    Client, ClientError, ClusterError, ClusterUrls, Credentials, JobOutcome, LocalCluster, LocalOptions,
};

/// A native task gets through this in less than a second, too, and fewer tasks have less to merge.
const NATIVE_SPLIT_BYTES: u64 = 2 * SPLIT_BYTES;
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

/// What a job reads.
#[derive(Debug, Clone)]
pub struct Input {
    patterns: Vec<String>,
    format: FileFormat,
    split_bytes: u64,
}

impl Input {
    /// Files of any format. Patterns are paths, directories, globs and `file://` URLs.
    pub fn files(format: FileFormat, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let patterns = patterns.into_iter().map(Into::into).collect();
        Input { patterns, format, split_bytes: NATIVE_SPLIT_BYTES }
    }

    /// Lines of UTF-8.
    pub fn text(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Input::files(FileFormat::Text { invalid: InvalidText::Error }, patterns)
    }

    /// About how many bytes one map task reads.
    pub fn split_bytes(self, split_bytes: u64) -> Self {
        Input { split_bytes: split_bytes.max(1), ..self }
    }
}

/// Where a job writes its results: one file a partition.
#[derive(Debug, Clone)]
pub struct Output {
    /// The directory.
    pub directory: PathBuf,
    /// Text, JSON Lines, CSV or records of fixed length.
    pub format: FileFormat,
    /// How the files are compressed.
    pub compression: Compression,
    /// Whether what is there already is replaced.
    pub overwrite: bool,
}

impl Output {
    /// Lines of text in a directory that is absent or empty.
    pub fn text(directory: impl Into<PathBuf>) -> Self {
        let format = FileFormat::Text { invalid: InvalidText::Error };
        Output { directory: directory.into(), format, compression: Compression::None, overwrite: false }
    }
}

/// A connection to a cluster; one of its own ends with it.
pub struct Session {
    runtime: Arc<Runtime>,
    client: Client,
    urls: ClusterUrls,
    username: String,
    cluster: Option<LocalCluster>,
}

impl Session {
    /// Starts a cluster on this machine with so many workers, as the default user. Its processes run this program.
    pub fn local(n_workers: u32) -> Result<Session, NativeError> {
        Session::start(LocalOptions { n_workers, n_masters: 1, ..LocalOptions::default() })
    }

    /// The same with more to say about the cluster. Its processes run this program, whatever `options` name.
    pub fn start(options: LocalOptions) -> Result<Session, NativeError> {
        let runtime = runtime()?;
        let program = std::env::current_exe().map_err(system("this program can't be found"))?;
        let options = LocalOptions { program, ..options };
        let cluster = runtime.block_on(LocalCluster::start(options))?;
        let mut session = Session::connect_in(runtime, cluster.urls().clone(), "admin", "admin")?;
        session.cluster = Some(cluster);
        Ok(session)
    }

    /// Connects to a cluster that runs.
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
        let client = runtime.block_on(async { Client::new(urls.clone(), user) })?;
        Ok(Session { runtime, client, urls, username: username.to_owned(), cluster: None })
    }

    fn describe(&self, input: Input) -> Result<InputDescription, NativeError> {
        let files = self.runtime.block_on(find(&input.patterns, None))?;
        let splits = split(&files, &input.format, input.split_bytes);
        Ok(InputDescription::Files { format: input.format, files, splits })
    }

    /// Submits a job whose code is `code` and waits for its end.
    pub(crate) fn run(
        &self,
        code: Vec<u8>,
        code_ref: impl FnOnce(String) -> CodeRef,
        input: Input,
        output: Option<Output>,
        settings: Settings,
    ) -> Result<JobId, NativeError> {
        let input = self.describe(input)?;
        let output = output.map(describe_output).transpose()?;
        self.runtime.block_on(async {
            let job = self.client.reserve().await?;
            make_job_dirs(&self.urls.storage, job)?;
            let digest = blake3::hash(&code).to_hex().to_string();
            put_file(self.client.store(), &paths::code(job, &digest), code.into()).await?;
            let (user, submitted_at_ms) = (self.username.clone(), SystemClock::default().unix_ms());
            let code = code_ref(digest);
            self.client
                .submit(&JobSpec { job, user, code, input, output, settings, submitted_at_ms })
                .await?;
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

    /// The groups of a job's result.
    pub(crate) fn open_result(&self, job: JobId) -> Result<Merge, NativeError> {
        Ok(results::merge(&self.resources(), job)?)
    }

    fn resources(&self) -> Resources {
        Resources {
            store: self.client.store().clone(),
            runtime: self.runtime.clone(),
            memory_bytes: MEMORY_BYTES,
            scratch: std::env::temp_dir(),
        }
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
    /// The same job with its results in the order of keys over all partitions, about `n_partitions` of them, so that
    /// the files of an output, one behind the other, are sorted. Maps a sample of the input for it, in this process.
    pub fn sorted(self, session: &Session, input: &Input, n_partitions: u32) -> Result<Self, NativeError> {
        let description = session.describe(input.clone())?;
        let mut code = self.code();
        let resources = session.resources();
        let partitioning = sample(&mut code, &description, JobId(0), n_partitions, &resources)?;
        let settings = Settings { partitioning, ..self.settings.clone() };
        Ok(self.settings(settings))
    }

    /// Runs the job to its end. This program's own file is its code.
    pub fn run<'a>(
        &self,
        session: &'a Session,
        input: Input,
        output: Option<Output>,
    ) -> Result<Done<'a, R::Key, R::Output>, NativeError> {
        let program = std::env::current_exe().map_err(system("this program can't be found"))?;
        let code = fs::read(program).map_err(system("this program's file can't be read"))?;
        let native = |digest| CodeRef::Native { digest };
        let job = session.run(code, native, input, output, self.settings.clone())?;
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

fn describe_output(output: Output) -> Result<OutputDescription, NativeError> {
    let directory = std::path::absolute(&output.directory).map_err(system("the output can't be named"))?;
    let url = directory.display().to_string();
    check_output(&url, output.overwrite)?;
    let Output { format, compression, overwrite, .. } = output;
    Ok(OutputDescription { url, format, compression, overwrite })
}

fn runtime() -> Result<Arc<Runtime>, NativeError> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    built.map(Arc::new).map_err(system("no event loop"))
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> NativeError {
    move |source| NativeError::System { what, source }
}
