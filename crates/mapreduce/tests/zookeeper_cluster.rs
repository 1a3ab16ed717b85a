//! Clusters whose masters and workers are started by hand and meet in a real ensemble of three ZooKeeper servers, while
//! all of them are killed and stopped in the middle of jobs. The program is its own executor, so it has no test harness.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "support/gate.rs"]
mod gate;
#[path = "support/owner.rs"]
mod owner;

use std::{env, fs};

use by_hand::{Cluster, eventually};
use gate::{CountWords, Gate, Gated};
use mapreduce::native::{Job, Sum};
use mapreduce_core::JobId;
use mapreduce_servers::{Ensemble, zookeeper::Servers};
use mapreduce_storage::view::TaskState;
use owner::a_job_survives_its_owner;
use rustix::process::Signal;

/// More than that gives figures for the documentation: how many transactions a job costs.
const N_TASKS: &str = "ZOOKEEPER_TEST_TASKS";

fn main() {
    let job = Job::new(Gated::default(), Sum::new()).serve_if_asked();
    let servers = Servers::start(3);
    a_job_costs_few_transactions_and_a_session_little_more(&job, &servers);
    a_job_goes_on_while_servers_die(&job, &servers);
}

/// With sessions that end soon.
fn a_job_costs_few_transactions_and_a_session_little_more(job: &CountWords, servers: &Servers) {
    let mut cluster = Cluster::start(&servers.url("/short"), 2000);
    let n_tasks = env::var(N_TASKS).map_or(100, |n| n.parse().unwrap());
    let gate = Gate::new(cluster.directory(), n_tasks);
    let before = servers.transactions(0);
    gate.run(job, &cluster.session());
    let n = servers.transactions(0) - before;
    println!("{n_tasks} map tasks: {n} transactions of ZooKeeper");
    assert!(n < 100, "{n}");

    // The cluster's second job.
    a_job_survives_its_owner(job, JobId(2), &mut cluster);
    whoever_lost_a_session_waits_for_what_it_needs(&mut cluster);
}

/// The file with the name and password is away when they begin anew: that must not end them.
fn whoever_lost_a_session_waits_for_what_it_needs(cluster: &mut Cluster) {
    let seen = cluster.until("one master is left", |seen| seen.masters.len() == 1);
    let (auth, away) = (cluster.auth_file(), cluster.auth_file().with_extension("away"));
    fs::rename(&auth, &away).unwrap();
    let ids = [seen.masters[0].pid, seen.workers[0].pid];
    ids.iter().for_each(|pid| cluster.signal(*pid, Signal::STOP));
    cluster.until("they are taken for dead", |seen| seen.masters.is_empty() && seen.workers.len() == 1);
    ids.iter().for_each(|pid| cluster.signal(*pid, Signal::CONT));
    for pid in ids {
        cluster.until_logged(pid, &["a new incarnation can't begin yet", "No such file"]);
    }
    fs::rename(&away, &auth).unwrap();
    let now = cluster.until("they are back", |seen| seen.masters.len() == 1 && seen.workers.len() == 2);
    assert_eq!(now.masters[0].pid, ids[0], "it is the same process");
    assert_ne!(now.masters[0].incarnation, seen.masters[0].incarnation);
}

/// With sessions that outlive what happens here. One job runs through all of it, others begin and end meanwhile.
fn a_job_goes_on_while_servers_die(job: &CountWords, servers: &Servers) {
    let cluster = Cluster::start(&servers.url("/long"), 15_000);
    let session = cluster.session();
    let (gate, small) = (Gate::new(cluster.directory(), 100), Gate::new(cluster.directory(), 2));
    gate.open_until(10);
    let id = JobId(1);
    let running = gate.start(job, &cluster.session());
    cluster.until_committed(id, 10);
    for i in 0..3 {
        servers.kill(i);
        small.run(job, &session);
        servers.restart(i);
        servers.await_serving(i);
    }
    let leader = servers.leader();
    servers.signal(leader, Signal::STOP);
    eventually("another one leads", || {
        (0..3).filter(|i| *i != leader).any(|i| servers.mode(i).as_deref() == Some("leader")).then_some(())
    });
    small.run(job, &session);
    servers.signal(leader, Signal::CONT);
    servers.await_serving(leader);
    small.run(job, &session);

    // A full outage. What runs goes on; that it has ended, nobody could write down.
    cluster.until("the next task runs", |seen| seen.jobs[0].tasks[10].state == TaskState::Running);
    (0..3).for_each(|i| servers.kill(i));
    gate.open();
    cluster.until_committed(id, 11);
    assert!(!running.has_ended());
    (0..3).for_each(|i| servers.restart(i));
    assert_eq!(running.end(), id);
    cluster.check_each_task_ran_once(id);
    small.run(job, &session);
    cluster.until("all are there", |seen| seen.masters.len() == 2 && seen.workers.len() == 2);
}
