//! What goes wrong, when: drawn from the seed. After its time everything is healed, so that progress can be asked for.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    laws,
    process::Process,
    world::{LEASE, Rates, Service, World},
};

/// One kind of blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    KillOne,
    KillOwner,
    KillWorkers,
    KillMasters,
    KillAll,
    /// The machines go out, and what was not answered may be lost.
    PowerCut,
    StopOne,
    StopOwner,
    CutCable,
    CutService,
    Outage,
    FullDisk,
}

const BLOWS: [Blow; 12] = [
    Blow::KillOne,
    Blow::KillOwner,
    Blow::KillWorkers,
    Blow::KillMasters,
    Blow::KillAll,
    Blow::PowerCut,
    Blow::StopOne,
    Blow::StopOwner,
    Blow::CutCable,
    Blow::CutService,
    Blow::Outage,
    Blow::FullDisk,
];

/// Strikes until its time is over, and heals everything.
pub(crate) async fn rage(world: World) {
    let end_ms = world.now_ms() + 200 + world.draw(8000);
    // Each seed has its own favourites, so that rare combinations come together in some.
    let favourites: Vec<_> = (0..1 + world.draw(4)).map(|_| BLOWS[world.draw(12) as usize]).collect();
    let often_ms = [60, 250, 1000][world.draw(3) as usize];
    set_rates(&world);
    while world.now_ms() < end_ms {
        sleep(world.draw_ms(1, 2 * often_ms)).await;
        let blow = match world.draw(4) {
            0 => BLOWS[world.draw(12) as usize],
            _ => favourites[world.draw(favourites.len() as u64) as usize],
        };
        world.note("nemesis", format_args!("{blow:?}"));
        strike(&world, blow);
    }
    world.note("nemesis", "heals");
    let mut state = world.state();
    state.rates.clear();
    state.outages.clear();
    state.cuts.clear();
    state.partitions.clear();
    state.is_disk_full = false;
    let living: Vec<_> = state.living.values().cloned().collect();
    drop(state);
    living.iter().for_each(Process::go_on);
}

fn set_rates(world: &World) {
    for service in [Service::Coordination, Service::Storage, Service::Network] {
        let rate = |world: &World, n| [0, 0, n, 4 * n][world.draw(4) as usize];
        let rates = Rates {
            refused: rate(world, 5),
            unknown: rate(world, 5),
            slow: rate(world, 5),
            flipped: if service == Service::Storage && world.draw(8) == 0 { 4 } else { 0 },
            deadly: rate(world, 2),
        };
        world.state().rates.insert(service, rates);
    }
}

fn strike(world: &World, blow: Blow) {
    let all: Vec<_> = world.state().living.values().cloned().collect();
    let hosts_of = |letter| all.iter().filter(move |process| process.host().starts_with(letter));
    let one = (!all.is_empty()).then(|| all[world.draw(all.len() as u64) as usize].clone());
    match blow {
        Blow::KillOne => one.iter().for_each(Process::kill),
        Blow::KillOwner => owner(world).iter().for_each(Process::kill),
        Blow::KillWorkers => hosts_of('w').for_each(Process::kill),
        Blow::KillMasters => hosts_of('m').for_each(Process::kill),
        Blow::KillAll => all.iter().for_each(Process::kill),
        Blow::PowerCut => {
            all.iter().for_each(Process::kill);
            world.disk().lose_power(|n| world.draw(n as u64 + 1) as usize);
        }
        Blow::StopOne => one.iter().for_each(|process| stop(world, process)),
        Blow::StopOwner => owner(world).iter().for_each(|process| stop(world, process)),
        Blow::CutCable => {
            if let (Some(a), Some(b)) = (one, all.get(world.draw(all.len() as u64) as usize)) {
                let cables =
                    [(a.host().to_owned(), b.host().to_owned()), (b.host().to_owned(), a.host().to_owned())];
                let n = 1 + world.draw(2) as usize;
                for cable in cables.into_iter().take(n) {
                    world.state().partitions.insert(cable.clone());
                    later(world, 8000, move |world| _ = world.state().partitions.remove(&cable));
                }
            }
        }
        Blow::CutService => {
            if let Some(process) = one {
                let cut = (process.host().to_owned(), service(world));
                world.state().cuts.insert(cut.clone());
                if cut.1 == Service::Coordination {
                    let silent = cut.clone();
                    expire_if(world, &process, move |world| world.state().cuts.contains(&silent));
                }
                later(world, 4000, move |world| _ = world.state().cuts.remove(&cut));
            }
        }
        Blow::Outage => {
            let service = service(world);
            world.state().outages.insert(service);
            later(world, 3000, move |world| _ = world.state().outages.remove(&service));
        }
        Blow::FullDisk => {
            world.state().is_disk_full = true;
            later(world, 3000, |world| world.state().is_disk_full = false);
        }
    }
}

fn service(world: &World) -> Service {
    [Service::Coordination, Service::Storage][world.draw(2) as usize]
}

fn later(world: &World, most_ms: u64, then: impl FnOnce(&World) + Send + 'static) {
    let (pause, world) = (world.draw_ms(1, most_ms), world.clone());
    tokio::spawn(async move {
        sleep(pause).await;
        then(&world);
    });
}

/// The process of the master that owns a job.
fn owner(world: &World) -> Option<Process> {
    let jobs = crate::job::all();
    let owners: Vec<_> = jobs.iter().filter_map(|job| laws::record(world, *job)?.owner).collect();
    let state = world.state();
    state
        .masters
        .values()
        .find(|(_, handle)| owners.contains(handle.incarnation()))
        .map(|(process, _)| process.clone())
}

/// Stops it, alone or with what it has started, for a moment or past its lease.
fn stop(world: &World, process: &Process) {
    let with_children = world.draw(2) == 0;
    let children: Vec<_> = world.state().living.values().cloned().collect();
    let children =
        children.into_iter().filter(|child| child.parent().is_some_and(|p| p.name() == process.name()));
    let stopped: Vec<_> =
        std::iter::once(process.clone()).chain(children.filter(|_| with_children)).collect();
    stopped.iter().for_each(Process::stop);
    let is_silent = process.clone();
    expire_if(world, process, move |_| is_silent.is_stopped());
    later(world, 4000, move |_| stopped.iter().for_each(Process::go_on));
}

/// Who is silent for its lease loses its session.
fn expire_if(world: &World, process: &Process, is_silent: impl FnOnce(&World) -> bool + Send + 'static) {
    let (world, process) = (world.clone(), process.clone());
    tokio::spawn(async move {
        sleep(LEASE + Duration::from_millis(1)).await;
        if is_silent(&world)
            && let Some(incarnation) = process.incarnation()
        {
            world.note(process.name(), "is taken for dead");
            world.end_session(&incarnation);
        }
    });
}
