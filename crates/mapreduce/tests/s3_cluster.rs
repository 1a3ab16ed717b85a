//! A cluster whose masters and workers are started by hand and keep their data in a real S3, which is Ceph's, while the
//! owner and the gateway are killed in the middle of a job. The program is its own executor, so it has no test harness.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "support/gate.rs"]
mod gate;
#[path = "support/owner.rs"]
mod owner;

use by_hand::Cluster;
use gate::{CountWords, Gate, Gated, check};
use mapreduce::native::{Job, Sum};
use mapreduce_core::JobId;
use mapreduce_servers::ceph::{BUCKET, Ceph};
use mapreduce_storage::{Elsewhere, background};
use object_store::{ObjectStoreExt, path::Path};
use owner::a_job_survives_its_owner;

fn main() {
    let job = Job::new(Gated::default(), Sum::new()).serve_if_asked();
    let ceph = Ceph::start();
    let mut cluster = Cluster::on_storage(ceph.url(BUCKET, "cluster"));
    a_job_survives_its_owner(&job, JobId(1), &mut cluster);
    a_job_survives_a_dead_gateway(&job, JobId(2), &cluster, &ceph);
    files_are_read_and_published_whatever_the_gateway_does(&job, JobId(3), &cluster, &ceph);
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

/// Tasks that can't read their files, or write them, wait and are tried again, at the cost of no budget.
fn files_are_read_and_published_whatever_the_gateway_does(
    job: &CountWords,
    id: JobId,
    cluster: &Cluster,
    ceph: &Ceph,
) {
    let store = Elsewhere::open(&ceph.url(BUCKET, "")).unwrap().store;
    let gate = Gate::new(cluster.directory(), 100);
    let wait = background::handle().unwrap();
    wait.block_on(store.put(&Path::from("words/all.txt"), gate.words().to_owned().into())).unwrap();
    let (input, output) = (ceph.url(BUCKET, "words/*.txt"), ceph.url(BUCKET, "counts"));
    gate.open_until(25);
    let running = gate.start_with_files(job, &cluster.session(), input, output);
    cluster.until_committed(id, 25);
    ceph.kill_gateway();
    gate.open();
    ceph.launch_gateway();
    assert_eq!(running.end(), id);
    let listed = wait.block_on(store.list_with_delimiter(Some(&Path::from("counts")))).unwrap();
    assert_eq!(listed.common_prefixes, [], "nothing temporary stays");
    let (marks, parts): (Vec<_>, Vec<_>) =
        listed.objects.iter().partition(|file| file.location.filename() == Some("_SUCCESS"));
    assert_eq!(marks.len(), 1);
    let mut counted = Vec::new();
    for file in parts {
        let got = wait.block_on(async { store.get(&file.location).await?.bytes().await }).unwrap();
        for line in String::from_utf8(got.into()).unwrap().lines() {
            let (word, count) = line.split_once('\t').unwrap();
            counted.push((word.to_owned(), count.parse().unwrap()));
        }
    }
    check(counted, gate.words());
}
