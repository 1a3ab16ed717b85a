//! `mapreduce executor`: runs the tasks of jobs of commands. Started by workers, not by people.

use super::Result;
use crate::{commands, executor};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    args: executor::Args,
}

impl Args {
    pub fn run(self) -> Result {
        Ok(executor::serve(self.args, commands::load)?)
    }
}
