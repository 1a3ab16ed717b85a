"""The command `mapreduce`, as a person types it."""

import json
import subprocess
import time

import pytest
from helpers import outcomes, wait_until

from mapreduce._program import find_program


@pytest.fixture
def command(cluster, environment):
    """Runs `mapreduce ...` on the module's cluster; gives standard output, or with `fails` what it complains."""

    def run(*arguments, fails=False, env=None):
        line = [find_program(), *arguments, "--directory", str(cluster.directory)]
        done = subprocess.run(line, check=False, capture_output=True, text=True, env=env or environment)
        assert (done.returncode != 0) == fails, done
        assert bool(done.stderr) == fails, done
        return done.stderr if fails else done.stdout

    return run


def pairs(data):
    return [(number % 2, number) for number in data]


def test_jobs_and_status(cluster, command):
    future = cluster.mapreduce(range(8), pairs, sum, requested_n_workers=2)
    future.result()
    (row,) = [line.split() for line in command("jobs").splitlines() if line.startswith(f"{future.job_id} ")]
    assert row[:5] == [future.job_id, "succeeded", "8/8", "2/2", "2"]
    status = command("status", future.job_id)
    assert "succeeded" in status
    assert "8 of 8 tasks" in status
    assert "map/7" in status and "reduce/1" in status


def test_history(cluster, command):
    future = cluster.mapreduce([1], lambda data: 1 / 0, sum, retry_exceptions=True, max_attempts=2)
    assert future.exception() is not None
    rows = [line.split() for line in command("history", future.job_id).splitlines()[1:]]
    assert [(row[0], row[-1]) for row in rows] == [("map/0", "failed")] * 2
    attempts = json.loads(command("history", future.job_id, "--json"))
    assert [attempt["outcome"] for attempt in attempts] == outcomes(cluster, future)
    for attempt, row in zip(attempts, rows, strict=True):
        assert [attempt["task"], attempt["attempt"], attempt["worker"]] == row[:3]
        assert attempt["launched_at_ms"] <= attempt["ended_at_ms"]


def test_cancel(cluster, command, tmp_path):
    gate = tmp_path / "gate"

    def waits(data):
        while not gate.exists():
            time.sleep(0.005)
        return pairs(data)

    future = cluster.mapreduce(range(4), waits, sum)
    wait_until(lambda: outcomes(cluster, future), "a task was launched")
    assert future.job_id in command("cancel", future.job_id)
    wait_until(future.cancelled, "the future of another process knows")
    assert "cancelled" in command("cancel", future.job_id)

    ended = cluster.mapreduce([1], pairs, sum)
    ended.result()
    assert "succeeded" in command("cancel", ended.job_id, fails=True)


def test_kill(cluster, command):
    workers, n_workers = cluster.local_monitoring.get_registered_workers()
    command("kill", workers[0])
    wait_until(lambda: workers[0] not in cluster.local_monitoring.get_registered_workers()[0], "it is gone")
    assert workers[0] in command("kill", workers[0], fails=True)
    cluster.scale(n_workers=n_workers)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["status", "job_999999"], "job_999999"),
        (["history", "job_999999"], "job_999999"),
        (["cancel", "job_999999"], "job_999999"),
        (["status", "seven"], "job_7"),
        (["kill", "worker-000000000000"], "worker-000000000000"),
        (["kill", "me"], "worker-0123456789ab"),
        (["kill"], "ID"),
        (["jobs", "--username", "nobody"], "nobody"),
        (["dance"], "dance"),
    ],
)
def test_mistakes(command, arguments, complaint):
    assert complaint in command(*arguments, fails=True)


def test_a_wrong_password(command, environment):
    wrong = {**environment, "MAPREDUCE_PASSWORD": "wrong"}
    for arguments in (["jobs"], ["status", "job_1"], ["history", "job_1"], ["cancel", "job_1"]):
        assert "password" in command(*arguments, fails=True, env=wrong)


def test_a_directory_without_a_cluster(environment, tmp_path):
    for directory in (tmp_path, tmp_path / "nowhere"):
        line = [find_program(), "jobs", "--directory", str(directory)]
        done = subprocess.run(line, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode != 0
        assert str(directory) in done.stderr
        assert not list(tmp_path.iterdir()), "looking makes nothing"
