"""Local clusters that meet in a real ZooKeeper and keep everything else in a real HDFS, or only their users' files."""

import time

import pytest
import servers
from helpers import job_in_the_middle, job_of, living_owner, outcomes, reference, wait_until
from slow_jobs import slow_map

import mapreduce

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


def test_files_are_read_and_published_by_url_whoever_dies(tmp_path, new_cluster):
    with servers.hdfs(tmp_path / "hdfs") as hdfs:
        numbers, sums = f"{hdfs}/user/ada/all numbers", f"{hdfs}/user/ada/sums"
        cluster = new_cluster(n_masters=2)
        output = mapreduce.write_json_lines(numbers.replace(" ", "%20"))
        files = cluster.mapreduce(DATA, map_pairs, list, output=output, n_partitions=2).result()
        assert files == [f"{output.directory}/part-0000{n}.jsonl" for n in range(2)]

        rows = mapreduce.read_json_lines(f"{output.directory}/part-*", split_bytes=40)
        output = mapreduce.write_csv(sums, compression="gzip")
        future = cluster.mapreduce(rows, slow_rows, sum, output=output)
        wait_until(lambda: future.progress().map_done > 0, "a task is done")
        workers, _ = cluster.local_monitoring.get_registered_workers()
        cluster.kill(*living_owner(cluster, future.job_id), *workers)
        cluster.scale(n_workers=len(workers))
        assert all(file.startswith(f"{sums}/part-") and file.endswith(".csv.gz") for file in future.result())
        assert outcomes(cluster, future).count("committed") == len(job_of(cluster, future.job_id).tasks)

        read = mapreduce.read_csv(sums, header=False)
        pairs = cluster.mapreduce(read, lambda rows: [(int(key), int(value)) for key, value in rows], sum).result()
        assert sorted(pairs) == reference(DATA, map_numbers, sum)
        with pytest.raises(mapreduce.errors.InvalidArgumentError, match=f"{sums} exists and is not empty"):
            cluster.mapreduce(DATA, map_numbers, sum, output=output)
        with pytest.raises(mapreduce.errors.InvalidArgumentError, match=f"no file found for .{sums}/absent"):
            cluster.mapreduce(mapreduce.read_text(f"{sums}/absent*"), map_numbers, sum)


def slow_rows(rows):
    for row in rows:
        time.sleep(0.1)
        yield row["key"] % 3, sum(row["value"])


def map_pairs(numbers):
    return [(number % 60, number) for number in numbers]


def map_numbers(numbers):
    return [(number % 3, number) for number in numbers]
