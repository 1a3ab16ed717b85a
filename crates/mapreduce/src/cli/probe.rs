//! `mapreduce probe`: whether a master serves. A connection alone does not tell: the kernel makes it for a process that is
//! stopped or stuck, too.

use std::{path::PathBuf, time::Duration};

use mapreduce_identity::endpoint;
use mapreduce_rpc::{
    control::{LoginRequest, jobs_client::JobsClient},
    headers::attach_version,
};
use tonic::{Code, Request};

use super::Result;
use crate::{by_hand, client::with_sources};

/// How long a master may take to be reached, and to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a master whether it serves; an error if it does not answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// This machine's directory of the cluster.
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// Where the master listens.
    #[arg(value_name = "HOST:PORT")]
    address: String,
}

impl Args {
    pub async fn run(self) -> Result {
        let Args { directory, address } = self;
        let ca = by_hand::ca(&directory)?;
        let silent = |why: String| format!("the master at {address} does not answer: {why}");
        let endpoint = endpoint(&address, ca.as_deref(), PATIENCE)?.timeout(PATIENCE);
        let channel = endpoint.connect().await.map_err(|e| silent(with_sources(&e)))?;
        let mut request = Request::new(LoginRequest {});
        attach_version(&mut request);
        // Nobody is let in without a password, and nobody but a master says so.
        match JobsClient::new(channel).login(request).await {
            Err(status) if status.code() == Code::Unauthenticated => Ok(()),
            Err(status) => Err(silent(status.to_string()).into()),
            Ok(_) => Err(format!("{address} lets in anybody, and so is no master").into()),
        }
    }
}
