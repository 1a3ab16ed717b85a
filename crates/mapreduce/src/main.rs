//! The `mapreduce` program: the parts of a cluster, and commands to look after one.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    cli::log(cli.log.as_deref());
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if cli::is_broken_pipe(&*e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("mapreduce: {e}");
            ExitCode::FAILURE
        }
    }
}
