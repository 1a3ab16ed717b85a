//! Runs simulations: `mapreduce-sim seeds FROM TO` or `mapreduce-sim seed N`, which prints all that happens.
#![allow(clippy::print_stdout, reason = "it is a command")]

use mapreduce_sim::run;

fn main() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize| args.get(n).and_then(|arg| arg.parse::<u64>().ok()).unwrap_or_default();
    if args.first().is_some_and(|verb| verb == "seed") {
        println!("{}", run::seed(number(1), true));
        return;
    }
    let mut n = 0;
    for seed in number(1)..number(2) {
        let verdict = run::seed(seed, false);
        if !verdict.violations.is_empty() {
            n += 1;
            println!("seed {seed}: {verdict}");
        }
    }
    println!("{n} failed");
}
