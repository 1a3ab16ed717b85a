//! Runs simulations by hand: many seeds, one with all that happens in it, or every pair of kill points.
#![allow(clippy::print_stdout, reason = "it is a command")]

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread::available_parallelism,
    time::Instant,
};

use clap::{Parser, Subcommand};
use mapreduce_sim::{
    kill,
    run::{self, Verdict},
};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(about = "The real masters, workers and commits in simulated worlds")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run this many worlds, beginning with a seed.
    Seeds {
        /// How many.
        n: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
    },
    /// Run one world and print what happens; RUST_LOG=trace prints what masters and workers think, too.
    Seed {
        /// Which.
        seed: u64,
    },
    /// Kill a process at every call, or at every pair of calls.
    KillPoints {
        /// Every pair.
        #[arg(long)]
        pairs: bool,
        /// Only this one: POINT:STAGE:VICTIM, or two with a comma between; prints what happens.
        #[arg(long)]
        only: Option<kill::Kills>,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .init();
    match Args::parse().what {
        What::Seed { seed } => print(&run::seed(seed, true)),
        What::Seeds { n, from } => {
            let world = |n: u64| (format!("mapreduce-sim seed {}", from + n), run::seed(from + n, false));
            all(n, world)
        }
        What::KillPoints { only: Some(only), .. } => print(&run::calm(only.0, true)),
        What::KillPoints { pairs, only: None } => kill_points(pairs),
    }
}

fn print(verdict: &Verdict) -> ExitCode {
    println!("{verdict}");
    ExitCode::from(u8::from(!verdict.violations.is_empty()))
}

fn kill_points(pairs: bool) -> ExitCode {
    let singles = kill::after(&[], &run::calm(Vec::new(), false).points);
    println!("{} single kills", singles.len());
    let replay =
        |kills: &[kill::Kill]| format!("mapreduce-sim kill-points --only {}", kill::Kills(kills.to_vec()));
    all(singles.len() as u64, |n| {
        let first = singles[n as usize].clone();
        let verdict = run::calm(first.clone(), false);
        if !pairs || !verdict.violations.is_empty() {
            return (replay(&first), verdict);
        }
        let seconds = kill::after(&first, &verdict.points);
        let mut n_pairs = 0;
        for both in seconds {
            n_pairs += 1;
            let verdict = run::calm(both.clone(), false);
            if !verdict.violations.is_empty() {
                return (replay(&both), verdict);
            }
        }
        (replay(&first), Verdict { n_worlds: 1 + n_pairs, ..verdict })
    })
}

/// Runs worlds on every processor, and prints how to replay those that went wrong.
fn all(n: u64, world: impl Fn(u64) -> (String, Verdict) + Sync) -> ExitCode {
    let (began, next, n_failed, n_worlds) =
        (Instant::now(), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= n {
                        return;
                    }
                    let (replay, verdict) = world(at);
                    n_worlds.fetch_add(verdict.n_worlds, Ordering::Relaxed);
                    if !verdict.violations.is_empty() {
                        n_failed.fetch_add(1, Ordering::Relaxed);
                        println!("{verdict}\nreplay it: {replay}\n");
                    }
                }
            });
        }
    });
    let (n_worlds, n_failed) = (n_worlds.into_inner(), n_failed.into_inner());
    println!("{n_worlds} worlds, {n_failed} failed, {:.0} s", began.elapsed().as_secs_f64());
    ExitCode::from(u8::from(n_failed > 0))
}
