"""A local cluster that meets in a real ZooKeeper and keeps everything else in a real HDFS."""

import pytest
import servers
from helpers import job_in_the_middle, job_of, outcomes, reference
from slow_jobs import slow_map

DATA = list(range(120))


@pytest.fixture
def stores(tmp_path):
    with (
        servers.zookeeper(tmp_path / "zookeeper") as zookeeper,
        servers.hdfs(tmp_path / "hdfs") as hdfs,
    ):
        yield {
            "directory": tmp_path / "cluster",
            "coordination": f"zookeeper://{zookeeper}/cluster",
            "storage": f"{hdfs}/user/ada",
        }


def test_a_job_survives_its_owner_and_every_worker(stores, new_cluster):
    cluster = new_cluster(n_masters=2, **stores)
    future, owner = job_in_the_middle(cluster, DATA, slow_map)
    workers = cluster.local_monitoring.get_registered_workers()[0]
    cluster.kill(owner, *workers)
    cluster.scale(n_workers=len(workers))
    assert sorted(future.result()) == reference(DATA, slow_map, sum)
    assert outcomes(cluster, future).count("committed") == len(job_of(cluster, future.job_id).tasks)
    assert not (stores["directory"] / "storage").exists()

    # What is left goes with the cluster's state.
    assert cluster.local_monitoring.storage_tree("jobs") != []
    cluster.clear()
    assert [path for path, _ in cluster.local_monitoring.storage_tree("")] == ["cluster"]


def test_a_list_becomes_fewer_tasks_than_on_a_local_disk(stores, new_cluster):
    on_disk, on_hdfs = new_cluster(), new_cluster(**stores)
    n_tasks = []
    for cluster in (on_disk, on_hdfs):
        future = cluster.mapreduce(DATA, map_numbers, sum)
        assert sorted(future.result()) == reference(DATA, map_numbers, sum)
        n_tasks.append(sum(task.id.startswith("map/") for task in job_of(cluster, future.job_id).tasks))
    assert n_tasks == [40, 15]


def map_numbers(numbers):
    return [(number % 3, number) for number in numbers]
