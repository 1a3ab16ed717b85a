//! Masters of another version, or that can't be reached: who calls them says which it is, and where. A master of another
//! version is a gRPC server that checks callers as masters do, by another number.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::stream::Empty;
use mapreduce::{Client, ClientError, ClusterUrls, Credentials};
use mapreduce_coordination::{
    Coordinator, SessionOptions,
    records::{self, ClusterRecord, Member},
};
use mapreduce_core::{ClusterId, Incarnation, Persisted, Role};
use mapreduce_identity::{Authority, Stores, Token};
use mapreduce_rpc::{
    WIRE_VERSION,
    control::{
        MasterMessage, WorkerMessage,
        workers_server::{Workers, WorkersServer},
    },
    headers::check_version,
};
use support::Scene;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status, Streaming,
    service::InterceptorLayer,
    transport::{Server, server::TcpIncoming},
};

const NEWER: u32 = WIRE_VERSION + 1;

/// A cluster in the making, on this machine.
struct Place {
    scene: Scene,
    coordination: String,
    storage: String,
}

impl Place {
    fn new() -> Place {
        let scene = Scene::new();
        fs::write(scene.path("key"), "a secret").unwrap();
        let coordination = format!("sqlite://{}", scene.path("coordination").display());
        let storage = format!("file://{}", scene.path("storage").display());
        Place { scene, coordination, storage }
    }

    async fn coordinator(&self, me: &Incarnation) -> Arc<dyn Coordinator> {
        let lease = Duration::from_secs(2);
        let session = SessionOptions { incarnation: me.clone(), lease, watch_others: false };
        mapreduce_coordination::open(&self.coordination, Some(session)).await.unwrap()
    }

    /// What a command that fails says: one line.
    async fn refused(&self, command: &[&str]) -> String {
        let mut command = self.scene.command(command);
        let output: Output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output())
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        said
    }

    async fn start_refused(&self, role: &str) -> String {
        let key = self.scene.path("key");
        let (coordination, storage) = (self.coordination.as_str(), self.storage.as_str());
        let stores = ["--coordination", coordination, "--storage", storage, "--cluster-key-file"];
        self.refused(&[&[role], &stores[..], &[key.to_str().unwrap()]].concat()).await
    }
}

/// Never asked: its server refuses all callers before.
struct Nobody;

#[tonic::async_trait]
impl Workers for Nobody {
    type AttendStream = Empty<Result<MasterMessage, Status>>;

    async fn attend(
        &self,
        _: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        Err(Status::internal("it was let in"))
    }
}

/// A master of the next version, registered in a cluster that speaks TLS. Lives as long as what is answered.
async fn newer_master(place: &Place) -> (Arc<dyn Coordinator>, Member, Token) {
    let me = Incarnation::new(Role::Master, 1);
    let coordinator = place.coordinator(&me).await;
    let (cluster, store) = (ClusterId::new(1), mapreduce_storage::open(&place.storage).unwrap());
    let authority = Authority::new(&cluster).unwrap();
    let ca = authority.certificate.clone();
    let Place { coordination, storage, .. } = place;
    let stores = Stores { coordinator: &*coordinator, coordination, store: &store, storage };
    stores.begin_as(cluster.clone(), Some(ca.clone())).await.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let check = |request: Request<()>| check_version(request.metadata(), NEWER).map(|()| request);
    let server = Server::builder()
        .tls_config(mapreduce_identity::server(&authority, &cluster).unwrap())
        .unwrap()
        .layer(InterceptorLayer::new(check))
        .add_service(WorkersServer::new(Nobody));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let member = Member::of_this_process(me, Some(address.clone()), 0, 1).unwrap();
    records::register(&*coordinator, &member).await.unwrap();
    let life = Duration::from_secs(600);
    let token = Token::make(&*coordinator, cluster, vec![address], ca, Role::Worker, 1, life).await.unwrap();
    (coordinator, member, token)
}

