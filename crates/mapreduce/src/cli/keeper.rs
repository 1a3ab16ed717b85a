//! `mapreduce keeper`: the parent of a local cluster's processes. Started by the library, not by people.

use crate::keeper;

use super::Result;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `keeper::KeeperOptions`, as JSON.
    options: String,
}

impl Args {
    pub fn run(self) -> Result {
        Ok(keeper::run(serde_json::from_str(&self.options)?)?)
    }
}
