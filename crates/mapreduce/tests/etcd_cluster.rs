//! Clusters whose masters and workers are started by hand and meet in a real cluster of three etcd servers, with a name and
//! password, while the owner and the servers are killed in the middle of jobs. The program is its own executor, so it has
//! no test harness.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "support/gate.rs"]
mod gate;
#[path = "support/owner.rs"]
mod owner;

use std::env;

use by_hand::Cluster;
use gate::{CountWords, Gate, Gated};
use mapreduce::native::{Job, Sum};
use mapreduce_core::JobId;
use mapreduce_servers::{Ensemble, etcd::Servers};
use mapreduce_storage::view::TaskState;
use owner::a_job_survives_its_owner;

/// More than that gives figures for the documentation: how many transactions a job costs.
const N_TASKS: &str = "ETCD_TEST_TASKS";

fn main() {
    let job = Job::new(Gated::default(), Sum::new()).serve_if_asked();
    let servers = Servers::start(3);
    servers.protect("ada", "secret", "/clusters");
    a_job_costs_few_transactions_and_survives_its_owner(&job, &servers);
    a_job_goes_on_while_servers_die(&job, &servers);
}

/// With sessions that end soon.
fn a_job_costs_few_transactions_and_survives_its_owner(job: &CountWords, servers: &Servers) {
    let mut cluster = Cluster::start(&servers.url("/clusters/short"), 2000);
    let n_tasks = env::var(N_TASKS).map_or(100, |n| n.parse().unwrap());
    let gate = Gate::new(cluster.directory(), n_tasks);
    let before = servers.revision(0);
    gate.run(job, &cluster.session());
    let n = servers.revision(0) - before;
    println!("{n_tasks} map tasks: {n} transactions of etcd");
    assert!(n < 100, "{n}");
    // The cluster's second job.
    a_job_survives_its_owner(job, JobId(2), &mut cluster);
}

/// With sessions that outlive what happens here. One job runs through all of it, others begin and end meanwhile.
fn a_job_goes_on_while_servers_die(job: &CountWords, servers: &Servers) {
    let cluster = Cluster::start(&servers.url("/clusters/long"), 15_000);
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
