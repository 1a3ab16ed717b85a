//! `/masters/<incarnation>` and `/workers/<incarnation>`: who is alive. The entries are ephemeral: they are
//! gone with their process's session.

use std::io;

use mapreduce_core::{Incarnation, Persisted, Role, ids::ParseIdError};
use serde::{Deserialize, Serialize};

use super::{RecordError, Write, process_start_ticks, read_all};
use crate::{Coordinator, Lifetime};

/// A live master or worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// This life of the process.
    pub incarnation: Incarnation,
    /// Where it listens, `host:port`; none for workers, who only call.
    pub address: Option<String>,
    /// Its process id on `host`.
    pub pid: u32,
    /// [`process_start_ticks`] of the process: a pid alone may be another, later process's.
    pub pid_started: u64,
    /// The machine's name.
    pub host: String,
    /// How many tasks it runs at one time; 0 for masters.
    pub n_slots: u32,
    /// When it started, in milliseconds since 1970.
    pub started_at_ms: u64,
}

impl Member {
    /// This process, which listens on `address` if it is a master.
    pub fn of_this_process(
        incarnation: Incarnation,
        address: Option<String>,
        n_slots: u32,
        started_at_ms: u64,
    ) -> io::Result<Member> {
        let pid = std::process::id();
        let pid_started = process_start_ticks(pid)?;
        Ok(Member { incarnation, address, pid, pid_started, host: host(), n_slots, started_at_ms })
    }

    /// Whether its process is one of this machine's, and `pid` means something here.
    pub fn is_of_this_machine(&self) -> bool {
        self.host == host()
    }
}

/// This machine's name.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Persisted for Member {
    const KIND: &'static str = "member";
    const VERSION: u32 = 1;
}

/// Where the entries of `role` are.
pub fn directory(role: Role) -> &'static str {
    match role {
        Role::Master => "/masters",
        Role::Worker => "/workers",
    }
}

fn path(incarnation: &Incarnation) -> String {
    format!("{}/{incarnation}", directory(incarnation.role()))
}

/// Shows this process to the others, as long as its session lasts.
pub async fn register(c: &dyn Coordinator, member: &Member) -> Result<(), RecordError> {
    let write = Write::Create(member.encode().into(), Lifetime::Session);
    write.apply(c, &path(&member.incarnation)).await?;
    Ok(())
}

/// The live masters or workers, by incarnation.
pub async fn members(c: &dyn Coordinator, role: Role) -> Result<Vec<Member>, RecordError> {
    let found = read_all::<Member>(c, directory(role)).await?;
    Ok(found.into_iter().map(|(member, _)| member).collect())
}

/// The incarnations of the live masters or workers, in order: one request, however many there are.
pub async fn incarnations(c: &dyn Coordinator, role: Role) -> Result<Vec<Incarnation>, RecordError> {
    let directory = directory(role);
    let foreign = |name: &str| {
        let path = format!("{directory}/{name}");
        move |e: ParseIdError| RecordError::Foreign { path, why: e.to_string() }
    };
    let names = c.children(directory).await?;
    names.into_iter().map(|name| name.parse().map_err(foreign(&name))).collect()
}

/// Whether the incarnation is registered. Its death is known a moment after it happened; nothing that must be
/// safe may hang on the answer.
pub async fn is_alive(c: &dyn Coordinator, incarnation: &Incarnation) -> Result<bool, RecordError> {
    Ok(c.get(&path(incarnation)).await?.is_some())
}
