//! Runs simulations by hand: many seeds, one with all that happens in it, or every pair of kill points.
#![allow(clippy::print_stdout, reason = "it is a command")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mapreduce_sim::{
    kill, many,
    run::{self, Calm, Verdict},
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

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
        /// What the job's code does.
        #[arg(long, default_value = "succeeds")]
        job: Calm,
        /// Only this one: POINT:STAGE:VICTIM, or two with a comma between; prints what happens.
        #[arg(long)]
        only: Option<kill::Kills>,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .init();
    match Args::parse().what {
        What::Seed { seed } => print(&run::seed(seed, true)),
        What::Seeds { n, from } => report(many::run(n, |n| many::seeded(from + n))),
        What::KillPoints { job, only: Some(only), .. } => print(&run::calm(job, only.0, true)),
        What::KillPoints { job, pairs, only: None } => kill_points(job, pairs),
    }
}

fn print(verdict: &Verdict) -> ExitCode {
    println!("{verdict}");
    ExitCode::from(u8::from(!verdict.violations.is_empty()))
}

fn kill_points(job: Calm, pairs: bool) -> ExitCode {
    let first = many::kills(job);
    println!("{} single kills", first.len());
    report(many::run(first.len() as u64, |n| match pairs {
        false => many::killed(job, &first[n as usize]),
        true => many::killed_twice(job, &first[n as usize]),
    }))
}

fn report(summary: many::Summary) -> ExitCode {
    for failed in &summary.failed {
        println!("{failed}\n");
    }
    println!("{summary}");
    ExitCode::from(u8::from(!summary.failed.is_empty()))
}
