//! A real master on a real port: who is let in, and what submission promises.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::{net::SocketAddr, time::Duration};

use mapreduce_coordination::{Coordinator, records};
use mapreduce_core::{
    ClusterId, CodeRef, InputDescription, JobId, JobSpec, Persisted, Role, Secret, Settings,
};
use mapreduce_identity::Authority;
use mapreduce_master::{MasterError, MasterOptions, run};
use mapreduce_rpc::{
    WIRE_VERSION,
    control::{
        CancelRequest, ClearRequest, Hello, LoginRequest, ReserveRequest, SubmitRequest, WatchRequest,
        WorkerMessage, jobs_client::JobsClient, worker_message::Message, workers_client::WorkersClient,
    },
    headers::{Credentials, is_other_version},
};
use tokio::sync::oneshot;
use tonic::{Code, Request, Status, transport::Channel};

fn options(directory: &std::path::Path, listen: &str) -> MasterOptions {
    MasterOptions {
        coordination: format!("sqlite://{}", directory.display()),
        storage: format!("file://{}/storage", directory.display()),
        users: format!("sqlite://{}/users", directory.display()),
        cluster_key: Secret::new("the key"),
        authority: None,
        listen: listen.parse().unwrap(),
        advertise: None,
        lease: Duration::from_secs(2),
    }
}

/// A running master, and a channel to it.
struct Master {
    channel: Channel,
    stop: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<Result<(), MasterError>>,
    directory: tempfile::TempDir,
}

impl Master {
    async fn start() -> Master {
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path(), "127.0.0.1:0");
        let coordinator = mapreduce_coordination::open(&options.coordination, None).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(async { run(options, async { drop(stopped.await) }).await });
        let address = registered(coordinator.as_ref()).await;
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Master { channel, stop, done, directory }
    }

    fn jobs(&self) -> JobsClient<Channel> {
        JobsClient::new(self.channel.clone())
    }

    async fn stop(self) {
        let Master { channel, stop, done, directory } = self;
        drop(channel);
        drop(stop);
        done.await.unwrap().unwrap();
        let coordination = format!("sqlite://{}", directory.path().display());
        let coordinator = mapreduce_coordination::open(&coordination, None).await.unwrap();
        assert_eq!(records::members(coordinator.as_ref(), Role::Master).await.unwrap(), []);
    }
}

async fn registered(coordinator: &dyn Coordinator) -> SocketAddr {
    let mut changes = coordinator.watch("/masters");
    loop {
        changes.borrow_and_update();
        if let Some(member) = records::members(coordinator, Role::Master).await.unwrap().first() {
            return member.address.as_ref().unwrap().parse().unwrap();
        }
        changes.changed().await.unwrap();
    }
}

fn user(password: &str) -> Credentials {
    Credentials::User { username: "admin".into(), password: password.into() }
}
fn by<T>(credentials: &Credentials, message: T) -> Request<T> {
    let mut request = Request::new(message);
    credentials.attach(&mut request);
    request
}
fn spec(job: JobId, user: &str) -> JobSpec {
    JobSpec {
        job,
        user: user.into(),
        code: CodeRef::Python { digest: "0".repeat(64) },
        inputs: vec![InputDescription::Uploaded { splits: vec![] }],
        side_inputs: Default::default(),
        contents: std::collections::BTreeMap::new(),
        output: None,
        settings: Settings::default(),
        submitted_at_ms: 1,
    }
}
fn submission(spec: &JobSpec) -> SubmitRequest {
    SubmitRequest { spec: spec.encode() }
}
fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    answer.unwrap_err().code()
}

#[tokio::test]
async fn a_caller_of_another_version_is_told_both() {
    let master = Master::start().await;
    let (good, key) = (user("admin"), Credentials::Cluster { key: "the key".into() });
    for theirs in [WIRE_VERSION + 1, WIRE_VERSION - 1] {
        let mut login = by(&good, LoginRequest {});
        login.metadata_mut().insert("mapreduce-version", theirs.into());
        let mut attend = by(&key, tokio_stream::pending::<WorkerMessage>());
        attend.metadata_mut().insert("mapreduce-version", theirs.into());
        let refused = [
            master.jobs().login(login).await.unwrap_err(),
            WorkersClient::new(master.channel.clone()).attend(attend).await.unwrap_err(),
        ];
        for status in refused {
            let versions = format!("the caller speaks wire version {theirs}, this master {WIRE_VERSION}");
            assert!(status.message().contains(&versions) && is_other_version(&status), "{status}");
        }
    }
    master.stop().await;
}

#[tokio::test]
async fn without_credentials_no_call_gets_anything() {
    let master = Master::start().await;
    let mut jobs = master.jobs();
    let job = "job_1".to_owned();
    let nothing = submission(&spec(JobId(1), "admin"));
    assert_eq!(code(jobs.login(LoginRequest {}).await), Code::FailedPrecondition, "not even a version");
    for credentials in [user("wrong"), Credentials::Cluster { key: "the key".into() }] {
        let c = &credentials;
        assert_eq!(code(jobs.login(by(c, LoginRequest {})).await), Code::Unauthenticated);
        assert_eq!(code(jobs.reserve(by(c, ReserveRequest {})).await), Code::Unauthenticated);
        assert_eq!(code(jobs.submit(by(c, nothing.clone())).await), Code::Unauthenticated);
        assert_eq!(code(jobs.watch(by(c, WatchRequest { job: job.clone() })).await), Code::Unauthenticated);
        assert_eq!(code(jobs.cancel(by(c, CancelRequest { job: job.clone() })).await), Code::Unauthenticated);
        assert_eq!(code(jobs.clear(by(c, ClearRequest { jobs: vec![] })).await), Code::Unauthenticated);
    }
    let hello = Hello { worker: "worker-0123456789ab".into(), n_slots: 1 };
    let messages = vec![WorkerMessage { message: Some(Message::Hello(hello)) }];
    for credentials in [user("admin"), Credentials::Cluster { key: "another key".into() }] {
        let stream = tokio_stream::iter(messages.clone());
        let attended = WorkersClient::new(master.channel.clone()).attend(by(&credentials, stream)).await;
        assert_eq!(attended.unwrap_err().code(), Code::Unauthenticated);
    }
    let role = jobs.login(by(&user("admin"), LoginRequest {})).await.unwrap().into_inner().role;
    assert_eq!(role, "admin");
    master.stop().await;
}

