//! Explores the model of the protocol for several budgets of faults and prints what it saw as a table.
//!
//! `cargo run --release -p mapreduce-sim --example model [row …]`: all rows, or those whose text contains one of
//! the words.

use std::{
    io::{self, Write},
    time::Instant,
};

use mapreduce_sim::model::{Faults, Protocol, explore};
use stateright::{Checker, HasDiscoveries, Model};

/// crashes, zombie owners, zombie workers, unknowns, cuts, silences, cancels
const BUDGETS: [[u8; 7]; 15] = [
    [0, 0, 0, 0, 0, 0, 0],
    [1, 0, 0, 0, 0, 0, 0],
    [0, 1, 0, 0, 0, 0, 0],
    [0, 0, 1, 0, 0, 0, 0],
    [0, 0, 0, 1, 0, 0, 0],
    [0, 0, 0, 0, 1, 0, 0],
    [0, 0, 0, 0, 0, 0, 1],
    [1, 0, 0, 0, 0, 1, 0],
    [1, 0, 0, 0, 0, 0, 1],
    [1, 0, 0, 1, 0, 0, 0],
    [0, 0, 0, 2, 0, 0, 0],
    [2, 0, 0, 0, 0, 0, 0],
    [0, 0, 1, 1, 0, 0, 0],
    [0, 1, 0, 1, 0, 0, 0],
    [1, 1, 0, 0, 0, 0, 0],
];

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    let words: Vec<String> = std::env::args().skip(1).collect();
    writeln!(
        out,
        "{:64} {:>10} {:>11} {:>5} {:>7}  can always end",
        "faults", "states", "steps", "depth", "time"
    )?;
    for [crashes, zombie_owners, zombie_workers, unknowns, cuts, silences, cancels] in BUDGETS {
        let faults = Faults { crashes, zombie_owners, zombie_workers, unknowns, cuts, silences, cancels };
        let protocol = Protocol { faults, clears: true, bug: None };
        let name = faults.to_string();
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            row(&mut out, &name, protocol)?;
        }
    }
    Ok(())
}

fn row(out: &mut impl Write, name: &str, protocol: Protocol) -> io::Result<()> {
    let begin = Instant::now();
    let checker = protocol.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let time = begin.elapsed();
    for (property, path) in checker.discoveries() {
        if !property.contains("succeeds") {
            writeln!(out, "{property} is broken by {:?}", path.into_actions())?;
        }
    }
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let progress = match explore(&protocol) {
        Ok(_) => "yes".to_owned(),
        Err(dead) => format!("no, after {:?}", dead.steps),
    };
    writeln!(out, "{name:64} {states:>10} {steps:>11} {depth:>5} {:>6.1}s  {progress}", time.as_secs_f64())?;
    Ok(())
}
