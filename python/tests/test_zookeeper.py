"""A local cluster whose masters and workers meet in a real ZooKeeper, and whose storage is elsewhere."""

import subprocess
import sys

import pytest
import servers
from helpers import job_in_the_middle, job_of, living_owner, outcomes, reference, wait_until
from slow_jobs import slow_map

from mapreduce import Auth, ClusterError, InvalidArgumentError, LocalCluster, connect
from mapreduce._program import find_program

DATA = list(range(120))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with servers.zookeeper(tmp_path_factory.mktemp("zookeeper")) as server:
        yield server


@pytest.fixture
def stores(server, tmp_path):
    """A path of its own for each test."""
    return {
        "directory": tmp_path / "cluster",
        "coordination": f"zookeeper://{server}/{tmp_path.name}",
        "storage": f"file://{tmp_path}/storage",
    }


def test_a_job_survives_its_owner(new_cluster, stores):
    cluster = new_cluster(n_masters=2, **stores)
    future, owner = job_in_the_middle(cluster, DATA, slow_map)
    cluster.kill(owner)
    # It is missed when its lease has run out.
    wait_until(lambda: living_owner(cluster, future.job_id) not in ([], [owner]), "another master owns the job")
    assert sorted(future.result()) == reference(DATA, slow_map, sum)
    job = job_of(cluster, future.job_id)
    ended = outcomes(cluster, future)
    assert ended.count("committed") == len(job.tasks)
    assert (stores["directory"].parent / "storage" / "jobs" / future.job_id).is_dir()
    assert not (stores["directory"] / "coordination.db").exists()
    assert not (stores["directory"] / "storage").exists()


def test_a_later_cluster_in_the_directory_finds_the_stores(auth, new_cluster, stores, tmp_path):
    with LocalCluster(auth, n_workers=0, n_masters=1, **stores) as first:
        future = first.mapreduce(DATA[:8], slow_map, sum, split_records=4)
        job_id = future.job_id
    with pytest.raises(ClusterError, match="not in zookeeper://127.0.0.1:1/x"):
        LocalCluster(auth, **{**stores, "coordination": "zookeeper://127.0.0.1:1/x"})

    second = new_cluster(directory=stores["directory"])
    assert sorted(second.attach(job_id).result()) == reference(DATA[:8], slow_map, sum)
    second.shutdown_cluster(cleanup=True)

    # Nothing is left of the job but its number, which no other job gets.
    third = new_cluster(**{**stores, "directory": tmp_path / "other"})
    assert third.local_monitoring.state().jobs == []
    assert not list((tmp_path / "storage" / "jobs").glob("*"))
    future = third.mapreduce([1], slow_map, sum)
    assert future.result() == [(1, 1)]
    assert future.job_id != job_id


def test_what_can_not_work_is_said_at_once(auth, server, tmp_path):
    with pytest.raises(InvalidArgumentError, match="directory must be given with coordination"):
        LocalCluster(auth, coordination=f"zookeeper://{server}/x")
    with pytest.raises(ClusterError, match="names no path below which"):
        LocalCluster(auth, directory=tmp_path / "bad", coordination=f"zookeeper://{server}")
    with pytest.raises(ClusterError, match=r"within 1.* s: 127.0.0.1:1 can't be reached"):
        LocalCluster(auth, directory=tmp_path / "unreachable", coordination="zookeeper://127.0.0.1:1/x")


def test_a_machine_joins_with_the_password_for_coordination(server, tmp_path, environment):
    (tmp_path / "auth").write_text("ada:secret")
    url = f"zookeeper://{server}/{tmp_path.name}?auth={tmp_path}/auth"
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    environment["MAPREDUCE_PASSWORD"] = "correct horse"

    def run(*words):
        done = subprocess.run([find_program(), *words], env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    run("cluster", "init", one, "--coordination", url, "--storage", f"file://{tmp_path}/storage")
    master = subprocess.Popen([find_program(), "master", "--directory", one], env=environment)
    try:
        admin = Auth("admin", "correct horse", users=url)
        wait_until(lambda: master_answers(url, admin), "the master has begun")
        run("cluster", "join", run("cluster", "token", "--directory", one), two)
        assert (tmp_path / "two" / "coordination.auth").read_text() == "ada:secret"
        # What is on the first machine is none of the second's business.
        (tmp_path / "auth").rename(tmp_path / "elsewhere")
        url = f"zookeeper://{server}/{tmp_path.name}?auth={tmp_path}/elsewhere"
        worker = subprocess.Popen(
            [find_program(), "worker", "--directory", two, "--python", sys.executable], env=environment
        )
        try:
            with connect(url, admin) as cluster:
                assert sorted(cluster.mapreduce(DATA[:8], slow_map, sum).result()) == reference(DATA[:8], slow_map, sum)
        finally:
            worker.kill()
            worker.wait()
    finally:
        master.kill()
        master.wait()


def master_answers(url, auth):
    try:
        connect(url, auth).close()
    except ClusterError:
        return False
    return True
