//! A worker as a process: it opens its stores by their URLs and lives one incarnation.

use std::{io, pin::Pin, sync::Arc};

use mapreduce_coordination::{SessionOptions, records::Member};
use mapreduce_core::{Clock, Incarnation, Role, SystemClock};
use mapreduce_identity::{Stores, check_ca, identify};
use tokio_stream::{Stream, StreamExt};

use crate::{
    WorkerError, WorkerOptions,
    executor::Processes,
    incarnation::{self, Ended, Means},
    link::Tcp,
};

/// Lives one incarnation.
pub(crate) async fn live(
    options: &WorkerOptions,
    mut asked: Pin<&mut impl Stream<Item = ()>>,
) -> Result<Ended, WorkerError> {
    let system = |what| move |source| WorkerError::System { what, source };
    let random = getrandom::u64().map_err(|e| system("randomness")(io::Error::other(e)))?;
    let worker = Incarnation::new(Role::Worker, random);
    let session = SessionOptions { incarnation: worker.clone(), lease: options.lease, watch_others: false };
    let store = mapreduce_storage::open(&options.storage)?;
    let opened = async {
        let (coordination, storage) = (&options.coordination, &options.storage);
        let coordinator = mapreduce_coordination::open(coordination, Some(session)).await?;
        let cluster =
            identify(Stores { coordinator: &*coordinator, coordination, store: &store, storage }).await?;
        check_ca(&cluster, options.ca.as_deref())?;
        Ok::<_, WorkerError>((coordinator, cluster.ca))
    };
    // Servers that can't be reached are waited for, and that must keep nobody from ending.
    let (coordinator, ca) = tokio::select! {
        opened = opened => opened?,
        Some(()) = asked.next() => return Ok(Ended::Drained),
    };
    let no_scratch = system("the directory for scratch files can't be made");
    std::fs::create_dir_all(&options.scratch).map_err(no_scratch)?;
    let clock = Arc::new(SystemClock::default());
    let member = Member::of_this_process(worker, None, options.n_slots, clock.unix_ms());
    let means = Means {
        member: member.map_err(system("this process can't be described"))?,
        options: options.clone(),
        coordinator: coordinator.clone(),
        store,
        clock,
        network: Arc::new(Tcp { cluster_key: options.cluster_key.clone(), ca, lease: options.lease }),
        launcher: Arc::new(Processes),
    };
    let ended = incarnation::serve(means, asked).await;
    coordinator.close().await;
    ended
}
