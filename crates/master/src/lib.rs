//! The master: it owns jobs by compare-and-set and epoch, plans and schedules them, takes over those of dead
//! masters, and answers clients and workers. It never runs or unpickles user code and never touches the data.
//!
//! ```text
//!   clients ──► server::jobs ───┐                          ┌──► streams to workers
//!   workers ──► server::workers ┼──► shell ──► scheduler ──┤
//!   ownership (coordination) ───┘      ▲        (pure)     └──► writer, one a job: history, manifests, result
//!                                      └─────────────────────────┘
//! ```
//!
//! [`run`] is a process; [`incarnation`] is what is left of it without sockets, URLs and the machine's clock, so that a
//! simulation runs the same.

mod context;
pub mod incarnation;
mod ownership;
mod process;
mod recovery;
pub mod scheduler;
mod server;
mod shell;
mod writer;

use std::{future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use mapreduce_coordination::{CoordinationError, records::RecordError, users::UserError};
use mapreduce_core::{ClusterId, Secret};
use mapreduce_identity::{Authority, CertificateError, IdentityError};
use mapreduce_storage::StorageError;
use tokio::time::sleep;

use incarnation::Ended;

/// What a master needs to know.
#[derive(Debug, Clone)]
pub struct MasterOptions {
    /// URL of the coordination store.
    pub coordination: String,
    /// URL of the storage.
    pub storage: String,
    /// URL of the coordination store that holds the users.
    pub users: String,
    /// What workers must show.
    pub cluster_key: Secret,
    /// What signs this master's certificate, if its cluster speaks TLS.
    pub authority: Option<Authority>,
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where others find it, `host:port`, if that is elsewhere; port 0 stands for the one that it listens on.
    pub advertise: Option<String>,
    /// How long a process may be silent before it is taken for dead.
    pub lease: Duration,
}

/// Why a master can't go on.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The coordination store can't be used.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
    /// A record in it can't be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The users can't be read.
    #[error(transparent)]
    Users(#[from] UserError),
    /// The storage can't be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The two are not of one cluster, or that can't be told.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Anybody could log in from anywhere.
    #[error(
        "refusing to listen on {address}: the default admin still has the default password; \
         change it first with Auth('admin', 'admin').change_password(...)"
    )]
    DefaultPassword {
        /// Where it should have listened.
        address: SocketAddr,
    },
    /// Whatever is said could be read and changed on the way.
    #[error(
        "refusing to listen on {listen}, where others find it at {address}, without a certificate: off this machine, \
         masters speak TLS only. Make a cluster by `mapreduce cluster init`, and start its masters by --directory"
    )]
    NoCertificate {
        /// Where it should have listened.
        listen: SocketAddr,
        /// What others would be told.
        address: String,
    },
    /// Nobody could find it.
    #[error("{listen} is no address for others: say where they find this master by --advertise HOST:PORT")]
    NoAddress {
        /// Where it should have listened.
        listen: SocketAddr,
    },
    /// The cluster speaks TLS, and this can't.
    #[error(
        "the masters of {cluster} speak TLS, and this one was given no ca.key to make its certificate with: start it by \
         --directory, where `mapreduce cluster init` was done, or `mapreduce cluster join` with a token for a master"
    )]
    NoAuthority {
        /// The cluster.
        cluster: ClusterId,
    },
    /// Its certificate can't be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system refuses something basic.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The gRPC server broke.
    #[error("the server on {address} failed: {source}")]
    Server {
        /// Where it listened.
        address: SocketAddr,
        /// What it says.
        source: tonic::transport::Error,
    },
}

impl MasterError {
    /// Whether the session was lost before the incarnation had begun.
    fn is_session_lost(&self) -> bool {
        match self {
            MasterError::Coordination(CoordinationError::SessionLost)
            | MasterError::Record(RecordError::Coordination(CoordinationError::SessionLost)) => true,
            MasterError::Identity(error) => error.is_session_lost(),
            _ => false,
        }
    }

    /// Whether a store could not be used, which may be otherwise later.
    fn may_pass(&self) -> bool {
        match self {
            MasterError::Coordination(_)
            | MasterError::Record(RecordError::Coordination(_))
            | MasterError::Users(UserError::Store(RecordError::Coordination(_)))
            | MasterError::Storage(_) => true,
            MasterError::Identity(error) => error.may_pass(),
            _ => false,
        }
    }
}

/// Between two tries to begin another incarnation.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs a master until `shutdown` completes. A master whose session ended (it was stopped for longer than its
/// lease) has lost its jobs to others, and starts over as a new incarnation. Stores that can't be used end it at the start
/// only: later, when it is known that nothing is wrong with what it was told, it waits for them.
pub async fn run(options: MasterOptions, shutdown: impl Future<Output = ()>) -> Result<(), MasterError> {
    let mut shutdown = pin!(shutdown);
    let mut has_lived = false;
    loop {
        match process::live(&options, shutdown.as_mut()).await {
            Ok(Ended::Asked) => return Ok(()),
            Ok(Ended::SessionLost) => {}
            Err(error) if error.is_session_lost() => {}
            Err(error) if has_lived && error.may_pass() => {
                tracing::warn!("a new incarnation can't begin yet, trying again in {RETRY_PAUSE:?}: {error}");
                tokio::select! {
                    () = shutdown.as_mut() => return Ok(()),
                    () = sleep(RETRY_PAUSE) => continue,
                }
            }
            Err(error) => return Err(error),
        }
        has_lived = true;
        tracing::warn!("the session was lost; starting a new incarnation");
    }
}
