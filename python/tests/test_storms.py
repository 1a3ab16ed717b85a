"""Storms: processes die with SIGKILL at random moments, and every promise is checked afterwards.

A storm is drawn from a seed, which is part of the test's name; `MAPREDUCE_SEED=<seed> pytest test_storms.py`
replays one. What the seed can't fix is how the kernel schedules the processes, so a replay repeats what is
killed and after how much progress, not every interleaving.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
from audit import Finished, check_history, whole_files
from helpers import job_of, reference, seeds, wait_until
from slow_jobs import DATA, N_TASKS, map_func, reduce_func
from storms.storm import Report, play

LEASE_MS = 500
EXPECTED = dict(reference(DATA, map_func, reduce_func))

CLIENT = """if True:
    import sys, mapreduce
    sys.path.insert(0, sys.argv[2])
    from slow_jobs import DATA, map_func, reduce_func
    auth = mapreduce.Auth("admin", "admin")
    cluster = mapreduce.LocalCluster(auth, initialize=False, directory=sys.argv[1])
    future = cluster.mapreduce(DATA, map_func, reduce_func, split_records=4, n_partitions=6)
    while future.progress().phase == "upload":
        pass
    print(future.job_id, flush=True)
    future.result()
"""


@pytest.mark.parametrize("seed", seeds(24))
def test_storm(auth, tmp_path, seed):
    print(f"MAPREDUCE_SEED={seed}, or: make storm RUNS=1 SEED={seed}")
    play(Report(seed), auth, tmp_path)


@pytest.fixture
def slow_job(new_cluster, tmp_path):
    """A cluster with short leases, and a job on it of which a third is finished."""
    cluster = new_cluster(directory=tmp_path / "cluster", n_workers=2, n_masters=2, lease_ms=LEASE_MS)
    future = cluster.mapreduce(DATA, map_func, reduce_func, split_records=4)
    wait_until(lambda: future.progress().map_done >= N_TASKS // 3, "a third of the tasks is finished")
    return cluster, future


def check(cluster, future, *moments):
    assert dict(future.result()) == EXPECTED
    check_history(cluster, future.job_id)
    for moment in moments:
        moment.check_none_ran_again()


def alive(cluster):
    """The ids of the processes that are taken for alive."""
    state = cluster.local_monitoring.state()
    return {process.id for process in state.masters + state.workers}


def stop(cluster, *ids):
    """Stops processes until the others take them for dead; gives their process ids."""
    state = cluster.local_monitoring.state()
    pids = [process.pid for process in state.masters + state.workers if process.id in ids]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    if alive(cluster) - set(ids):
        wait_until(lambda: not alive(cluster) & set(ids), "their leases ran out")
    else:
        time.sleep(2 * LEASE_MS / 1000)  # nobody is left who could tell
    return pids


def wake(pids):
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("role", ["worker", "owner"])
def test_a_stopped_process_is_replaced_and_harmless_when_it_wakes_up_late(slow_job, role):
    cluster, future = slow_job
    workers, _count = cluster.local_monitoring.get_registered_workers()
    victim = workers[0] if role == "worker" else job_of(cluster, future.job_id).owner
    pids = stop(cluster, victim)
    result = future.result()
    wake(pids)
    check(cluster, future)
    assert cluster.attach(future.job_id).result() == result


@pytest.mark.parametrize("role", ["worker", "owner", "everything"])
def test_a_stopped_process_is_harmless_when_it_wakes_up_in_the_middle(slow_job, role):
    cluster, future = slow_job
    state = cluster.local_monitoring.state()
    victims = {
        "worker": [state.workers[0].id],
        "owner": [job_of(cluster, future.job_id).owner],
        "everything": [process.id for process in state.workers + state.masters],
    }
    pids = stop(cluster, *victims[role])
    moment = Finished(cluster, future.job_id)
    wake(pids)
    check(cluster, future, moment)


def test_without_masters_a_job_waits(slow_job):
    cluster, future = slow_job
    cluster.kill(*cluster.local_monitoring.get_registered_masters()[0])
    moment = Finished(cluster, future.job_id)
    assert not future.done()
    cluster.local_monitoring.print_zoo()  # works with no master alive
    cluster.scale(n_masters=1)
    check(cluster, future, moment)


def test_without_workers_a_job_waits(slow_job):
    cluster, future = slow_job
    cluster.kill(*cluster.local_monitoring.get_registered_workers()[0])
    moment = Finished(cluster, future.job_id)
    assert not future.done()
    cluster.scale(n_workers=1)
    check(cluster, future, moment)


def test_a_job_submitted_without_workers_waits(new_cluster):
    cluster = new_cluster(n_workers=0)
    future = cluster.mapreduce(DATA, map_func, reduce_func, split_records=4)
    wait_until(lambda: future.progress().map_total == N_TASKS, "the job is planned")
    assert not future.done()
    cluster.scale(n_workers=3)
    check(cluster, future)


def test_a_job_submitted_without_masters_waits(new_cluster):
    cluster = new_cluster()
    cluster.kill(*cluster.local_monitoring.get_registered_masters()[0])
    future = cluster.mapreduce(DATA, map_func, reduce_func, split_records=4)
    assert future.progress().phase == "upload"
    cluster.scale(n_masters=2)
    check(cluster, future)


def test_a_new_cluster_in_the_same_directory_carries_on(new_cluster, tmp_path):
    directory = tmp_path / "cluster"
    first = new_cluster(directory=directory)
    job_id = first.mapreduce(DATA, map_func, reduce_func, split_records=4).job_id
    future = first.attach(job_id)
    wait_until(lambda: future.progress().map_done >= N_TASKS // 3, "a third of the tasks is finished")
    first.shutdown_cluster(cleanup=False)

    second = new_cluster(directory=directory, n_workers=0)
    moment = Finished(second, job_id)
    assert len(moment.tasks) >= N_TASKS // 3
    second.scale(n_workers=2)
    check(second, second.attach(job_id), moment)


def test_everything_dies_the_client_too_and_a_new_cluster_carries_on(new_cluster, tmp_path, environment):
    """The client that started the cluster is killed, so everything is; the directory is all that is left."""
    directory = tmp_path / "cluster"
    starts = CLIENT.replace("initialize=False", "n_workers=2, n_masters=2")
    command = [sys.executable, "-c", starts, str(directory), os.path.dirname(__file__)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as client:
        job_id = client.stdout.readline().strip()
        markers = directory / "storage" / "jobs" / job_id / "commits" / "map"
        wait_until(lambda: len(whole_files(markers)) >= N_TASKS // 3, "a third is finished")
        client.kill()

    cluster = new_cluster(directory=directory, n_workers=0)
    moment = Finished(cluster, job_id)
    assert len(moment.tasks) >= N_TASKS // 3
    cluster.scale(n_workers=3)
    check(cluster, cluster.attach(job_id), moment)
