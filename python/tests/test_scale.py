"""How many workers and masters there are, how many serve one job, and changes of that while jobs run."""

import time

import pytest
from audit import Finished, check_history
from helpers import outcomes, reference, wait_until
from slow_jobs import slow_map

from mapreduce import LocalCluster

NUMBERS = list(range(60))
EXPECTED = reference(NUMBERS, slow_map, sum)


def most_workers_at_once(attempts):
    """The highest number of different workers that ran attempts at the same moment."""
    return max(
        len({other.worker for other in attempts if other.launched_at_ms <= moment < other.ended_at_ms})
        for moment in {attempt.launched_at_ms for attempt in attempts}
    )


@pytest.fixture(scope="module")
def large(auth):
    with LocalCluster(auth=auth, n_workers=10, n_masters=3) as cluster:
        yield cluster


@pytest.mark.parametrize("requested", [1, 2, 3])
def test_requested_n_workers_is_never_exceeded(large, requested):
    future = large.mapreduce(NUMBERS, slow_map, sum, requested_n_workers=requested)
    assert future.result() == EXPECTED
    assert 1 <= most_workers_at_once(large.local_monitoring.history(future.job_id)) <= requested


def test_all_workers_serve_a_job_that_asks_for_no_number(large):
    future = large.mapreduce(NUMBERS * 4, slow_map, sum)
    assert future.result() == reference(NUMBERS * 4, slow_map, sum)
    assert len({attempt.worker for attempt in large.local_monitoring.history(future.job_id)}) == 10


def test_ten_jobs_at_once_run_side_by_side(large):
    """Every job has begun before any has ended, and none has more workers than it asked for."""
    futures = [large.mapreduce(NUMBERS * 4, slow_map, sum, requested_n_workers=2) for _ in range(10)]
    expected = reference(NUMBERS * 4, slow_map, sum)
    assert [future.result() for future in futures] == [expected] * 10
    histories = [large.local_monitoring.history(future.job_id) for future in futures]
    began = [min(attempt.launched_at_ms for attempt in history) for history in histories]
    ended = [max(attempt.ended_at_ms for attempt in history) for history in histories]
    assert max(began) < min(ended)
    assert all(most_workers_at_once(history) <= 2 for history in histories)


def registered(cluster):
    monitoring = cluster.local_monitoring
    return monitoring.get_registered_workers()[1], monitoring.get_registered_masters()[1]


def test_scale_up_and_down_while_a_job_runs(new_cluster):
    cluster = new_cluster(n_workers=1, n_masters=1)
    assert registered(cluster) == (1, 1)
    future = cluster.mapreduce(NUMBERS * 2, slow_map, sum)
    wait_until(lambda: future.progress().map_done >= 5, "some tasks are finished")
    for n_workers, n_masters in [(4, None), (None, 3), (2, 1), (1, 2)]:
        before = registered(cluster)
        moment = Finished(cluster, future.job_id)
        cluster.scale(n_workers=n_workers, n_masters=n_masters)
        wanted = (n_workers or before[0], n_masters or before[1])
        wait_until(lambda wanted=wanted: registered(cluster) == wanted, f"{wanted} workers and masters")
        moment.check_none_ran_again()
    assert future.result() == reference(NUMBERS * 2, slow_map, sum)
    check_history(cluster, future.job_id)


def test_scaling_down_lets_running_tasks_finish(new_cluster, tmp_path):
    cluster = new_cluster(n_workers=3)

    def map_func(data):
        (tmp_path / str(data[0])).touch()
        time.sleep(1)
        return [(number, 1) for number in data]

    future = cluster.mapreduce(range(3), map_func, sum)
    # The history tells of a launch before its worker does.
    wait_until(lambda: len(list(tmp_path.iterdir())) == 3, "every worker runs a task")
    cluster.scale(n_workers=1)
    assert registered(cluster)[0] == 1
    assert future.result() == [(0, 1), (1, 1), (2, 1)]
    attempts = [a for a in cluster.local_monitoring.history(future.job_id) if a.task.startswith("map/")]
    assert [attempt.outcome for attempt in attempts] == ["committed"] * 3
    assert len({attempt.worker for attempt in attempts}) == 3


def test_a_task_that_outlives_the_grace_period_runs_elsewhere(new_cluster, tmp_path):
    cluster = new_cluster(n_workers=2, grace_ms=100)
    gate = tmp_path / "gate"

    def map_func(data):
        while not gate.exists():
            time.sleep(0.005)
        return [(number, 1) for number in data]

    future = cluster.mapreduce(range(2), map_func, sum, max_attempts=1)
    wait_until(lambda: outcomes(cluster, future) == ["running"] * 2, "both workers run a task")
    cluster.scale(n_workers=1)
    wait_until(lambda: registered(cluster)[0] == 1, "one worker is left")
    gate.touch()
    assert future.result() == [(0, 1), (1, 1)]
    check_history(cluster, future.job_id)


def test_no_task_waits_behind_a_long_one_while_a_worker_is_free(new_cluster, tmp_path):
    """The first task ends when all others have: one that had been handed out behind it must run elsewhere."""
    n_tasks = 12

    def map_func(data):
        def wait_for_the_others():
            deadline = time.monotonic() + 60
            while len(list(tmp_path.iterdir())) < n_tasks - 1:
                assert time.monotonic() < deadline, "a task is not run"
                time.sleep(0.005)

        for number in data:
            if number == 0:
                wait_for_the_others()
            else:
                (tmp_path / str(number)).touch()
            yield number, 1

    cluster = new_cluster(n_workers=2)
    future = cluster.mapreduce(range(n_tasks), map_func, sum, split_records=1)
    assert future.result() == [(number, 1) for number in range(n_tasks)]
    check_history(cluster, future.job_id)
    # What was given back is no failure.
    attempts = cluster.local_monitoring.history(future.job_id)
    assert {attempt.outcome for attempt in attempts} <= {"committed", "stopped"}
