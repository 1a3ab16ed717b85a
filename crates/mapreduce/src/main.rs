//! The `mapreduce` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    mapreduce::command_line()
}
