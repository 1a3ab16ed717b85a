//! A cluster's client, as Python holds it: jobs, and looks at what the cluster is doing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use mapreduce::{ClientError, JobOutcome, monitor};
use mapreduce_coordination::records::{self, Member};
use mapreduce_core::{
    CODE_CONTENT_BYTES_MAX, Clock, CodeRef, Content, JobId, JobPhase, JobSpec, Persisted, Progress, Role,
    Settings, SystemClock,
};
use mapreduce_storage::paths;
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyBytes, PyList},
};
use serde::Serialize;

use crate::{
    cluster::Live,
    fork::ForkGuard,
    inputs::{describe, sampled},
    objects,
    raise::{CancelledError, StorageError, client_error, invalid},
    results::{self, ResultIterator},
    side_inputs::digest,
    upload::{Uploading, patiently},
};

/// A client of a cluster.
#[pyclass(frozen, module = "mapreduce._native")]
pub struct Client {
    pub live: Arc<ForkGuard<Live>>,
}

#[pymethods]
impl Client {
    /// Raises in a fork.
    fn check_process(&self) -> PyResult<()> {
        self.live.require().map(|_| ())
    }

    /// A new job id. Waits while no master is there to give one.
    fn reserve(&self, py: Python<'_>) -> PyResult<String> {
        let live = self.live.require()?;
        Ok(retry(py, live, "a new job", || live.client.reserve())?.to_string())
    }

    /// A new job id; None if no master gives one in time.
    fn reserve_within(&self, py: Python<'_>, patience_s: f64) -> PyResult<Option<String>> {
        let live = self.live.require()?;
        let in_time = || async {
            let patience = Duration::from_secs_f64(patience_s);
            match tokio::time::timeout(patience, live.client.reserve()).await.ok().transpose() {
                // Whoever carries the job goes on to ask, and says why it waits.
                Err(ClientError::Unavailable { .. }) => Ok(None),
                reserved => reserved,
            }
        };
        Ok(live.run(py, in_time, client_error)?.map(|job| job.to_string()))
    }

