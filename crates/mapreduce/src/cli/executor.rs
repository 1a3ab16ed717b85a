//! `mapreduce executor`: runs the tasks of jobs of commands. Started by workers, not by people.

use super::Result;
use crate::{commands, executor};

// Both would be the group "Args".
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    args: executor::Args,
}

impl Args {
    pub fn run(self) -> Result {
        Ok(executor::serve(self.args, commands::load)?)
    }
}
