//! What a cluster is doing, read from coordination and storage alone: works with no master alive.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use mapreduce_coordination::{
    Coordinator,
    records::{self, Member},
};
use mapreduce_core::{Incarnation, JobId, JobPhase, JobRecord, JobSpec, Role, Stage};
use mapreduce_formats::local_directory;
use mapreduce_storage::{
    Store, paths,
    view::{self, AttemptView, JobView, TreeEntry},
};
use serde::Serialize;

use crate::{ClientError, ClusterUrls, room::lack_of_room};

/// A cluster at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The live masters.
    pub masters: Vec<Member>,
    /// The live workers.
    pub workers: Vec<Member>,
    /// The jobs that have not been cleared, with every task, by id.
    pub jobs: Vec<JobView>,
}

/// The cluster as it is now.
pub async fn snapshot(urls: &ClusterUrls) -> Result<Snapshot, ClientError> {
    let coordinator = mapreduce_coordination::open(&urls.coordination, None).await?;
    let store = mapreduce_storage::open(&urls.storage)?;
    let jobs = records::jobs(&*coordinator).await?;
    let (masters, workers) = members(&*coordinator).await?;
    let live: BTreeSet<_> = masters.iter().chain(&workers).map(|member| member.incarnation.clone()).collect();
    let mut views = Vec::with_capacity(jobs.len());
    for (record, _) in jobs {
        views.push(look(urls, &store, record, &live).await?);
    }
    coordinator.close().await;
    Ok(Snapshot { masters, workers, jobs: views })
}

/// The live masters and the live workers.
pub(crate) async fn members(
    coordinator: &dyn Coordinator,
) -> Result<(Vec<Member>, Vec<Member>), ClientError> {
    let masters = records::members(coordinator, Role::Master).await?;
    Ok((masters, records::members(coordinator, Role::Worker).await?))
}

/// One job with every task.
pub async fn job(urls: &ClusterUrls, job: JobId) -> Result<JobView, ClientError> {
    let coordinator = mapreduce_coordination::open(&urls.coordination, None).await?;
    let store = mapreduce_storage::open(&urls.storage)?;
    let (record, _) = records::job(&*coordinator, job).await?.ok_or_else(|| ClientError::no_such_job(job))?;
    let (masters, workers) = members(&*coordinator).await?;
    coordinator.close().await;
    let live = masters.into_iter().chain(workers).map(|member| member.incarnation).collect();
    look(urls, &store, record, &live).await
}

/// The job as its durable records show it, and what they can't because the disk is full that they would be on.
async fn look(
    urls: &ClusterUrls,
    store: &Store,
    record: JobRecord,
    live: &BTreeSet<Incarnation>,
) -> Result<JobView, ClientError> {
    let mut view = view::load(store, record, live).await?;
    if view.trouble.is_none() && !view.record.phase.is_terminal() {
        view.trouble = urls.storage_directory().and_then(|directory| lack_of_room(&directory));
    }
    if view.trouble.is_none() && view.record.phase == JobPhase::Publish {
        view.trouble = output_directory(store, view.record.job).await?.and_then(|out| lack_of_room(&out));
    }
    Ok(view)
}

/// The local directory that a job publishes its output in, or the nearest one above it.
async fn output_directory(store: &Store, job: JobId) -> Result<Option<PathBuf>, ClientError> {
    let spec: Option<JobSpec> = mapreduce_storage::read(store, &paths::spec(job)).await?;
    let directory = spec.and_then(|spec| local_directory(&spec.output?.url));
    Ok(directory.and_then(|dir| dir.ancestors().find(|dir| dir.exists()).map(Path::to_owned)))
}

/// What the finished tasks of a job have counted, by name.
pub async fn counters(urls: &ClusterUrls, job: JobId) -> Result<BTreeMap<String, i64>, ClientError> {
    check_job(urls, job).await?;
    let store = mapreduce_storage::open(&urls.storage)?;
    let mut all = mapreduce_storage::markers(&store, job, Stage::Map).await?;
    all.extend(mapreduce_storage::markers(&store, job, Stage::Reduce).await?);
    Ok(mapreduce_storage::counters(all.values()))
}

/// The audit of a job: every attempt, in the order of launches.
pub async fn attempts(urls: &ClusterUrls, job: JobId) -> Result<Vec<AttemptView>, ClientError> {
    check_job(urls, job).await?;
    Ok(view::load_attempts(&mapreduce_storage::open(&urls.storage)?, job).await?)
}

/// An error if there is no such job.
async fn check_job(urls: &ClusterUrls, job: JobId) -> Result<(), ClientError> {
    let coordinator = mapreduce_coordination::open(&urls.coordination, None).await?;
    let record = records::job(&*coordinator, job).await?;
    coordinator.close().await;
    record.map(drop).ok_or_else(|| ClientError::no_such_job(job))
}

/// Every object in storage below `path`, such as `jobs`; everything if it is empty.
pub async fn tree(urls: &ClusterUrls, path: &str) -> Result<Vec<TreeEntry>, ClientError> {
    Ok(view::tree(&mapreduce_storage::open(&urls.storage)?, path).await?)
}

/// What one object in storage holds, such as `jobs/job_1/spec`.
pub async fn object(urls: &ClusterUrls, path: &str) -> Result<Bytes, ClientError> {
    Ok(view::object(&mapreduce_storage::open(&urls.storage)?, path).await?)
}