    /// Uploads a job's code, its side inputs by their digests, and those of its inputs that are records; answers its
    /// specification, ready to be submitted. `is_cancelled` is asked now and then whether to stop.
    #[expect(clippy::too_many_arguments, reason = "they are the arguments of one Python call")]
    fn upload<'py>(
        &self,
        py: Python<'py>,
        job: &str,
        inputs: Vec<Bound<'py, PyAny>>,
        code: PyBackedBytes,
        side_inputs: BTreeMap<String, PyBackedBytes>,
        split_records: Option<u64>,
        settings: &str,
        output: Option<&str>,
        sort: bool,
        is_cancelled: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let live = self.live.require()?;
        let job = job_id(job)?;
        let settings: Settings = serde_json::from_str(settings).map_err(not_ours)?;
        let check = || {
            live.check_open()?;
            if is_cancelled.call0()?.is_truthy()? {
                return Err(CancelledError::new_err(format!("{job} was cancelled")));
            }
            Ok(())
        };
        patiently(py, job, &check, || Ok(mapreduce_storage::make_job_dirs(&live.urls.storage, job)?))?;
        let digest = digest(&code);
        // Python's own bytes, not copied.
        let side = |(digest, content): (&String, &PyBackedBytes)| {
            (paths::side_input(job, digest), Bytes::from_owner(content.clone_ref(py)))
        };
        let code_path = paths::code(job, &digest);
        let mut contents = BTreeMap::new();
        let code_object = match code.len() as u64 <= CODE_CONTENT_BYTES_MAX {
            true => {
                contents.insert(paths::below_job(&code_path), Content(code.to_vec()));
                None
            }
            false => Some((code_path, Bytes::from_owner(code.clone_ref(py)))),
        };
        let objects = code_object.into_iter().chain(side_inputs.iter().map(side));
        let uploading = Uploading::begin(py, live.client.store(), job, objects)?;
        let inputs = match describe(py, live, job, &inputs, split_records, &mut contents, &check) {
            Ok(inputs) => inputs,
            Err(error) => {
                // What is still under way would appear after the job was discarded.
                uploading.join(py)?;
                return Err(error);
            }
        };
        uploading.wait(py, &check)?;
        let mut spec = JobSpec {
            job,
            user: live.username.clone(),
            code: CodeRef::Python { digest },
            inputs,
            side_inputs: side_inputs.into_keys().map(|digest| (digest.clone(), digest)).collect(),
            contents,
            output: output.map(serde_json::from_str).transpose().map_err(not_ours)?,
            settings,
            submitted_at_ms: SystemClock::default().unix_ms(),
        };
        if sort {
            spec.settings.partitioning = sampled(py, &spec, &code, &live.urls.storage, &check)?;
        }
        Ok(PyBytes::new(py, &spec.encode()))
    }

    /// Removes what was uploaded for a job that was never submitted.
    fn discard(&self, py: Python<'_>, job: &str) -> PyResult<()> {
        let live = self.live.require()?;
        let job = job_id(job)?;
        live.run(
            py,
            || mapreduce_storage::delete_job(live.client.store(), job),
            |e| StorageError::new_err(e.to_string()),
        )
    }

    /// Submits a job whose input and code are uploaded. Waits while no master is there to take it.
    fn submit(&self, py: Python<'_>, spec: &[u8]) -> PyResult<()> {
        let live = self.live.require()?;
        let spec = JobSpec::decode(spec).map_err(not_ours)?;
        retry(py, live, &spec.job.to_string(), || live.client.submit(&spec))
    }

    /// Waits until the job has ended, and tells `on_phase` of every phase. Answers how it failed, as JSON, or
    /// None if it succeeded; raises CancelledError if it was cancelled.
    fn wait(&self, py: Python<'_>, job: &str, on_phase: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let live = self.live.require()?;
        let job = job_id(job)?;
        let mut updates = Box::pin(live.client.watch(job));
        let mut phase = None;
        while let Some(update) = live.run(py, || async { updates.next().await.transpose() }, client_error)? {
            if phase.replace(update.phase) != Some(update.phase) {
                on_phase.call1((update.phase.name(),))?;
            }
        }
        match live.run(py, || live.client.outcome(job), client_error)? {
            JobOutcome::Succeeded => Ok(None),
            JobOutcome::Failed(failure) => to_json(&failure).map(Some),
            JobOutcome::Cancelled => Err(CancelledError::new_err(format!("{job} was cancelled"))),
        }
    }

    /// The result of a job that has succeeded, as a list of pairs; of one with an output the paths of its files.
    /// None if it takes more than `bytes_max` in storage.
    fn collect<'py>(
        &self,
        py: Python<'py>,
        job: &str,
        bytes_max: Option<u64>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let live = self.live.require()?;
        results::collect(py, &live.urls.storage, job_id(job)?, bytes_max)
    }

    /// The same pairs, one by one, in the order of the encoded keys.
    fn iterate(&self, py: Python<'_>, job: &str) -> PyResult<ResultIterator> {
        let live = self.live.require()?;
        ResultIterator::open(py, &live.urls.storage, job_id(job)?)
    }

    /// Asks for the job to be cancelled. Whether it will be: false if it has ended otherwise.
    fn cancel(&self, py: Python<'_>, job: &str) -> PyResult<bool> {
        let live = self.live.require()?;
        let job = job_id(job)?;
        let update = live.run(py, || live.client.cancel(job), client_error)?;
        Ok(matches!(update.phase, JobPhase::Cancelled | JobPhase::Map | JobPhase::Reduce))
    }

    /// Removes what is kept of jobs that have ended, and answers which.
    fn clear(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let live = self.live.require()?;
        let cleared = live.run(py, || live.client.clear(&[]), client_error)?;
        Ok(cleared.iter().map(JobId::to_string).collect())
    }

    /// Raises if there is no such job.
    fn check_job(&self, py: Python<'_>, job: &str) -> PyResult<()> {
        let live = self.live.require()?;
        let job = job_id(job)?;
        let exists = || async {
            match live.client.outcome(job).await {
                Ok(_) | Err(ClientError::NotEnded { .. }) => Ok(()),
                Err(e) => Err(e),
            }
        };
        live.run(py, exists, client_error)
    }

    /// The job's phase; its tasks: map done, map total, reduce done, reduce total; and why it waits, if it does.
    fn progress(&self, py: Python<'_>, job: &str) -> PyResult<HowFar> {
        let live = self.live.require()?;
        let job = job_id(job)?;
        let view = live.run(py, || monitor::job(&live.urls, job), client_error)?;
        let Progress { map_done, map_total, reduce_done, reduce_total } = view.progress;
        Ok((view.record.phase.name(), map_done, map_total, reduce_done, reduce_total, view.trouble))
    }

    /// What the tasks of a job that are finished have counted.
    fn counters(&self, py: Python<'_>, job: &str) -> PyResult<BTreeMap<String, i64>> {
        let live = self.live.require()?;
        let job = job_id(job)?;
        live.run(py, || monitor::counters(&live.urls, job), client_error)
    }

    /// Masters, workers and jobs with their tasks, as JSON.
    fn snapshot(&self, py: Python<'_>) -> PyResult<String> {
        let live = self.live.require()?;
        to_json(&live.run(py, || monitor::snapshot(&live.urls), client_error)?)
    }

    /// The ids of the live masters and of the live workers.
    fn members(&self, py: Python<'_>) -> PyResult<(Vec<String>, Vec<String>)> {
        let live = self.live.require()?;
        let members = || async {
            let coordinator = mapreduce_coordination::open(&live.urls.coordination, None).await?;
            let masters = records::members(&*coordinator, Role::Master).await?;
            let workers = records::members(&*coordinator, Role::Worker).await?;
            coordinator.close().await;
            Ok((masters, workers))
        };
        let (masters, workers) = live.run(py, members, client_error)?;
        let ids =
            |members: Vec<Member>| members.iter().map(|member| member.incarnation.to_string()).collect();
        Ok((ids(masters), ids(workers)))
    }

    /// The attempts of a job in the order of launches, as JSON.
    fn history(&self, py: Python<'_>, job: &str) -> PyResult<String> {
        let live = self.live.require()?;
        let job = job_id(job)?;
        to_json(&live.run(py, || monitor::attempts(&live.urls, job), client_error)?)
    }

    /// The objects below a path of storage, with their sizes in bytes.
    fn storage_tree(&self, py: Python<'_>, path: &str) -> PyResult<Vec<(String, u64)>> {
        let live = self.live.require()?;
        let tree = live.run(py, || monitor::tree(&live.urls, path), client_error)?;
        Ok(tree.into_iter().map(|entry| (entry.path, entry.size)).collect())
    }

    /// What one object in storage holds.
    fn storage_object<'py>(&self, py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyBytes>> {
        let live = self.live.require()?;
        let content = live.run(py, || monitor::object(&live.urls, path), client_error)?;
        Ok(PyBytes::new(py, &content))
    }
}

