"""Clients of clusters whose processes others started: `mapreduce.connect`."""

import os
import subprocess
import sys

import pytest
from helpers import reference, wait_until

import mapreduce
from mapreduce import Auth, AuthenticationError, ClusterError, InvalidArgumentError, NoMasterError, connect
from mapreduce._program import find_program

DATA = list(range(20))
WORDS = """
def words(lines):
    return [(word, 1) for line in lines for word in line.split()]

def count(ones):
    return sum(ones)
"""


def ones(numbers):
    return [(number % 3, 1) for number in numbers]


@pytest.fixture
def by_hand(tmp_path, environment):
    """Starts masters and workers as a person does, without a directory of theirs; they end with the test."""
    (tmp_path / "key").write_text(os.urandom(32).hex())
    stores = {"coordination": f"sqlite://{tmp_path}/coordination", "storage": f"file://{tmp_path}/storage"}
    processes = []

    def here(*words):
        processes.append(subprocess.Popen([find_program(), *words], env=environment, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    def start(role, *options, **changed):
        words = [f"--{name}={url}" for name, url in (stores | changed).items()]
        return here(role, *words, "--cluster-key-file", str(tmp_path / "key"), *options)

    start.here = here
    start.url = stores["coordination"]
    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_job_on_processes_that_were_started_by_hand(by_hand):
    by_hand("master")
    by_hand("worker", "--python", sys.executable)
    # The users of such a cluster are its own.
    admin = Auth("admin", "admin", users=by_hand.url)
    wait_until(lambda: is_there(by_hand.url, admin), "the master has begun")
    admin.create_user("ada", "secret")
    ada = Auth("ada", "secret")
    assert not ada.is_authenticated()
    assert connect(by_hand.url, ada).local_monitoring.get_registered_masters()[1] == 1
    with connect(by_hand.url, ada) as cluster:
        monitoring = cluster.local_monitoring
        wait_until(lambda: monitoring.get_registered_workers()[1] == 1, "the worker has begun")
        assert monitoring.get_registered_masters()[1] == 1
        future = cluster.mapreduce(DATA, ones, sum)
        assert sorted(future.result()) == reference(DATA, ones, sum)
        assert monitoring.state().jobs[0].user == "ada"
        assert cluster.attach(future.job_id).result() == future.result()
        assert cluster.clear() == [future.job_id]


def test_a_job_on_a_cluster_that_speaks_tls(by_hand, environment, tmp_path):
    environment["MAPREDUCE_PASSWORD"] = "correct horse"
    directory, storage = str(tmp_path / "machine"), f"file://{tmp_path}/storage"
    init = [find_program(), "cluster", "init", directory, "--coordination", by_hand.url, "--storage", storage]
    subprocess.run(init, env=environment, check=True)
    by_hand.here("master", "--directory", directory)
    by_hand.here("worker", "--directory", directory, "--python", sys.executable)
    admin = Auth("admin", "correct horse")
    wait_until(lambda: is_there(by_hand.url, admin), "the master has begun")
    with connect(by_hand.url, admin) as cluster:
        assert sorted(cluster.mapreduce(DATA, ones, sum).result()) == reference(DATA, ones, sum)
    with pytest.raises(AuthenticationError):
        connect(by_hand.url, Auth("admin", "admin"))

    # The same cluster for functions from the command line.
    (tmp_path / "job.py").write_text(WORDS)
    (tmp_path / "text").write_text("to be\nor not to be\n")
    job = [find_program(), "run", "job.py:words", "job.py:count", "--input", "text"]
    for cluster in (["--coordination", by_hand.url], ["--directory", directory]):
        done = subprocess.run(
            [*job, *cluster], env=environment, cwd=tmp_path, check=False, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split() == ["be", "2", "not", "1", "or", "1", "to", "2"]


def is_there(url, auth):
    try:
        connect(url, auth).close()
    except ClusterError:
        return False
    return True


def test_a_connection_ends_without_the_cluster(new_cluster, auth, tmp_path):
    local = new_cluster(directory=tmp_path / "cluster")
    url = f"sqlite://{tmp_path}/cluster"
    cluster = connect(url, auth)
    assert cluster.mapreduce(DATA, ones, sum).result() == reference(DATA, ones, sum)
    assert repr(cluster) == f"<ConnectedCluster at {url}>"
    for call in (cluster.scale, cluster.shutdown_cluster, lambda: cluster.kill("worker-000000000000")):
        with pytest.raises(ClusterError, match="where that was done"):
            call()
    cluster.close()
    cluster.close()
    assert repr(cluster) == f"<ConnectedCluster at {url} (closed)>"
    with pytest.raises(ClusterError, match="closed"):
        cluster.mapreduce(DATA, ones, sum).result()
    assert local.mapreduce(DATA, ones, sum).result() == reference(DATA, ones, sum)


def test_what_can_not_be_connected_to_is_said_at_once(new_cluster, auth, tmp_path):
    new_cluster(directory=tmp_path / "cluster", n_workers=0)
    url = f"sqlite://{tmp_path}/cluster"
    with pytest.raises(AuthenticationError, match="wrong password for user"):
        connect(url, Auth("admin", "wrong"))
    with pytest.raises(AuthenticationError, match="eve"):
        connect(url, Auth("eve", "admin"))
    with pytest.raises(ClusterError, match=f"no cluster at sqlite://{tmp_path}/absent"):
        connect(f"sqlite://{tmp_path}/absent", auth)
    assert not (tmp_path / "absent").exists()
    with pytest.raises(ClusterError, match="not a coordination URL; accepted: sqlite:///"):
        connect(str(tmp_path / "cluster"), auth)
    with pytest.raises(ClusterError, match=r"within 1.* s: 127.0.0.1:1 can't be reached"):
        connect("zookeeper://127.0.0.1:1/x", auth)
    with pytest.raises(InvalidArgumentError, match="url"):
        connect("", auth)
    with pytest.raises(AuthenticationError, match="auth must be Auth"):
        connect(url, "admin")


def test_a_cluster_without_a_master_is_waited_for(new_cluster, auth, tmp_path):
    local = new_cluster(directory=tmp_path / "cluster", n_workers=0)
    local.kill(*local.local_monitoring.get_registered_masters()[0])
    with pytest.raises(NoMasterError, match="within 10 s"):
        connect(f"sqlite://{tmp_path}/cluster", auth)


def test_two_clusters_never_share_a_store(by_hand, tmp_path):
    by_hand("master")
    wait_until(lambda: is_there(by_hand.url, Auth("admin", "admin")), "the master has begun")
    for role in ("master", "worker"):
        other = f"sqlite://{tmp_path}/other"
        _, said = by_hand(role, coordination=other).communicate()
        assert f"storage file://{tmp_path}/storage is used by cluster-" in said
        assert by_hand.url in said and other in said
        _, said = by_hand(role, storage=f"file://{tmp_path}/elsewhere").communicate()
        assert f"whose storage is file://{tmp_path}/storage, and not file://{tmp_path}/elsewhere" in said
    assert mapreduce.connect is connect
