//! The command line. A command's file holds its arguments and what it does.

mod by_hand;
mod cancel;
mod cluster;
mod executor;
mod history;
mod jobs;
mod keeper;
mod kill;
mod master;
mod probe;
mod run;
mod status;
mod stores;
mod table;
mod worker;

use std::{error::Error, io, process::ExitCode};

use clap::Parser;
use futures::{Stream, stream};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// The `mapreduce` program, with the arguments of this process.
pub fn command_line() -> ExitCode {
    let cli = Cli::parse();
    log(cli.log.as_deref());
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if is_broken_pipe(&*e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("mapreduce: {e}");
            ExitCode::FAILURE
        }
    }
}

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// A fault-tolerant MapReduce.
#[derive(Debug, clap::Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// What to log to standard error: error, warn, info, debug, or a filter by module.
    #[arg(long, global = true, env = "MAPREDUCE_LOG", value_name = "LEVEL", value_parser = checked_filter)]
    pub log: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Master(master::Args),
    Worker(worker::Args),
    Probe(probe::Args),
    Cluster(by_hand::Args),
    #[command(hide = true)]
    Keeper(keeper::Args),
    #[command(hide = true)]
    Executor(executor::Args),
    Run(run::Args),
    Jobs(jobs::Args),
    Status(status::Args),
    History(history::Args),
    Kill(kill::Args),
    Cancel(cancel::Args),
}

impl Command {
    pub fn run(self) -> Result {
        // The masters' and workers' work is to pass on small messages, the commands' to read a little.
        let on_one_thread = runtime::Builder::new_current_thread().enable_all().build();
        match self {
            Command::Master(args) => on_one_thread?.block_on(args.run()),
            Command::Worker(args) => on_one_thread?.block_on(args.run()),
            Command::Probe(args) => on_one_thread?.block_on(args.run()),
            Command::Cluster(args) => on_one_thread?.block_on(args.run()),
            Command::Keeper(args) => args.run(),
            Command::Executor(args) => args.run(),
            Command::Run(args) => args.run(),
            Command::Jobs(args) => on_one_thread?.block_on(args.run()),
            Command::Status(args) => on_one_thread?.block_on(args.run()),
            Command::History(args) => on_one_thread?.block_on(args.run()),
            Command::Kill(args) => on_one_thread?.block_on(args.run()),
            Command::Cancel(args) => on_one_thread?.block_on(args.run()),
        }
    }
}

fn checked_filter(text: &str) -> std::result::Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().parse(text).map(|_| text.to_owned())
}

/// What is logged unless somebody asks for more. ZooKeeper's client warns of every try, which our own words sum up.
const WARNINGS: &str = "warn,zookeeper_client=error";

/// Logs to standard error what `filter` lets through, else warnings. What can't be logged is lost: to complain of it,
/// on standard error, would be a panic.
fn log(filter: Option<&str>) {
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
    let filter = builder.parse_lossy(filter.unwrap_or(WARNINGS));
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    logger.with_ansi(false).log_internal_errors(false).init();
}

/// Whether the reader of our output went away, which is its right.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// Each time that the process is asked to end, by SIGTERM or SIGINT.
fn asked_to_end() -> io::Result<impl Stream<Item = ()> + Send> {
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(stream::unfold(signals, async |(mut terminated, mut interrupted)| {
        tokio::select! { _ = terminated.recv() => {}, _ = interrupted.recv() => {} }
        Some(((), (terminated, interrupted)))
    }))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_of_every_command_fit_together() {
        Cli::command().debug_assert();
    }
}