/// What `mapreduce.Progress` is made of.
type HowFar = (&'static str, u32, u32, u32, u32, Option<String>);

/// Asks again as long as no master is alive, or none can do it, and says the latter, for `whom`: outside of the event
/// loop, since who is told, by way of logging, may ask the cluster something.
fn retry<T, F>(py: Python<'_>, live: &Live, whom: &str, call: impl Fn() -> F + Sync) -> PyResult<T>
where
    F: Future<Output = Result<T, ClientError>>,
    T: Send,
{
    loop {
        let once = || async {
            match call().await {
                Err(ClientError::NoMaster { .. } | ClientError::Unreachable { .. }) => Ok(Err(None)),
                Err(ClientError::Unavailable { why, .. }) => Ok(Err(Some(why))),
                done => done.map(Ok),
            }
        };
        match live.run(py, once, client_error)? {
            Ok(done) => return Ok(done),
            Err(Some(why)) => objects::warn(py, &format!("{whom} waits: {why}")),
            Err(None) => {}
        }
    }
}

fn job_id(text: &str) -> PyResult<JobId> {
    text.parse().map_err(invalid)
}

/// For data that this package made itself, and that is not what it should be.
fn not_ours(e: impl std::error::Error) -> PyErr {
    PyValueError::new_err(e.to_string())
}

fn to_json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(not_ours)
}
