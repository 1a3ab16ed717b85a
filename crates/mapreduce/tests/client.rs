//! The client against real masters that die.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{pin::pin, time::Duration};

use futures::{FutureExt, StreamExt};
use mapreduce::{Client, ClientError, Credentials, JobOutcome, JobUpdate, LocalCluster};
use mapreduce_core::{CodeRef, Epoch, InputDescription, JobId, JobPhase, JobSpec, Settings, Split};
use rustix::process::{Signal, kill_process};
use support::{Scene, living, pid_of};

async fn client(cluster: &LocalCluster, password: &str) -> Client {
    let user = Credentials::User { username: "admin".into(), password: password.into() };
    Client::new(cluster.urls().clone(), user).await.unwrap()
}

/// A job that can't end by itself: it has a task, and there are no workers.
fn spec(job: JobId) -> JobSpec {
    let split = Split { object: "input/0.0".into(), offset: 0, length: 1, records: 1, first_record: 0 };
    JobSpec {
        job,
        user: "admin".into(),
        code: CodeRef::Python { digest: "00".into() },
        inputs: vec![InputDescription::Uploaded { splits: vec![split] }],
        side_inputs: Default::default(),
        contents: std::collections::BTreeMap::new(),
        output: None,
        settings: Settings::default(),
        submitted_at_ms: 1,
    }
}

#[tokio::test]
async fn a_watch_survives_every_master() {
    let scene = Scene::new();
    let mut cluster = LocalCluster::start(scene.options(2, 0)).await.unwrap();
    let client = client(&cluster, "admin").await;
    let job = client.reserve().await.unwrap();
    client.submit(&spec(job)).await.unwrap();
    client.submit(&spec(job)).await.unwrap();
    let changed = JobSpec { submitted_at_ms: 2, ..spec(job) };
    assert!(matches!(client.submit(&changed).await, Err(ClientError::Invalid(_))));
    assert!(matches!(client.outcome(job).await, Err(ClientError::NotEnded { .. })));

    let mut updates = pin!(client.watch(job));
    let first = updates.next().await.unwrap().unwrap();
    assert_eq!((first.phase, first.epoch), (JobPhase::Map, Epoch(1)));
    let owner = first.owner.unwrap();
    cluster.kill(std::slice::from_ref(&owner)).await.unwrap();
    let second = updates.next().await.unwrap().unwrap();
    assert_eq!(second.epoch, Epoch(2));
    assert_ne!(second.owner.as_ref(), Some(&owner));

    cluster.kill(&living(cluster.urls()).await.0).await.unwrap();
    assert!(updates.next().now_or_never().is_none(), "with no master alive it waits");
    cluster.scale(None, Some(1)).await.unwrap();
    let third = updates.next().await.unwrap().unwrap();
    assert_eq!((third.phase, third.epoch), (JobPhase::Map, Epoch(3)));

    client.cancel(job).await.unwrap();
    let rest: Vec<JobUpdate> = updates.map(Result::unwrap).collect().await;
    assert_eq!(rest.last().unwrap().phase, JobPhase::Cancelled);
    assert_eq!(client.outcome(job).await.unwrap(), JobOutcome::Cancelled);
    cluster.kill(&living(cluster.urls()).await.0).await.unwrap();
    let late: Vec<JobUpdate> = client.watch(job).map(Result::unwrap).collect().await;
    assert_eq!(late.last(), rest.last(), "the end is known with no master alive");

    cluster.scale(None, Some(1)).await.unwrap();
    assert_eq!(client.clear(&[]).await.unwrap(), [job]);
    assert!(matches!(client.outcome(job).await, Err(ClientError::NoSuchJob(_))));
    cluster.shutdown(true).await.unwrap();
}

#[tokio::test]
async fn calls_go_to_whoever_lives_and_end_when_nobody_does() {
    let scene = Scene::new();
    let mut cluster = LocalCluster::start(scene.options(2, 0)).await.unwrap();
    let right = client(&cluster, "admin").await;
    assert_eq!(right.login().await.unwrap(), "admin");
    let wrong = client(&cluster, "wrong").await.login().await.unwrap_err();
    assert!(matches!(wrong, ClientError::Unauthenticated(_)), "{wrong}");
    let nobodys = right.watch(JobId(7)).map(|update| update.unwrap_err()).collect::<Vec<_>>().await;
    assert!(matches!(nobodys.as_slice(), [ClientError::NoSuchJob(_)]), "{nobodys:?}");
    let unknown = right.cancel(JobId(7)).await.unwrap_err();
    assert!(matches!(unknown, ClientError::NoSuchJob(_)), "{unknown}");

    // A stopped master keeps its connections and does not answer; the other one takes it for dead.
    let (masters, _) = living(cluster.urls()).await;
    kill_process(pid_of(&cluster, &masters[0]).await, Signal::STOP).unwrap();
    for _ in 0..2 {
        right.reserve().await.unwrap();
    }
    cluster.kill(&masters[1..]).await.unwrap();
    let impatient = right.clone().with_connect_timeout(Duration::from_millis(50));
    let nobody = impatient.reserve().await.unwrap_err();
    assert!(matches!(nobody, ClientError::NoMaster { .. }), "{nobody}");

    // A call that finds nobody is answered by the first master to come.
    let (reserved, scaled) = tokio::join!(right.reserve(), cluster.scale(None, Some(2)));
    scaled.unwrap();
    reserved.unwrap();
    cluster.shutdown(true).await.unwrap();
}
