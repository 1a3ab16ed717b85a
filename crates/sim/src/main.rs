//! Runs simulations by hand: many seeds, one with all that happens in it, or every pair of kill points.
#![allow(clippy::print_stdout, reason = "it is a command")]

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use mapreduce_sim::{
    fault, many,
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
    /// Kill a process at every call, let every call fail, and cut off every caller; or kill at every pair of calls.
    KillPoints {
        /// Every pair.
        #[arg(long)]
        pairs: bool,
        /// In which kind of world; in each, if none is named.
        #[arg(long)]
        world: Option<Calm>,
        /// Only this one: POINT:STAGE:VICTIM, or two with a comma between; prints what happens.
        #[arg(long)]
        only: Option<fault::Faults>,
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
        What::KillPoints { world, only: Some(only), .. } => {
            print(&run::calm(world.unwrap_or(Calm::Succeeds), only.0, true))
        }
        What::KillPoints { world, pairs, only: None } => {
            let kinds = world.map_or(Calm::value_variants().to_vec(), |kind| vec![kind]);
            let failed = kinds
                .into_iter()
                .map(|kind| kill_points(kind, pairs))
                .find(|code| *code != ExitCode::SUCCESS);
            failed.unwrap_or(ExitCode::SUCCESS)
        }
    }
}

fn print(verdict: &Verdict) -> ExitCode {
    println!("{verdict}");
    ExitCode::from(u8::from(!verdict.violations.is_empty()))
}

fn kill_points(kind: Calm, pairs: bool) -> ExitCode {
    let faults = if pairs { many::deaths(kind) } else { many::single_faults(kind) };
    println!("{kind:?}: {} single faults", faults.len());
    report(many::run(faults.len() as u64, |n| match pairs {
        false => many::with(kind, &faults[n as usize]),
        true => many::killed_twice(kind, &faults[n as usize]),
    }))
}

fn report(summary: many::Summary) -> ExitCode {
    for failed in &summary.failed {
        println!("{failed}\n");
    }
    println!("{summary}");
    ExitCode::from(u8::from(!summary.failed.is_empty()))
}
