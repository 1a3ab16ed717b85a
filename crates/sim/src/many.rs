//! Many worlds, on every processor. What goes wrong in one is told with the command that replays it.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{available_parallelism, scope},
    time::{Duration, Instant},
};

use crate::{
    fault::{self, Fault, Faults},
    run::{self, Calm, Verdict},
};

/// As many worlds may fail before no more are run.
const FAILED_MAX: usize = 4;

/// What became of many worlds.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many there were.
    pub n_worlds: u64,
    /// Attempts that began in them.
    pub n_attempts: u64,
    /// Those in which something was that must not be, with the commands that replay them.
    pub failed: Vec<String>,
    /// How long they took, in real time.
    pub took: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { n_worlds, n_attempts, failed, took } = self;
        write!(
            f,
            "{n_worlds} worlds, {n_attempts} attempts, {} failed, {:.0} s",
            failed.len(),
            took.as_secs_f64()
        )
    }
}

/// One world of a seed, or several that belong together.
#[derive(Debug, Default)]
pub struct Outcome {
    n_worlds: u64,
    n_attempts: u64,
    failed: Option<String>,
}

impl Outcome {
    fn add(&mut self, verdict: &Verdict, replay: impl FnOnce() -> String) {
        self.n_worlds += 1;
        self.n_attempts += verdict.n_attempts as u64;
        if !verdict.violations.is_empty() {
            self.failed = Some(format!("{verdict}\nreplay: cargo run -p mapreduce-sim -- {}", replay()));
        }
    }
}

/// The world of one seed.
pub fn seeded(seed: u64) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.add(&run::seed(seed, false), || format!("seed {seed}"));
    outcome
}

/// Every single death in a calm world.
pub fn deaths(kind: Calm) -> Vec<Vec<Fault>> {
    fault::deaths(&[], &run::calm(kind, Vec::new(), false).points)
}

/// Every single fault in it: deaths, calls that fail, and calls whose callers are cut off meanwhile.
pub fn single_faults(kind: Calm) -> Vec<Vec<Fault>> {
    let points = run::calm(kind, Vec::new(), false).points;
    [fault::deaths(&[], &points), fault::failures(points.len() as u64), fault::cut_offs(&points)].concat()
}

/// The calm world with these faults.
pub fn with(kind: Calm, faults: &[Fault]) -> Outcome {
    let mut outcome = Outcome::default();
    add(&mut outcome, kind, faults);
    outcome
}

/// The calm world with this death, and then with each that can come after it, until something is wrong.
pub fn killed_twice(kind: Calm, first: &[Fault]) -> Outcome {
    let mut outcome = Outcome::default();
    let points = add(&mut outcome, kind, first);
    for both in fault::deaths(first, &points) {
        if outcome.failed.is_some() {
            break;
        }
        add(&mut outcome, kind, &both);
    }
    outcome
}

fn add(outcome: &mut Outcome, kind: Calm, faults: &[Fault]) -> Vec<bool> {
    let verdict = run::calm(kind, faults.to_vec(), false);
    let world = format!("{kind:?}").to_lowercase();
    outcome.add(&verdict, || format!("kill-points --world {world} --only {}", Faults(faults.to_vec())));
    verdict.points
}

/// Runs the worlds 0 to `n`, or until so many have failed that the next ones tell nothing new.
pub fn run(n: u64, world: impl Fn(u64) -> Outcome + Sync) -> Summary {
    let (began, next, summary) = (Instant::now(), AtomicU64::new(0), Mutex::new(Summary::default()));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= n {
                return;
            }
            let outcome = world(at);
            let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
            summary.n_worlds += outcome.n_worlds;
            summary.n_attempts += outcome.n_attempts;
            summary.failed.extend(outcome.failed);
            if summary.failed.len() >= FAILED_MAX {
                return next.store(n, Ordering::Relaxed);
            }
        }
    };
    scope(|scope| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    Summary { took: began.elapsed(), ..summary }
}
