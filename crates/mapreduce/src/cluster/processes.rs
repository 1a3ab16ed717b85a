//! The processes of a cluster: waiting until they are ready, and ending them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::try_join_all;
use mapreduce_coordination::records::Member;
use mapreduce_core::Incarnation;
use rustix::process::Signal;

use super::{
    ClusterError,
    error::system,
    keeper::{ask, connect, unexpected},
};
use crate::{
    ClusterUrls,
    client::ClientError,
    keeper::protocol::{Reply, Request},
    monitor,
    process::Process,
};

/// How long a process may need for its end, beyond the grace it was given.
const ENDING: Duration = Duration::from_secs(5);

/// Lines of a log that an error shows.
const TAIL_LINES: usize = 20;

/// Has the keeper start processes, and returns when all of them are registered.
pub(super) async fn spawn(
    directory: &Path,
    urls: &ClusterUrls,
    masters: u32,
    workers: u32,
) -> Result<(), ClusterError> {
    if masters + workers == 0 {
        return Ok(());
    }
    let mut keeper = connect(directory).await?;
    let coordinator =
        mapreduce_coordination::open(&urls.coordination, None).await.map_err(ClientError::from)?;
    let mut starting: HashMap<u32, Option<PathBuf>> =
        match ask(&mut keeper, &Request::Spawn { masters, workers }).await? {
            Reply::Spawned(spawned) => spawned.into_iter().map(|s| (s.pid, s.log)).collect(),
            reply => return Err(unexpected(&reply)),
        };
    let mut masters_change = coordinator.watch("/masters");
    let mut workers_change = coordinator.watch("/workers");
    loop {
        masters_change.borrow_and_update();
        workers_change.borrow_and_update();
        let (masters, workers) = monitor::members(&*coordinator).await?;
        for member in masters.iter().chain(&workers).filter(|member| member.is_of_this_machine()) {
            starting.remove(&member.pid);
        }
        if starting.is_empty() {
            coordinator.close().await;
            return Ok(());
        }
        tokio::select! {
            _ = masters_change.changed() => {}
            _ = workers_change.changed() => {}
            said = keeper.lines.next() => match said.map_err(system("can't hear the keeper"))? {
                Some(Reply::Exited { pid, how }) => {
                    if let Some(log) = starting.remove(&pid) {
                        return Err(ClusterError::EndedEarly { pid, how, log_tail: tail(log.as_deref()) });
                    }
                }
                Some(reply) => return Err(unexpected(&reply)),
                None => return Err(ClusterError::NotRunning { directory: directory.to_owned() }),
            },
        }
    }
}

fn tail(log: Option<&Path>) -> String {
    let Some(log) = log else { return "(see above)".to_owned() };
    match fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
        }
        Err(e) => format!("({}: {e})", log.display()),
    }
}

/// A registered master or worker whose process lives.
pub(super) struct Living {
    pub member: Member,
    process: Process,
}

impl Living {
    /// Those of `members` that live, on this machine: coordination learns of a death a moment later than the kernel.
    pub fn of(members: Vec<Member>) -> Result<Vec<Living>, ClusterError> {
        let mut living = Vec::with_capacity(members.len());
        for member in members.into_iter().filter(Member::is_of_this_machine) {
            let process = Process::open(member.pid, Some(member.pid_started))
                .map_err(system(format!("can't look for {}", member.incarnation)))?;
            living.extend(process.map(|process| Living { member, process }));
        }
        Ok(living)
    }

    /// Everybody who lives in the cluster at `urls`: masters, then workers.
    pub async fn all(urls: &ClusterUrls) -> Result<(Vec<Living>, Vec<Living>), ClusterError> {
        let coordinator =
            mapreduce_coordination::open(&urls.coordination, None).await.map_err(ClientError::from)?;
        let (masters, workers) = monitor::members(&*coordinator).await?;
        coordinator.close().await;
        Ok((Living::of(masters)?, Living::of(workers)?))
    }

    async fn kill(&self) -> Result<(), ClusterError> {
        let failed = || system(format!("can't kill {}", self.member.incarnation));
        self.process.signal(Signal::KILL).map_err(failed())?;
        self.process.ended().await.map_err(failed())
    }

    /// Asks it to go, and returns when it is gone; kills it if it is still there after `grace`.
    async fn retire(&self, grace: Duration) -> Result<(), ClusterError> {
        let failed = || system(format!("can't end {}", self.member.incarnation));
        self.process.signal(Signal::TERM).map_err(failed())?;
        match tokio::time::timeout(grace + ENDING, self.process.ended()).await {
            Ok(ended) => ended.map_err(failed()),
            Err(_) => self.kill().await,
        }
    }
}

/// Ends the most recently started of `living` until `n` are left, all at the same time.
pub(super) async fn retire_to(mut living: Vec<Living>, n: u32, grace: Duration) -> Result<(), ClusterError> {
    living.sort_by_key(|one| one.member.started_at_ms);
    let surplus = living.split_off(living.len().min(n as usize));
    try_join_all(surplus.iter().map(|one| one.retire(grace))).await?;
    Ok(())
}

/// Kills these masters and workers, wherever among `clusters` they live, with SIGKILL; returns when they have
/// ended. An unknown id is an error, and then nobody is killed.
pub async fn kill(clusters: &[ClusterUrls], ids: &[Incarnation]) -> Result<(), ClusterError> {
    let mut living = Vec::new();
    for urls in clusters {
        let (masters, workers) = Living::all(urls).await?;
        living.extend(masters.into_iter().chain(workers));
    }
    let find = |id: &Incarnation| {
        living.iter().find(|one| one.member.incarnation == *id).ok_or_else(|| ClusterError::UnknownId {
            id: id.clone(),
            living: living.iter().map(|one| one.member.incarnation.clone()).collect(),
        })
    };
    let condemned = ids.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    try_join_all(condemned.into_iter().map(Living::kill)).await?;
    Ok(())
}