#[tokio::test]
async fn a_master_of_another_version_is_named_by_whoever_calls_it() {
    let place = Place::new();
    let (_coordinator, master, token) = newer_master(&place).await;
    let address = master.address.unwrap();
    let versions = format!("the caller speaks wire version {WIRE_VERSION}, this master {NEWER}");
    let names_both = |said: &str| assert!(said.contains(&address) && said.contains(&versions), "{said}");

    names_both(&place.start_refused("worker").await);
    let joined = place.scene.path("joined");
    names_both(&place.refused(&["cluster", "join", &token.to_line(), joined.to_str().unwrap()]).await);
    assert!(fs::read_dir(joined).unwrap().next().is_none(), "nothing is half made");

    let urls = ClusterUrls::find(&place.coordination).await.unwrap();
    let user = Credentials::User { username: "admin".into(), password: "admin".into() };
    let refused = Client::new(urls, user).await.unwrap().login().await.unwrap_err();
    assert!(matches!(refused, ClientError::OtherVersion { .. }), "{refused}");
    names_both(&refused.to_string());
}

#[tokio::test]
async fn a_master_that_can_not_be_reached_is_named() {
    let place = Place::new();
    let me = Incarnation::new(Role::Master, 1);
    let coordinator = place.coordinator(&me).await;
    let store = mapreduce_storage::open(&place.storage).unwrap();
    let Place { coordination, storage, .. } = &place;
    let stores = Stores { coordinator: &*coordinator, coordination, store: &store, storage };
    mapreduce_identity::identify(stores).await.unwrap();
    // Nobody listens there any more.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let member = Member::of_this_process(me.clone(), Some(address.clone()), 0, 1).unwrap();
    records::register(&*coordinator, &member).await.unwrap();

    let urls = ClusterUrls::find(coordination).await.unwrap();
    let user = Credentials::User { username: "admin".into(), password: "admin".into() };
    let client = Client::new(urls, user).await.unwrap().with_connect_timeout(Duration::from_millis(1500));
    let said = client.login().await.unwrap_err().to_string();
    for part in [coordination, &address, me.as_str(), "answered within 1.5 s", "Connection refused"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }

    let key = place.scene.path("key");
    let stores = ["worker", "--coordination", coordination, "--storage", storage, "--cluster-key-file"];
    let mut worker = place.scene.command(&[&stores[..], &[key.to_str().unwrap()]].concat());
    let mut worker = worker.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(worker.stderr.take().unwrap()).lines();
    let said = tokio::task::spawn_blocking(move || log.next()).await.unwrap();
    worker.kill().unwrap();
    worker.wait().unwrap();
    let said = said.unwrap().unwrap();
    assert!(
        said.contains(&address) && said.contains("can't be reached") && said.contains("refused"),
        "{said}"
    );
}

#[tokio::test]
async fn a_cluster_that_another_version_has_made_is_not_touched() {
    let place = Place::new();
    let me = Incarnation::new(Role::Master, 1);
    let coordinator = place.coordinator(&me).await;
    let store = mapreduce_storage::open(&place.storage).unwrap();
    let Place { coordination, storage, .. } = &place;
    let stores = Stores { coordinator: &*coordinator, coordination, store: &store, storage };
    let made = mapreduce_identity::identify(stores).await.unwrap();
    let newer = String::from_utf8(made.encode()).unwrap().replacen(" v1 ", " v2 ", 1);
    let (_, version) = records::cluster(&*coordinator).await.unwrap().unwrap();
    coordinator.set("/cluster", newer.clone().into(), version).await.unwrap();

    let why = format!("record has version \"v2\", this program reads v{}", ClusterRecord::VERSION);
    let found = ClusterUrls::find(coordination).await.unwrap_err().to_string();
    for said in [place.start_refused("master").await, place.start_refused("worker").await, found] {
        assert!(said.contains("/cluster") && said.contains(coordination) && said.contains(&why), "{said}");
    }
    assert_eq!(coordinator.get("/cluster").await.unwrap().unwrap().value, newer);
}
