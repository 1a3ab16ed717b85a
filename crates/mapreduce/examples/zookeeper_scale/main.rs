//! `make scale-zookeeper`: one job of many small tasks on masters and workers that are real processes with real connections
//! and meet in a real ZooKeeper, all on this machine. When half of the map tasks are committed, the job's owner is killed.
//!
//! It prints how long that takes, what masters and workers take, and how many transactions it costs ZooKeeper. Arguments:
//! the numbers of map tasks, workers and masters. Storage is a directory below `TMPDIR`, which is not synced. The program is
//! its own master, worker and executor.

#![expect(clippy::print_stdout, reason = "it is a command")]

mod cluster;
mod usage;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cluster::{Cluster, wait_until};
use mapreduce::native::{Emit, Input, Job, Mapper, NoCombiner, Record, Session, Sum, UserError};
use mapreduce_core::{JobId, Settings};
use mapreduce_servers::zookeeper::Servers;
use mapreduce_storage::view::{AttemptView, Outcome};
use usage::Usage;

const N_TASKS: usize = 100_000;
const N_WORKERS: usize = 200;
const N_MASTERS: usize = 2;
const N_KEYS: u64 = 10;
const JOB: JobId = JobId(1);

/// Of a line, which is a number, its last digit.
#[derive(Clone)]
struct LastDigits;

impl Mapper for LastDigits {
    type Key = u64;
    type Value = u64;

    fn map(&mut self, line: Record<'_>, emit: &mut Emit<'_, u64, u64>) -> Result<(), UserError> {
        let number: u64 = line.text()?.parse()?;
        emit.emit(&(number % N_KEYS), 1);
        Ok(())
    }
}

type CountDigits = Job<LastDigits, NoCombiner, Sum<u64>>;

fn main() -> Result<(), UserError> {
    let job = Job::new(LastDigits, Sum::new()).serve_if_asked();
    let [n_tasks, n_workers, n_masters] = arguments([N_TASKS, N_WORKERS, N_MASTERS])?;
    let directory = tempfile::tempdir()?;
    let input = directory.path().join("numbers");
    fs::write(&input, (0..n_tasks).map(|n| format!("{n:07}\n")).collect::<String>())?;
    let servers = Servers::start(1);
    println!("load before: {}", usage::load()?);

    let before = servers.transactions(0);
    let began = Instant::now();
    let mut cluster = Cluster::start(directory.path(), &servers.url("/scale"), n_masters, n_workers)?;
    let n_started = servers.transactions(0) - before;
    println!("{n_masters} masters, {n_workers} workers: ready in {:.1} s", began.elapsed().as_secs_f64());
    println!("    transactions of ZooKeeper  {n_started}");
    println!("    a worker at rest           {}", Usage::mean(&cluster.workers()?));

    let session = Session::connect(cluster.urls().clone(), "admin", "admin")?;
    run(&job, &session, &input, n_tasks, (&mut cluster, &servers))?;
    println!("load after: {}", usage::load()?);
    Ok(())
}

fn arguments<const N: usize>(defaults: [usize; N]) -> Result<[usize; N], UserError> {
    let mut numbers = defaults;
    for (number, argument) in numbers.iter_mut().zip(std::env::args().skip(1)) {
        *number = argument.parse()?;
    }
    Ok(numbers)
}

/// Runs the job, kills its owner in the middle, and checks that nothing was lost, doubled or done twice.
fn run(
    job: &CountDigits,
    session: &Session,
    input: &Path,
    n_tasks: usize,
    (cluster, servers): (&mut Cluster, &Servers),
) -> Result<(), UserError> {
    let before = servers.transactions(0);
    let settings = Settings { n_partitions: Some(1), ..Settings::default() };
    let job = job.clone().settings(settings);
    let text = Input::text([input.display().to_string()]).split_bytes(8);
    let began = Instant::now();
    let (half, killed_at_ms, first, done) = thread::scope(|scope| {
        let running = scope.spawn(|| counted(&job, session, text));
        wait_until(|| Ok(running.is_finished() || cluster.n_committed(JOB)? >= n_tasks / 2))?;
        let (half, n_half) = (began.elapsed(), cluster.n_committed(JOB)?);
        println!("{n_half} of {n_tasks} map tasks: {:.1} s, {}", half.as_secs_f64(), rate(n_half, half));
        println!("    a worker, its executor     {}", Usage::mean(&cluster.workers()?));
        let (first, killed_at_ms) = cluster.kill_owner(JOB)?;
        let done = running.join().map_err(|_| "the job's thread panicked")??;
        Ok::<_, UserError>((half, killed_at_ms, first, done))
    })?;
    let (whole, n_transactions) = (began.elapsed(), servers.transactions(0) - before);
    assert_eq!(done, (0..N_KEYS).map(|digit| (digit, n_with(digit, n_tasks))).collect::<Vec<_>>());
    let attempts = cluster.attempts(JOB)?;

    let rest = whole - half;
    println!("the rest and the reduce task: {:.1} s", rest.as_secs_f64());
    println!("the whole job: {:.1} s, {}", whole.as_secs_f64(), rate(n_tasks, whole));
    println!("    transactions of ZooKeeper  {n_transactions}");
    check(&attempts, n_tasks)?;
    let next =
        attempts.iter().filter(|attempt| attempt.attempt.epoch.0 > 1).map(|attempt| attempt.launched_at_ms);
    let until_launch_ms = next.min().ok_or("the next owner launched nothing")?.saturating_sub(killed_at_ms);
    println!("    owner killed → next launch {:.2} s", Duration::from_millis(until_launch_ms).as_secs_f64());
    println!("    the first owner            {first}");
    for master in cluster.masters()? {
        println!("    another master             {master}");
    }
    Ok(())
}

fn counted(job: &CountDigits, session: &Session, input: Input) -> Result<Vec<(u64, u64)>, UserError> {
    let done = job.run(session, input, None)?;
    if done.job() != JOB {
        return Err(format!("{} is not the first job", done.job()).into());
    }
    Ok(done.results()?.collect::<Result<_, _>>()?)
}

/// How many numbers below `n` end with this digit.
fn n_with(digit: u64, n: usize) -> u64 {
    (0..n as u64).filter(|number| number % N_KEYS == digit).count() as u64
}

/// Every task was committed once, and what else was launched was lost with a worker or with the owner.
fn check(attempts: &[AttemptView], n_tasks: usize) -> Result<(), UserError> {
    let with = |outcome| attempts.iter().filter(move |attempt| attempt.outcome == outcome);
    let committed: BTreeSet<_> = with(Outcome::Committed).map(|attempt| attempt.task).collect();
    let n_lost = with(Outcome::Lost).count();
    println!("    attempts                   {}, {n_lost} of them lost", attempts.len());
    match committed.len() == n_tasks + 1 && attempts.len() == committed.len() + n_lost {
        true => Ok(()),
        false => Err(format!("{} tasks are committed", committed.len()).into()),
    }
}

fn rate(n_tasks: usize, time: Duration) -> String {
    format!("{:.0} tasks a second", n_tasks as f64 / time.as_secs_f64())
}
