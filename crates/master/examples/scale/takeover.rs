//! A whole master that takes over: everything of it but gRPC and the detection of the death, which is announced. The dead
//! owner left a job of which all but one map task in a hundred is committed. Half of the workers run something of the rest
//! until the first launch is there; the others wait for work.

use std::{
    error::Error,
    fs,
    path::Path,
    pin::pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use futures::StreamExt;
use mapreduce_coordination::{
    Coordinator,
    memory::MemoryStore,
    records::{self, Member},
};
use mapreduce_core::{
    AttemptEnd, AttemptId, CodeRef, Epoch, History, HistoryEvent, Incarnation, InputDescription, JobId,
    JobPhase, JobRecord, JobSpec, Persisted, Role, Settings, Split, Stage, SystemClock, TaskId,
};
use mapreduce_master::incarnation::{Handle, Master, Means};
use mapreduce_rpc::control::{
    self, Hello, Offer, Report, Running, RunningAttempt, WorkerMessage,
    master_message::Message as FromMaster, worker_message::Message as ToMaster,
};
use mapreduce_storage::{FileRef, Marker, Store, commit, create, paths};
use tokio::sync::{mpsc::unbounded_channel, oneshot, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{cpu, heap};

const JOB: JobId = JobId(1);
const DEAD: u64 = 1;
const NEXT: u64 = 2;
/// Of each so many map tasks one is not committed.
const OPEN: u32 = 100;
/// As many as an owner writes at one time.
const EVENTS: usize = 256;

type Attempt = (TaskId, AttemptId);
type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// What a take-over took, from the announcement of the old owner's death.
pub struct Measured {
    /// Until a worker got an attempt.
    pub until_launch: Duration,
    /// The processors' time meanwhile, which others on the machine don't lengthen.
    pub cpu_until_launch: Duration,
    /// The most memory meanwhile, with that of the workers and of coordination, which are in the same process.
    pub bytes_until_launch: usize,
    /// Until the job had succeeded.
    pub until_end: Duration,
    /// The most memory until then.
    pub bytes_until_end: usize,
}

/// Takes over a job of `n_tasks` map tasks with `n_workers` workers of one slot.
pub fn run(n_workers: u32, n_tasks: u32) -> Result<Measured> {
    let directory = tempfile::tempdir()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // A thread that has ended has taken no time, as far as `cpu` knows.
    let runtime = runtime.enable_all().thread_keep_alive(Duration::from_secs(3600)).build()?;
    let measured = runtime.block_on(take_over(directory.path(), n_workers.max(2), n_tasks));
    runtime.shutdown_timeout(Duration::from_secs(10));
    measured
}

async fn take_over(directory: &Path, n_workers: u32, n_tasks: u32) -> Result<Measured> {
    let store = mapreduce_storage::open(&format!("file://{}?sync=no", directory.display()))?;
    let memory = MemoryStore::default();
    leave_markers(directory, n_workers, n_tasks)?;
    let dead = leave_job(&memory, &store, n_workers, n_tasks).await?;
    let open: Vec<_> = (0..n_tasks).filter(is_open).map(|index| first_attempt(map(index))).collect();

    let before = heap::mark();
    let me = Incarnation::new(Role::Master, NEXT);
    let coordinator = memory.open(Some(me.clone()))?;
    let clock = Arc::new(SystemClock::default());
    let lease = Duration::from_secs(2);
    let (store_of_master, coordinator_of_master) = (store.clone(), coordinator.clone());
    let means = Means { me, coordinator: coordinator_of_master, store: store_of_master, clock, lease };
    let master = Master::new(means);
    let handle = master.handle();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move { master.serve(pin!(async { drop(stopped.await) })).await });

    let launched = Launched::default();
    for n in 0..n_workers {
        // Every second one runs something.
        let runs = (n % 2 == 0).then(|| open.get(n as usize / 2).copied()).flatten();
        let worker = Worker { name: worker(n), store: store.clone(), runs, launched: launched.clone() };
        register(&memory, &worker.name, 1).await?;
        let streams = worker.attend(&handle).await?;
        tokio::spawn(streams);
    }
    let (began, cpu) = (Instant::now(), cpu::of_process()?);
    memory.end_session(&dead);
    let mut told = launched.told.subscribe();
    told.wait_for(|launched| *launched).await?;
    let cpu_until_launch = cpu::of_process()?.saturating_sub(cpu);
    let bytes_until_launch = heap::most_since(before);
    let phase = end_of(coordinator.as_ref()).await?;
    let until_end = began.elapsed();
    let bytes_until_end = heap::most_since(before);
    drop(stop);
    serving.await?;
    let first = launched.first.get().ok_or("no attempt was launched")?;
    match phase {
        JobPhase::Succeeded => {}
        other => return Err(format!("the job should have succeeded: {other:?}").into()),
    }
    let until_launch = *first - began;
    Ok(Measured { until_launch, cpu_until_launch, bytes_until_launch, until_end, bytes_until_end })
}

async fn end_of(coordinator: &dyn Coordinator) -> Result<JobPhase> {
    let mut changes = coordinator.watch("/jobs");
    loop {
        changes.borrow_and_update();
        match records::job(coordinator, JOB).await? {
            Some((record, _)) if record.phase.is_terminal() => return Ok(record.phase),
            _ => changes.changed().await?,
        }
    }
}

// ---- what the dead owner left

fn map(index: u32) -> TaskId {
    TaskId { stage: Stage::Map, index }
}

fn first_attempt(task: TaskId) -> Attempt {
    (task, AttemptId { epoch: Epoch(1), number: 1 })
}

fn is_open(index: &u32) -> bool {
    index.is_multiple_of(OPEN)
}

fn worker(n: u32) -> Incarnation {
    // Spread over all ids, as real ones are.
    Incarnation::new(Role::Worker, (u64::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16)
}

async fn register(memory: &MemoryStore, name: &Incarnation, n_slots: u32) -> Result {
    let member = Member::of_this_process(name.clone(), None, n_slots, 0)?;
    Ok(records::register(memory.open(Some(name.clone()))?.as_ref(), &member).await?)
}

/// Straight to the disk, which is faster than the store.
fn leave_markers(directory: &Path, n_workers: u32, n_tasks: u32) -> Result {
    fs::create_dir_all(directory.join(paths::markers_dir(JOB, Stage::Map).as_ref()))?;
    for index in (0..n_tasks).filter(|index| !is_open(index)) {
        let (task, attempt) = first_attempt(map(index));
        let marker = marker(task, attempt, worker(index % n_workers));
        fs::write(directory.join(paths::marker(JOB, task).as_ref()), marker.encode())?;
    }
    Ok(())
}

/// Answers the owner, which is still alive as far as coordination knows.
async fn leave_job(memory: &MemoryStore, store: &Store, n_workers: u32, n_tasks: u32) -> Result<Incarnation> {
    let dead = Incarnation::new(Role::Master, DEAD);
    register(memory, &dead, 0).await?;
    let spec = spec(n_tasks);
    create(store, &paths::spec(JOB), &spec).await?;
    for history in history(&dead, n_workers, n_tasks) {
        create(store, &paths::history(JOB, history.epoch, history.sequence), &history).await?;
    }
    let record = JobRecord {
        job: JOB,
        user: spec.user,
        owner: Some(dead.clone()),
        epoch: Epoch(1),
        phase: JobPhase::Map,
        cancel: false,
        requested_n_workers: None,
        submitted_at_ms: 0,
    };
    records::create_job(memory.open(None)?.as_ref(), &record).await?;
    Ok(dead)
}

fn spec(n_tasks: u32) -> JobSpec {
    let split = |n| Split {
        object: "input/0.0".to_owned(),
        offset: n * 1000,
        length: 1000,
        records: 10,
        first_record: n * 10,
    };
    JobSpec {
        job: JOB,
        user: "admin".to_owned(),
        code: CodeRef::Python { digest: "ab12".to_owned() },
        inputs: vec![InputDescription::Uploaded { splits: (0..u64::from(n_tasks)).map(split).collect() }],
        side_inputs: Default::default(),
        contents: Default::default(),
        output: None,
        settings: Settings::default(),
        submitted_at_ms: 0,
    }
}

fn marker(task: TaskId, attempt: AttemptId, worker: Incarnation) -> Marker {
    let path = format!("attempts/{task}.{attempt}");
    Marker {
        task,
        attempt,
        worker,
        files: vec![FileRef { path, length: 1000, crc32c: 0x1234_5678, content: None }],
        input_manifest: None,
        records_in: 10,
        records_out: 10,
        counters: Default::default(),
        started_at_ms: 1_700_000_000_000,
        ended_at_ms: 1_700_000_000_000,
    }
}

/// Every task's launch, and the end of those that are committed.
fn history(owner: &Incarnation, n_workers: u32, n_tasks: u32) -> Vec<History> {
    let at_ms = 1_700_000_000_000;
    let mut events = vec![HistoryEvent::Owned { owner: owner.clone(), read: None, at_ms }];
    for index in 0..n_tasks {
        let (task, attempt) = first_attempt(map(index));
        let worker = worker(index % n_workers);
        events.push(HistoryEvent::Launched { task, attempt, worker, at_ms });
        if !is_open(&index) {
            events.push(HistoryEvent::Ended { task, attempt, end: AttemptEnd::Committed, at_ms });
        }
    }
    let objects = events.chunks(EVENTS).zip(0..);
    objects.map(|(events, sequence)| History { epoch: Epoch(1), sequence, events: events.to_vec() }).collect()
}

// ---- workers

/// When the first attempt was launched.
#[derive(Clone)]
struct Launched {
    first: Arc<OnceLock<Instant>>,
    told: watch::Sender<bool>,
}

impl Default for Launched {
    fn default() -> Self {
        Launched { first: Arc::default(), told: watch::Sender::new(false) }
    }
}

struct Worker {
    name: Incarnation,
    store: Store,
    /// An attempt of the dead owner's.
    runs: Option<Attempt>,
    launched: Launched,
}

impl Worker {
    /// Opens the stream to the master; what is answered goes on until the master ends it.
    async fn attend(mut self, handle: &Handle) -> Result<impl Future<Output = ()> + Send + 'static> {
        let (sender, said) = unbounded_channel();
        let say = move |message| {
            let _ = sender.send(Ok(WorkerMessage { message: Some(message) })); // the master may have ended
        };
        say(ToMaster::Hello(Hello { worker: self.name.to_string(), n_slots: 1 }));
        let mut heard = handle.attend(UnboundedReceiverStream::new(said)).await?;
        let mut told = self.launched.told.subscribe();
        Ok(async move {
            loop {
                tokio::select! {
                    Some(Ok(message)) = heard.next() => match message.message {
                        Some(FromMaster::Query(query)) => {
                            let attempts = self.runs.iter().map(|(task, attempt)| RunningAttempt {
                                task: task.to_string(),
                                attempt: attempt.to_string(),
                            });
                            let attempts = attempts.collect();
                            say(ToMaster::Running(Running { job: query.job, epoch: query.epoch, attempts }));
                        }
                        Some(FromMaster::Work(_)) if self.runs.is_none() => say(offer()),
                        Some(FromMaster::Assign(assign)) => {
                            self.launched.first.get_or_init(Instant::now);
                            self.launched.told.send_replace(true);
                            if let (Ok(task), Ok(attempt)) = (assign.task.parse(), assign.attempt.parse()) {
                                say(self.commit((task, attempt)).await);
                            }
                            say(offer());
                        }
                        _ => {}
                    },
                    // What ran before ends when the take-over has been seen.
                    true = async { told.wait_for(|launched| *launched).await.is_ok() }, if self.runs.is_some() => {
                        if let Some(attempt) = self.runs.take() {
                            say(self.commit(attempt).await);
                        }
                        say(offer());
                    }
                    else => return,
                }
            }
        })
    }

    async fn commit(&self, (task, attempt): Attempt) -> ToMaster {
        let committed = commit(&self.store, JOB, &marker(task, attempt, self.name.clone())).await;
        let outcome = match committed {
            Ok(mapreduce_storage::Commit::Won) => control::Outcome::Committed,
            Ok(mapreduce_storage::Commit::Lost(_)) => control::Outcome::Superseded,
            // What can't be committed never ends, and so the job does not.
            Err(_) => control::Outcome::Stopped,
        };
        ToMaster::Report(Report {
            job: JOB.to_string(),
            task: task.to_string(),
            attempt: attempt.to_string(),
            outcome: outcome.into(),
            failure: Vec::new(),
        })
    }
}

fn offer() -> ToMaster {
    ToMaster::Offer(Offer { slot: 0, ahead: false })
}
