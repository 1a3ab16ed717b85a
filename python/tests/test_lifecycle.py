"""Clusters begin and end, whatever becomes of their clients, and leave nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from helpers import processes_of, reference, run_python, wait_until

import mapreduce
from mapreduce import LocalCluster

START = """
import mapreduce, sys, time, os, signal
auth = mapreduce.Auth("admin", "admin")
def cluster_of(**options):
    return mapreduce.LocalCluster(auth, n_workers=2, n_masters=2, **options)
"""


def pairs(data):
    return [(number % 3, number) for number in data]


@pytest.fixture
def private(tmp_path, environment):
    """A home and a directory for temporary files that only one test's subprocesses use."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    return home, temporary, {**environment, "MAPREDUCE_HOME": str(home), "TMPDIR": str(temporary)}


def start(private, script, **options):
    command = [sys.executable, "-c", START + textwrap.dedent(script)]
    return subprocess.Popen(
        command, env=private[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def assert_nothing_is_left(private):
    home, temporary, _environment = private
    wait_until(lambda: not processes_of(home), "every process has ended")
    wait_until(lambda: not list(temporary.iterdir()), "every temporary file is gone")


def test_shutdown_leaves_nothing(private):
    client = start(
        private,
        """
        cluster = cluster_of()
        assert cluster.mapreduce([1], lambda data: [(1, 1)], sum).result() == [(1, 1)]
        cluster.shutdown_cluster(cleanup=True)
        print(cluster.directory.exists())
        sys.stdout.flush()
        sys.stdin.read()
        """,
        stdin=subprocess.PIPE,
    )
    assert client.stdout.readline() == "False\n"
    wait_until(lambda: processes_of(private[0]) == [client.pid], "only the client is left")
    assert client.communicate()[1] == ""
    assert_nothing_is_left(private)


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise RuntimeError", "del cluster; import gc; gc.collect()"])
def test_a_client_that_ends_without_shutdown_leaves_nothing(private, end):
    work = "cluster = cluster_of()\ncluster.mapreduce([1], lambda data: [(1, 1)], sum).result()\n"
    client = start(private, work + end)
    client.communicate()
    assert client.returncode == {"": 0, "sys.exit(3)": 3, "raise RuntimeError": 1}.get(end, 0)
    assert_nothing_is_left(private)


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_client_leaves_nothing(private, kill):
    client = start(
        private,
        """
        cluster = cluster_of()
        future = cluster.mapreduce(range(100), lambda data: time.sleep(60), sum)
        def running():
            jobs = cluster.local_monitoring.state().jobs
            return [task for job in jobs for task in job.tasks if task.state == "running"]
        while len(running()) < 2:
            time.sleep(0.01)
        print("running", flush=True)
        future.result()
        """,
    )
    assert client.stdout.readline() == "running\n"
    assert len(processes_of(private[0])) > 4
    client.send_signal(kill)
    client.communicate()
    assert_nothing_is_left(private)


def test_ctrl_c_ends_the_wait_and_the_cluster(private):
    client = start(
        private,
        """
        with cluster_of() as cluster:
            future = cluster.mapreduce(range(100), lambda data: time.sleep(60), sum)
            try:
                print("waiting", flush=True)
                future.result()
            except KeyboardInterrupt:
                # The cluster is not disturbed: it has a session of its own.
                print(len(cluster.local_monitoring.state().workers), future.done(), flush=True)
                raise
        """,
        start_new_session=True,
    )
    assert client.stdout.readline() == "waiting\n"
    os.killpg(client.pid, signal.SIGINT)  # as a terminal does
    output, errors = client.communicate()
    assert output == "2 False\n", errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert client.returncode == -signal.SIGINT
    assert_nothing_is_left(private)


def test_keep_alive_outlives_its_client(private, tmp_path):
    directory = tmp_path / "cluster"
    client = start(
        private,
        f"""
        cluster = cluster_of(directory={str(directory)!r}, keep_alive=True)
        print(cluster.mapreduce(range(9), lambda data: [(n % 3, n) for n in data], sum).job_id, flush=True)
        time.sleep(600)
        """,
    )
    job_id = client.stdout.readline().strip()
    client.kill()
    client.communicate()
    assert len(processes_of(private[0])) > 4

    second = start(
        private,
        f"""
        cluster = mapreduce.LocalCluster(auth, initialize=False, directory={str(directory)!r})
        print(cluster.attach({job_id!r}).result())
        cluster.shutdown_cluster(cleanup=True)
        """,
    )
    output, errors = second.communicate()
    assert errors == ""
    assert output == f"{reference(range(9), pairs, sum)}\n"
    assert_nothing_is_left(private)
    assert not directory.exists() or not list(directory.iterdir())


def test_a_job_submitted_by_a_client_that_was_killed_is_attached_to(new_cluster, tmp_path, environment):
    cluster = new_cluster(directory=tmp_path / "cluster", n_workers=0)
    script = f"""
        cluster = mapreduce.LocalCluster(auth, initialize=False, directory={str(cluster.directory)!r})
        future = cluster.mapreduce(range(9), lambda data: [(n % 3, n) for n in data], sum)
        while future.progress().phase == "upload":
            time.sleep(0.01)
        print(future.job_id, flush=True)
        future.result()
    """
    client = start((None, None, environment), script)
    job_id = client.stdout.readline().strip()
    client.kill()
    client.communicate()
    cluster.scale(n_workers=2)
    assert cluster.attach(job_id).result() == reference(range(9), pairs, sum)


def test_leaving_a_with_block_shuts_down_and_keeps_a_given_directory(auth, tmp_path):
    with LocalCluster(auth, n_workers=1, n_masters=1) as cluster:
        assert cluster.directory.exists()
    assert not cluster.directory.exists()
    with LocalCluster(auth, n_workers=1, n_masters=1, directory=tmp_path) as cluster:
        job_id = cluster.mapreduce([1], pairs, sum).job_id
        assert cluster.attach(job_id).result() == [(1, 1)]
    with LocalCluster(auth, n_workers=1, n_masters=1, directory=tmp_path) as cluster:
        assert cluster.attach(job_id).result() == [(1, 1)]
        cluster.shutdown_cluster(cleanup=True)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_shutting_down_twice_does_nothing(new_cluster):
    cluster = new_cluster()
    cluster.shutdown_cluster(cleanup=True)
    cluster.shutdown_cluster(cleanup=True)


def test_a_future_of_a_cluster_that_was_shut_down_says_so(new_cluster):
    cluster = new_cluster(n_workers=0)
    future = cluster.mapreduce([1], pairs, sum)
    cluster.shutdown_cluster()
    with pytest.raises(mapreduce.ClusterError, match="shut down"):
        future.result()


def test_one_directory_one_cluster(new_cluster, tmp_path):
    new_cluster(directory=tmp_path)
    with pytest.raises(mapreduce.ClusterError, match="already"):
        new_cluster(directory=tmp_path)


def test_two_clusters_do_not_disturb_each_other(new_cluster):
    first, second = new_cluster(), new_cluster()
    assert first.directory != second.directory
    ids = [set(c.local_monitoring.get_registered_workers()[0]) for c in (first, second)]
    assert not ids[0] & ids[1]
    futures = [c.mapreduce(range(90), pairs, sum) for c in (first, second) for _ in range(2)]
    second.kill(*second.local_monitoring.get_registered_masters()[0])
    assert [future.result() for future in futures[:2]] == [reference(range(90), pairs, sum)] * 2
    first.shutdown_cluster(cleanup=True)
    second.scale(n_masters=1)
    assert [future.result() for future in futures[2:]] == [reference(range(90), pairs, sum)] * 2


def test_listening_on_loopback_only(cluster):
    """No process of the cluster has a TCP socket that another machine could reach."""
    inodes = set()
    for process in cluster.local_monitoring.state().masters + cluster.local_monitoring.state().workers:
        for descriptor in os.scandir(f"/proc/{process.pid}/fd"):
            try:
                target = os.readlink(descriptor.path)
            except FileNotFoundError:
                continue  # closed since it was listed
            if target.startswith("socket:["):
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    listening = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}") as rows:
            for row in list(rows)[1:]:
                fields = row.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    listening.append(fields[1].partition(":")[0])
    assert listening, "masters listen"
    assert set(listening) == {"0100007F"}


def test_the_script_of_the_readme(private):
    """Word for word, with data before it and the storm where its comment is."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    script = readme.partition("```python\n")[2].partition("```")[0]
    # Enough that the storm mostly comes in the midst of it. A job that nobody has taken yet has no owner, nor has one
    # that is over.
    data = "data = ['abc', 'ab', 'a'] * 500_000\n"
    storm = """
state = cluster.local_monitoring.state()
owner = next((job.owner for job in state.jobs if job.owner), state.masters[0].id)
cluster.kill(*[worker.id for worker in state.workers], owner)
"""
    for at, instead in [
        ("# every worker and the owning master die here\n", storm),
        ("future.result() ", "print(future.result()) "),
    ]:
        assert script.count(at) == 1
        script = script.replace(at, instead)
    path = private[0] / "script.py"
    path.write_text(data + script)
    output = run_python(path, env=private[2])
    assert "[('a', 1500000), ('b', 1000000), ('c', 500000)]" in output
    assert "MASTERS" in output
    assert_nothing_is_left(private)


def test_what_is_left_of_a_temporary_cluster_is_not_carried_on(auth, tmp_path):
    """Nothing in it was synced, so after a crash of the machine anything might be missing."""
    with LocalCluster(auth, n_workers=1, n_masters=1) as cluster:
        assert cluster.mapreduce([1], lambda data: [(1, 1)], sum).result() == [(1, 1)]
        of_processes = shutil.ignore_patterns("*.sock", "sessions")
        left = shutil.copytree(cluster.directory, tmp_path / "left", ignore=of_processes)
    with pytest.raises(mapreduce.ClusterError, match="another cluster's temporary directory"):
        LocalCluster(auth, directory=left)