#[tokio::test]
async fn a_submission_may_be_repeated_and_not_changed() {
    let master = Master::start().await;
    let mut jobs = master.jobs();
    let admin = user("admin");
    let id = jobs.reserve(by(&admin, ReserveRequest {})).await.unwrap().into_inner().job;
    let spec = spec(id.parse().unwrap(), "admin");
    jobs.submit(by(&admin, submission(&spec))).await.unwrap();
    jobs.submit(by(&admin, submission(&spec))).await.unwrap();
    let other = JobSpec { submitted_at_ms: 2, ..spec.clone() };
    assert_eq!(code(jobs.submit(by(&admin, submission(&other))).await), Code::AlreadyExists);

    let next = jobs.reserve(by(&admin, ReserveRequest {})).await.unwrap().into_inner().job;
    assert_ne!(next, id, "an id is given once");
    let settings = Settings { requested_n_workers: Some(0), ..Settings::default() };
    let impossible = JobSpec { job: next.parse().unwrap(), settings, ..spec.clone() };
    assert_eq!(code(jobs.submit(by(&admin, submission(&impossible))).await), Code::InvalidArgument);
    let forged = JobSpec { job: next.parse().unwrap(), user: "eve".into(), ..spec };
    assert_eq!(code(jobs.submit(by(&admin, submission(&forged))).await), Code::InvalidArgument);
    master.stop().await;
}

#[tokio::test]
async fn a_job_of_more_tasks_than_masters_can_keep_is_refused() {
    let master = Master::start().await;
    let (mut jobs, admin) = (master.jobs(), user("admin"));
    let result = |n_partitions| InputDescription::Result { of: JobId(1), n_partitions };
    let splits = JobSpec { inputs: vec![result(u32::MAX), result(u32::MAX)], ..spec(JobId(2), "admin") };
    let settings = Settings { n_partitions: Some(u32::MAX), ..Settings::default() };
    let partitions = JobSpec { settings, ..spec(JobId(2), "admin") };
    for spec in [splits, partitions] {
        assert_eq!(code(jobs.submit(by(&admin, submission(&spec))).await), Code::InvalidArgument);
    }
    master.stop().await;
}

#[tokio::test]
async fn a_job_is_watched_to_its_end_and_cleared_only_then() {
    let master = Master::start().await;
    let mut jobs = master.jobs();
    let admin = user("admin");
    let id = jobs.reserve(by(&admin, ReserveRequest {})).await.unwrap().into_inner().job;
    jobs.submit(by(&admin, submission(&spec(id.parse().unwrap(), "admin")))).await.unwrap();
    let running = by(&admin, ClearRequest { jobs: vec![id.clone()] });
    assert_eq!(code(jobs.clear(running).await), Code::FailedPrecondition);

    let watch = jobs.watch(by(&admin, WatchRequest { job: id.clone() })).await;
    let mut updates = watch.unwrap().into_inner();
    jobs.cancel(by(&admin, CancelRequest { job: id.clone() })).await.unwrap();
    let mut last = None;
    while let Some(update) = updates.message().await.unwrap() {
        last = Some(update.phase);
    }
    assert_eq!(last.as_deref(), Some("cancelled"));

    let cleared = jobs.clear(by(&admin, ClearRequest { jobs: vec![] })).await.unwrap().into_inner().jobs;
    assert_eq!(cleared, std::slice::from_ref(&id));
    assert_eq!(code(jobs.watch(by(&admin, WatchRequest { job: id })).await), Code::NotFound);
    master.stop().await;
}

#[tokio::test]
async fn off_loopback_a_master_needs_a_certificate_an_address_and_another_password() {
    let directory = tempfile::tempdir().unwrap();
    let plain = options(directory.path(), "0.0.0.0:0");
    let refused = run(plain.clone(), std::future::pending()).await;
    assert!(matches!(refused, Err(MasterError::NoCertificate { .. })), "{refused:?}");
    let elsewhere = Some("example.org:7070".to_owned());
    let forwarded =
        MasterOptions { advertise: elsewhere.clone(), ..options(directory.path(), "127.0.0.1:0") };
    let refused = run(forwarded, std::future::pending()).await;
    assert!(matches!(refused, Err(MasterError::NoCertificate { .. })), "{refused:?}");

    let authority = Some(Authority::new(&ClusterId::new(1)).unwrap());
    let nowhere = MasterOptions { authority, ..plain };
    let refused = run(nowhere.clone(), std::future::pending()).await;
    assert!(matches!(refused, Err(MasterError::NoAddress { .. })), "{refused:?}");
    let refused = run(MasterOptions { advertise: elsewhere, ..nowhere }, std::future::pending()).await;
    assert!(matches!(refused, Err(MasterError::DefaultPassword { .. })), "{refused:?}");
}
