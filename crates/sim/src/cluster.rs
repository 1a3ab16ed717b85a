//! The hosts of the simulation: each runs one master or one worker, and starts it again after it has died.

use std::{future::pending, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use mapreduce_coordination::records::{self, Member};
use mapreduce_core::{Incarnation, Role, Secret};
use mapreduce_master::incarnation::{self as master, Master};
use mapreduce_worker::{
    WorkerOptions,
    incarnation::{self as worker},
};
use tokio::time::sleep;

use crate::{
    coordination::SimCoordinator,
    disk::SimStore,
    executor::{SimLauncher, Spawner},
    network::SimNetwork,
    process::Process,
    world::{LEASE, World},
};

/// Runs a master, and another after it, for ever.
pub(crate) async fn master_host(world: World, host: String) {
    lives(world, host, Role::Master, |process, incarnation| async move {
        let Ok(coordinator) = SimCoordinator::open(&process, incarnation.clone()) else { return };
        let (world, name) = (process.world().clone(), process.name().to_owned());
        let master = Master::new(master::Means {
            me: incarnation.clone(),
            coordinator: coordinator.clone(),
            store: SimStore::of(&process),
            clock: process.clock(),
            lease: LEASE,
        });
        let handle = master.handle();
        world.state().masters.insert(name.clone(), (process.clone(), handle));
        let member = member(incarnation, Some(name.clone()), 0);
        if let Err(e) = records::register(coordinator.as_ref(), &member).await {
            return world.note(&name, format_args!("can't register: {e}"));
        }
        let ended = master.serve(pin!(pending())).await;
        world.note(&name, format_args!("ended: {ended:?}"));
    })
    .await
}

/// Runs a worker, and another after it, for ever.
pub(crate) async fn worker_host(world: World, host: String, n_slots: u32, spawner: Spawner) {
    lives(world, host, Role::Worker, |process, incarnation| {
        let spawner = spawner.clone();
        async move {
            if process.world().is_calm() {
                // The masters are there first: else their coming would make good what the worker missed at its start.
                sleep(Duration::from_millis(20)).await;
            }
            let Ok(coordinator) = SimCoordinator::open(&process, incarnation.clone()) else { return };
            let means = worker::Means {
                member: member(incarnation, None, n_slots),
                options: options(n_slots),
                coordinator,
                store: SimStore::of(&process),
                clock: process.clock(),
                network: Arc::new(SimNetwork { worker: process.clone() }),
                launcher: Arc::new(SimLauncher { worker: process.clone(), spawner }),
            };
            let ended = worker::serve(means, pin!(tokio_stream::pending())).await;
            process.world().note(process.name(), format_args!("ended: {ended:?}"));
        }
    })
    .await
}

async fn lives<L: Future<Output = ()>>(
    world: World,
    host: String,
    role: Role,
    life: impl Fn(Process, Incarnation) -> L,
) {
    for n in 1.. {
        let incarnation = Incarnation::new(role, world.draw(u64::MAX));
        let process = Process::start(&world, &host, format!("{host}.{n}"), (None, Some(incarnation.clone())));
        tokio::select! {
            biased;
            () = process.death() => {}
            () = life(process.clone(), incarnation.clone()) => process.kill(),
        }
        world.state().masters.remove(process.name());
        let (ends, noticed) = (world.clone(), noticed(&world));
        tokio::spawn(async move {
            sleep(noticed).await;
            ends.end_session(&incarnation);
        });
        sleep(if world.is_calm() { Duration::from_millis(20) } else { world.draw_ms(1, 1500) }).await;
    }
}

/// How long a death stays unnoticed: a connection that closes shows it at once, a machine that is gone does not.
fn noticed(world: &World) -> Duration {
    match world.is_calm() || world.draw(2) == 0 {
        true => Duration::from_millis(5),
        false => LEASE,
    }
}

fn member(incarnation: Incarnation, address: Option<String>, n_slots: u32) -> Member {
    let host = "simulated".to_owned();
    Member { incarnation, address, pid: 1, pid_started: 1, host, n_slots, started_at_ms: 0 }
}

fn options(n_slots: u32) -> WorkerOptions {
    WorkerOptions {
        coordination: String::new(),
        storage: String::new(),
        cluster_key: Secret::new(""),
        ca: None,
        n_slots,
        python: Some(vec!["simulated".to_owned()]),
        commands: Vec::new(),
        memory_bytes_max: None,
        machine_slots: n_slots,
        scratch: PathBuf::from("/tmp"),
        grace: Duration::from_secs(1),
        lease: LEASE,
    }
}
