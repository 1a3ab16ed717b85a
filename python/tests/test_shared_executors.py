"""What jobs find of each other in the processes that run them: nothing, unless their code is the same."""

import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest
from helpers import wait_until

from mapreduce import UserCodeError

ROUNDS = 50
"""Rounds in which two jobs may fail to follow each other soon enough, on a machine that has other things to do."""


@pytest.fixture
def cluster(new_cluster):
    """One slot, so that jobs can't miss each other."""
    return new_cluster(n_workers=1)


def pids(data):
    """Who runs this."""
    if "fail" in data:
        raise ValueError(f"as it was told to process {os.getpid()}")
    return [("pid", os.getpid())]


def others_pids(data):
    """The same, by another name."""
    return pids(data)


def run(cluster, map_func=pids):
    ((_, pid),) = cluster.mapreduce(["go"], map_func, max).result()
    return pid


def test_a_job_of_the_same_code_that_follows_soon_needs_no_new_process(cluster):
    assert any(run(cluster) == run(cluster) for _ in range(ROUNDS))


def test_a_job_of_other_code_finds_a_process_of_its_own(cluster):
    seen = [run(cluster, map_func) for _ in range(5) for map_func in (pids, others_pids)]
    assert all(one != other for one, other in pairwise(seen))


def test_a_process_in_which_an_attempt_has_failed_serves_no_other_job(cluster):
    def who_failed():
        job = cluster.mapreduce(["fail"], pids, max)
        with pytest.raises(UserCodeError, match="as it was told to process [0-9]+") as raised:
            job.result()
        return int(str(raised.value.__cause__).rpartition(" ")[2])

    for _ in range(5):
        run(cluster)
        failed = who_failed()
        assert run(cluster) != failed


def test_code_that_nobody_needs_does_not_stay(cluster):
    pid = run(cluster)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone")
    assert run(cluster) != pid


def test_a_process_that_dies_between_two_jobs_is_replaced(cluster):
    for _ in range(3):
        pid = run(cluster)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it had left
        assert run(cluster) != pid
