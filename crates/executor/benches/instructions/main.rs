//! How many instructions the engine's hot loops take, counted by callgrind: the same number on a busy machine as on
//! an idle one, so that a change of a few percent shows.
//!
//! ```text
//! make bench-instructions                  count, and compare with baseline.json
//! make bench-instructions ARGS=merge       only loops whose name holds this
//! make bench-instructions ARGS=--update    count, and make that the baseline
//! ```
//!
//! `cargo test` runs every loop once, without callgrind, to see that it does what it says. Instructions are not
//! time: a cache miss is one, too. Times are measured by `make bench`.

mod baseline;
mod callgrind;
mod loops;

use std::process::ExitCode;

use baseline::Baseline;
use loops::{LOOPS, Loop};

type Error = Box<dyn std::error::Error>;

/// Runs the loop of the name that follows, in this process; what callgrind is told to run.
const ONE: &str = "--one";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
fn run(arguments: &[String]) -> Result<bool, Error> {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted: Vec<&Loop> = match arguments {
        [flag, name] if flag == ONE => LOOPS.iter().filter(|one| one.name == name).collect(),
        _ if names.is_empty() => LOOPS.iter().collect(),
        _ => LOOPS.iter().filter(|one| names.iter().any(|name| one.name.contains(*name))).collect(),
    };
    // `cargo bench` says so; `cargo test` does not, and names tests of any crate.
    if !has("--bench") {
        return wanted.into_iter().try_for_each(Loop::run).map(|()| true);
    }
    if wanted.is_empty() {
        return Err(format!("no loop is named like {names:?}").into());
    }
    let mut counted = Baseline::of_this_machine()?;
    for one in wanted {
        counted.add(one, callgrind::instructions(one)?);
    }
    if has("--update") { counted.save(names.is_empty()).map(|()| true) } else { counted.compare() }
}
