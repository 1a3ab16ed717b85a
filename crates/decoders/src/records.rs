//! Entries of coordination: job records, members, the counter of job ids, users, the cluster's own, tokens; and the line that
//! a token is to people.

use std::sync::{Arc, OnceLock};

use mapreduce_coordination::{
    Coordinator, Lifetime,
    memory::MemoryStore,
    records::{
        ClusterRecord, Member, RecordError, TokenRecord, cluster, job, job_ids, jobs, members, next_job_id,
        update_job,
    },
    users::{UserError, UserRegistry},
};
use mapreduce_core::{ClusterId, Epoch, Incarnation, JobId, JobPhase, JobRecord, Persisted, Role};
use mapreduce_identity::{Token, redeem};
use tokio::runtime::Runtime;

use crate::{
    check_error,
    checksums::{body, framed, named_frame},
    seed,
};

/// The entry is taken as it is, header and all.
const WHOLE: u8 = 0x80;

/// Puts the bytes where a record belongs, and asks for it.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let entry = |framed: Vec<u8>| if choice & WHOLE == 0 { framed } else { bytes.to_vec() };
    runtime().block_on(async {
        match choice & !WHOLE {
            0 => read_job(entry(framed::<JobRecord>(bytes))).await,
            1 => read_member(entry(framed::<Member>(bytes))).await,
            2 => drop(
                next_job_id(&*store("/counters/job", entry(named_frame("counter", 1, bytes))).await).await,
            ),
            3 => read_user(entry(named_frame("user", 1, bytes))).await,
            5 => read_cluster(entry(framed::<ClusterRecord>(bytes))).await,
            6 => drop(
                redeem(&*store("/tokens/ab12", entry(framed::<TokenRecord>(bytes))).await, "ab12", "", 1)
                    .await,
            ),
            7 => read_line(&String::from_utf8_lossy(bytes)),
            _ => {
                let name = String::from_utf8_lossy(bytes);
                let _ = job_ids(&*store(&format!("/jobs/{name}"), Vec::new()).await).await.map_err(shown);
            }
        }
    });
}

/// Users' passwords are checked on threads of their own.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap())
}

/// A store that holds one entry.
async fn store(path: &str, value: Vec<u8>) -> Arc<dyn Coordinator> {
    let store = MemoryStore::default().open(None).unwrap();
    store.create(path, value.into(), Lifetime::Durable).await.unwrap();
    store
}

fn shown(error: RecordError) {
    check_error(&error);
}

async fn read_job(entry: Vec<u8>) {
    let store = store("/jobs/job_7", entry).await;
    let _ = jobs(&*store).await.map_err(shown);
    let Ok(Some((record, version))) = job(&*store, JobId(7)).await else { return };
    assert_eq!(JobRecord::decode(&record.encode()).as_ref(), Ok(&record));
    // What a master does that finds a job whose owner is dead.
    let owner = Some(Incarnation::new(Role::Master, 1));
    let taken = JobRecord { owner, epoch: record.epoch.next(), ..record.clone() };
    let _ = update_job(&*store, &(record, version), &taken).await.map_err(shown);
}

async fn read_member(entry: Vec<u8>) {
    let store = store("/workers/worker-000000000001", entry).await;
    let Ok(found) = members(&*store, Role::Worker).await.map_err(shown) else { return };
    for member in found {
        assert_eq!(Member::decode(&member.encode()), Ok(member));
    }
}

/// The default admin's entry: whoever logs in makes the store read it.
async fn read_user(entry: Vec<u8>) {
    let store = store("/users/admin", entry).await;
    let shown = |error: UserError| check_error(&error);
    let Ok(registry) = UserRegistry::open(store).await.map_err(shown) else { return };
    let _ = registry.authenticate("admin", "admin").await.map_err(shown);
}

async fn read_cluster(entry: Vec<u8>) {
    let store = store("/cluster", entry).await;
    let Ok(Some((record, _))) = cluster(&*store).await.map_err(shown) else { return };
    assert_eq!(ClusterRecord::decode(&record.encode()), Ok(record));
}

fn read_line(line: &str) {
    if let Ok(token) = Token::from_line(line).map_err(|error| check_error(&error)) {
        assert_eq!(Token::from_line(&token.to_line()).unwrap(), token);
    }
}

/// One of each, and one hash of a password that is quickly checked.
pub fn seeds() -> Vec<Vec<u8>> {
    let master = Incarnation::new(Role::Master, 0xabc);
    let job = JobRecord {
        job: JobId(7),
        user: "ada".to_owned(),
        owner: Some(master.clone()),
        epoch: Epoch(3),
        phase: JobPhase::Reduce,
        cancel: false,
        requested_n_workers: Some(4),
        submitted_at_ms: 1_700_000_000_000,
    };
    let member = Member {
        incarnation: master,
        address: Some("127.0.0.1:4000".to_owned()),
        pid: 17,
        pid_started: 18,
        host: "here".to_owned(),
        n_slots: 2,
        started_at_ms: 19,
    };
    let cluster = ClusterRecord {
        id: ClusterId::new(1),
        storage: "hdfs://namenode:8020/here".to_owned(),
        ca: Some("a certificate".to_owned()),
    };
    let token = Token {
        cluster: cluster.id.clone(),
        masters: vec!["host:7070".to_owned()],
        ca: "a certificate".to_owned(),
        id: "ab12".to_owned(),
        secret: "cd34".to_owned(),
    };
    let token_record = TokenRecord { hash: "0".repeat(64), role: Role::Worker, expires_at_ms: 2 };
    let user =
        br#"{"role":"admin","password_hash":"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo"}"#;
    vec![
        seed(0, body(&job.encode())),
        seed(WHOLE, job.encode()),
        seed(1, body(&member.encode())),
        seed(WHOLE | 1, member.encode()),
        seed(2, br#"{"last":41}"#),
        seed(3, user),
        seed(4, b"job_12"),
        seed(5, body(&cluster.encode())),
        seed(6, body(&token_record.encode())),
        seed(7, token.to_line().as_bytes()),
    ]
}
