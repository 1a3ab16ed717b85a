//! A cluster whose masters and workers are started by hand and keep their data in a real S3, which is Ceph's, while the
//! owner and the gateway are killed in the middle of a job. The program is its own executor, so it has no test harness.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "../../storage/tests/support/ceph.rs"]
mod ceph;
#[path = "support/gate.rs"]
mod gate;
#[path = "../../storage/tests/support/janitor.rs"]
mod janitor;
#[path = "support/owner.rs"]
mod owner;

use by_hand::Cluster;
use ceph::{BUCKET, Ceph};
use gate::{CountWords, Gate, Gated};
use mapreduce::native::{Job, Sum};
use mapreduce_core::JobId;
use owner::a_job_survives_its_owner;

fn main() {
    let job = Job::new(Gated::default(), Sum::new()).serve_if_asked();
    let ceph = Ceph::start();
    let mut cluster = Cluster::on_storage(ceph.url(BUCKET, "cluster"));
    a_job_survives_its_owner(&job, JobId(1), &mut cluster);
    a_job_survives_a_dead_gateway(&job, JobId(2), &cluster, &ceph);
}

/// Nothing can be committed without it; what runs meanwhile runs to its end and is committed later.
fn a_job_survives_a_dead_gateway(job: &CountWords, id: JobId, cluster: &Cluster, ceph: &Ceph) {
    let gate = Gate::new(cluster.directory(), 100);
    gate.open_until(25);
    let running = gate.start(job, &cluster.session());
    cluster.until_committed(id, 25);
    ceph.kill_gateway();
    gate.open();
    ceph.launch_gateway();
    assert_eq!(running.end(), id);
}
