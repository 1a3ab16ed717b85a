//! One run of a simulation, from its seed to its verdict.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use mapreduce_core::{JobId, Settings};
use tokio::{
    runtime::Builder,
    sync::mpsc::unbounded_channel,
    task::{JoinSet, LocalSet},
    time::{sleep, timeout},
};

use crate::{
    cluster::{master_host, worker_host},
    executor::spawn_all,
    fault::{Fault, FaultPlan},
    job::{self, SimJob, Size},
    laws, nemesis, oracle,
    process::Process,
    user_code::Behaviour,
    world::World,
};

/// How long a job may take when nothing goes wrong any more, in simulated time. The longest pauses are 15 s.
const PATIENCE: Duration = Duration::from_secs(600);

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Everything that must not be.
    pub violations: Vec<String>,
    /// The calls to coordination, storage and network: of each whether it was an executor's.
    pub points: Vec<bool>,
    /// A hash of all that happened, and how much that was.
    pub trace: (u64, u64),
    /// All that happened, if it was asked for.
    pub lines: Vec<String>,
    /// How the jobs ended.
    pub phases: Vec<&'static str>,
    /// Attempts that began.
    pub n_attempts: usize,
    /// How long it took, in simulated milliseconds.
    pub took_ms: u64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        for violation in &self.violations {
            writeln!(f, "violation: {violation}")?;
        }
        let (phases, n) = (self.phases.join(", "), self.trace.1);
        write!(
            f,
            "{phases} after {} ms; {} calls, {n} events, {} attempts",
            self.took_ms,
            self.points.len(),
            self.n_attempts
        )
    }
}

/// A world drawn from a seed: one to three masters, one to four workers, one or two jobs, and a nemesis.
pub fn seed(seed: u64, lines: bool) -> Verdict {
    within(async {
        let world = World::new(seed, false, FaultPlan::default(), lines);
        let jobs: Vec<_> = job::all().into_iter().take(1 + world.draw(2) as usize).collect();
        let jobs: Vec<_> = jobs.into_iter().map(|id| SimJob::draw(&world, id)).collect();
        let (n_masters, n_workers) = (1 + world.draw(3), 1 + world.draw(4));
        let slots: Vec<_> = (0..n_workers).map(|_| 1 + world.draw(2) as u32).collect();
        let mut tasks = clients(&world, &jobs);
        let rage = tokio::spawn(nemesis::rage(world.clone()));
        if world.draw(12) == 0 {
            let (world, pause, job) = (world.clone(), world.draw_ms(1, 3000), jobs[0].spec.job);
            tasks.spawn(async move {
                sleep(pause).await;
                job::cancel(&world, job).await;
            });
        }
        live(&world, n_masters, &slots, &jobs, async {
            let _ = rage.await; // a nemesis that panicked has ended, too
        })
        .await;
        verdict(&world, &jobs)
    })
}

/// A kind of calm world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Calm {
    /// User code does what it should.
    Succeeds,
    /// It raises at every call: the job uses up a budget, and must not use more.
    Fails,
    /// There are one master and one worker: nobody else makes good what they miss.
    Alone,
}

/// A small calm world: 2 masters and 2 workers, or one of each, 4 map and 2 reduce tasks, and these faults.
pub fn calm(kind: Calm, faults: Vec<Fault>, lines: bool) -> Verdict {
    within(async {
        let world = World::new(1, true, FaultPlan::new(faults), lines);
        let size = Size { n_splits: 4, n_partitions: 2 };
        // Executors are killed: that counts, and must not end a job that could succeed.
        let (max_attempts, raises) = match kind {
            Calm::Succeeds | Calm::Alone => (8, 0),
            Calm::Fails => (3, 1000),
        };
        let settings = Settings { max_attempts, retry_exceptions: true, ..Settings::default() };
        let behaviour = Behaviour { slow_ms: 1, padding: 6000, raises, ..Behaviour::default() };
        let jobs = [SimJob::new(&world, JobId(1), size, behaviour, settings)];
        let _clients = clients(&world, &jobs);
        let n = if kind == Calm::Alone { 1 } else { 2 };
        live(&world, n as u64, &vec![1; n], &jobs, async {}).await;
        verdict(&world, &jobs)
    })
}

/// Runs in a world of its own, on one thread, with simulated time.
fn within(run: impl Future<Output = Verdict>) -> Verdict {
    let built = Builder::new_current_thread().enable_time().start_paused(true).build();
    match built {
        Ok(runtime) => LocalSet::new().block_on(&runtime, run),
        Err(e) => Verdict {
            violations: vec![format!("no event loop: {e}")],
            points: Vec::new(),
            trace: (0, 0),
            lines: Vec::new(),
            phases: Vec::new(),
            n_attempts: 0,
            took_ms: 0,
        },
    }
}

fn clients(world: &World, jobs: &[SimJob]) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for job in jobs {
        let (world, spec) = (world.clone(), job.spec.clone());
        let n_times = if world.is_calm() { 1 } else { 1 + world.draw(2) };
        tasks.spawn(async move {
            // A client that dies before it has heard of its job is run again.
            for n in 1.. {
                let name = format!("client {n} of {}", spec.job);
                let client = Process::start(&world, "client", name, (None, None));
                tokio::select! {
                    biased;
                    () = client.death() => {}
                    () = job::submit(&world, &client, &spec, n_times) => return client.kill(),
                }
            }
        });
    }
    tasks
}

/// Runs the cluster until `faults` are over and every job has ended.
async fn live(
    world: &World,
    n_masters: u64,
    slots: &[u32],
    jobs: &[SimJob],
    faults: impl Future<Output = ()>,
) {
    let (spawner, starts) = unbounded_channel();
    let executors = tokio::task::spawn_local(spawn_all(starts));
    let mut hosts = JoinSet::new();
    for n in 0..n_masters {
        hosts.spawn_local(master_host(world.clone(), format!("m{n}")));
    }
    for (n, n_slots) in slots.iter().enumerate() {
        hosts.spawn_local(worker_host(world.clone(), format!("w{n}"), *n_slots, spawner.clone()));
    }
    faults.await;
    let ended = timeout(PATIENCE, async {
        while !jobs.iter().all(|job| has_ended(world, job)) {
            sleep(Duration::from_millis(20)).await;
        }
    });
    if ended.await.is_err() {
        world.violate("no progress: nothing goes wrong any more, and a job does not end");
    }
    // What zombies do now must do no harm.
    sleep(if world.is_calm() { Duration::from_millis(50) } else { Duration::from_secs(8) }).await;
    hosts.shutdown().await;
    executors.abort();
}

fn has_ended(world: &World, job: &SimJob) -> bool {
    laws::record(world, job.spec.job).is_some_and(|record| record.phase.is_terminal())
}

fn verdict(world: &World, jobs: &[SimJob]) -> Verdict {
    let (ended, open): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| has_ended(world, job));
    ended.iter().for_each(|job| oracle::judge(world, job));
    let phase =
        |job: &&SimJob| laws::record(world, job.spec.job).map_or("never submitted", |r| r.phase.name());
    let phases = ended.iter().chain(&open).copied().map(|job| phase(&job)).collect();
    let took_ms = world.now_ms();
    let (hash, n, lines) = world.trace();
    let mut state = world.state();
    // Processes know their world; else it would never end.
    state.living.clear();
    state.masters.clear();
    Verdict {
        violations: state.violations.clone(),
        points: state.faults.points.clone(),
        trace: (hash, n),
        lines,
        phases,
        n_attempts: state.begun.len(),
        took_ms,
    }
}
