//! An owner that is killed in the middle of a job, in a cluster whose processes are started by hand.

use mapreduce_core::JobId;

use crate::{
    by_hand::Cluster,
    gate::{CountWords, Gate},
};

/// Another master takes the job, adopts what runs, and nothing runs again. The job is given this id.
pub fn a_job_survives_its_owner(job: &CountWords, id: JobId, cluster: &mut Cluster) {
    let gate = Gate::new(cluster.directory(), 100);
    gate.open_until(25);
    let running = gate.start(job, &cluster.session());
    cluster.until_committed(id, 25);
    let first = cluster.until_owned(id, |_| true);
    cluster.kill(&first);
    cluster.until_owned(id, |owner| *owner != first);
    gate.open();
    assert_eq!(running.end(), id);
    cluster.check_each_task_ran_once(id);
}
