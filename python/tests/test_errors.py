"""Every way in which a job can go wrong by its own doing, and what the person is told about it."""

import contextlib
import ctypes
import os
import threading
from pathlib import Path

import pytest
from helpers import outcomes, reference, wait_until

import mapreduce
from mapreduce import Auth, LocalCluster

DATA = list(range(100))


def pairs(data):
    return [(number % 5, number) for number in data]


def fails_on_42(data):
    for number in data:
        if number == 42:
            raise ValueError(f"cannot digest {number}")
        yield number, 1


def map_raises(data):
    return list(fails_on_42(data))


def reduce_raises(values):
    raise LookupError(f"no use for {len(values)} values")


class TestUserExceptions:
    def test_map(self, cluster):
        future = cluster.mapreduce(DATA, map_raises, sum)
        with pytest.raises(mapreduce.JobFailedError) as caught:
            future.result()
        error = caught.value
        assert error.job == future.job_id
        assert error.task.startswith("map/")
        assert "cannot digest 42" in error.traceback
        assert "in map_raises" in error.traceback and "in fails_on_42" in error.traceback
        assert "cannot digest 42" in str(error)
        assert isinstance(error.__cause__, ValueError)
        assert error.__cause__.args == ("cannot digest 42",)

    def test_the_failing_record_is_named(self, cluster):
        future = cluster.mapreduce(DATA, fails_on_42, sum)
        with pytest.raises(mapreduce.JobFailedError) as caught:
            future.result()
        assert caught.value.record == "42"

    def test_reduce(self, cluster):
        future = cluster.mapreduce(DATA, pairs, reduce_raises)
        with pytest.raises(mapreduce.JobFailedError) as caught:
            future.result()
        assert caught.value.task.startswith("reduce/")
        assert "no use for 20 values" in str(caught.value)
        assert caught.value.record in {"0", "1", "2", "3", "4"}
        assert isinstance(caught.value.__cause__, LookupError)

    def test_an_exception_that_cannot_be_pickled(self, cluster):
        def map_func(data):
            class Local(Exception):
                def __reduce__(self):
                    raise TypeError("not me")

            raise Local("still told")

        with pytest.raises(mapreduce.JobFailedError, match="still told"):
            cluster.mapreduce(DATA, map_func, sum).result()

    def test_it_is_reported_at_once_unless_retries_are_asked_for(self, cluster):
        future = cluster.mapreduce([1], map_func=lambda data: 1 / 0, reduce_func=sum)
        assert isinstance(future.exception(), mapreduce.JobFailedError)
        assert outcomes(cluster, future) == ["failed"]

        future = cluster.mapreduce([1], lambda data: 1 / 0, sum, retry_exceptions=True, max_attempts=3)
        assert isinstance(future.exception(), mapreduce.JobFailedError)
        assert outcomes(cluster, future) == ["failed"] * 3


class TestSubmission:
    """What can be known before anything runs is raised by `mapreduce` itself."""

    def test_functions_that_cannot_be_pickled(self, cluster):
        lock = threading.Lock()

        def map_func(data):
            with lock:
                return [(1, 1)]

        with pytest.raises(mapreduce.SerializationError, match="map_func"):
            cluster.mapreduce(DATA, map_func, sum)

    def test_data_that_cannot_be_pickled(self, cluster):
        with pytest.raises(mapreduce.SerializationError, match="record 1"):
            cluster.mapreduce([1, threading.Lock()], pairs, sum)

    def test_data_that_cannot_be_iterated(self, cluster):
        with pytest.raises(mapreduce.InvalidArgumentError, match="data"):
            cluster.mapreduce(5, pairs, sum)

    def test_functions_that_are_none(self, cluster):
        with pytest.raises(mapreduce.InvalidArgumentError, match="map_func"):
            cluster.mapreduce(DATA, None, sum)
        with pytest.raises(mapreduce.InvalidArgumentError, match="reduce_func"):
            cluster.mapreduce(DATA, pairs, 5)

    def test_an_iterator_that_raises(self, cluster):
        def records():
            yield 1
            raise OSError("the file is gone")

        with pytest.raises(OSError, match="the file is gone"):
            cluster.mapreduce(records(), pairs, sum).result()

    def test_an_iterator_that_raises_while_what_it_gave_is_uploaded(self, cluster):
        """Objects of 4 MiB are written while the next records are taken; none may appear when all was removed."""

        def records():
            yield os.urandom(5 << 20)
            raise OSError("the file is gone")

        jobs = Path(cluster.directory, "storage", "jobs")
        cluster.mapreduce(DATA, pairs, sum).result()
        before = sorted(jobs.iterdir())
        for _ in range(5):
            with pytest.raises(OSError, match="the file is gone"):
                cluster.mapreduce(records(), pairs, sum).result()
        assert sorted(jobs.iterdir()) == before

    @pytest.mark.parametrize("number", [0, -1, 1.5, "two", True])
    def test_bad_requested_n_workers(self, cluster, number):
        with pytest.raises(mapreduce.InvalidArgumentError, match="requested_n_workers"):
            cluster.mapreduce(DATA, pairs, sum, requested_n_workers=number)


class TestCluster:
    def test_unknown_user_and_wrong_password(self, home):
        for username, password in [("nobody", "admin"), ("admin", "wrong")]:
            auth = Auth(username, password)
            assert not auth.is_authenticated()
            with pytest.raises(mapreduce.AuthenticationError):
                LocalCluster(auth=auth, n_workers=1, n_masters=1)

    @pytest.mark.parametrize("numbers", [{"n_workers": -1}, {"n_masters": -1}, {"n_workers": 1.5}, {"n_masters": "2"}])
    def test_bad_numbers(self, auth, cluster, numbers):
        (name,) = numbers
        with pytest.raises(mapreduce.InvalidArgumentError, match=name):
            LocalCluster(auth=auth, **{"n_workers": 1, "n_masters": 1, **numbers})
        with pytest.raises(mapreduce.InvalidArgumentError, match=name):
            cluster.scale(**numbers)

    def test_an_unknown_job(self, cluster):
        for name in ["job_999999", "nonsense"]:
            with pytest.raises(mapreduce.InvalidArgumentError, match=name):
                cluster.attach(name).result()

    def test_an_unknown_process(self, cluster):
        with pytest.raises(mapreduce.InvalidArgumentError, match="worker-000000000000"):
            cluster.kill("worker-000000000000")

    def test_use_after_shutdown(self, new_cluster):
        cluster = new_cluster()
        cluster.shutdown_cluster(cleanup=True)
        with pytest.raises(mapreduce.MapReduceError, match="shut down"):
            cluster.mapreduce(DATA, pairs, sum)


class TestWhatMapReturns:
    @pytest.mark.parametrize("returned", [None, 7, [1, 2], [(1, 2, 3)], ["abc"], [("a", 1), ("b",)]])
    def test_not_pairs(self, cluster, returned):
        future = cluster.mapreduce([1], lambda data: returned, sum)
        with pytest.raises(mapreduce.JobFailedError, match="pair"):
            future.result()

    @pytest.mark.parametrize("make_key", [lambda: float("nan"), lambda: ("a", float("nan")), lambda: [1], object])
    def test_keys_without_faithful_encoding(self, cluster, make_key):
        future = cluster.mapreduce([1], lambda data: [(make_key(), 1)], sum)
        with pytest.raises(mapreduce.JobFailedError, match="key"):
            future.result()

    def test_a_value_that_cannot_be_pickled(self, cluster):
        future = cluster.mapreduce([1], lambda data: [(1, threading.Lock())], list)
        with pytest.raises(mapreduce.JobFailedError, match="pickle"):
            future.result()

    def test_a_result_that_cannot_be_pickled(self, cluster):
        future = cluster.mapreduce([1], pairs, lambda values: threading.Lock())
        with pytest.raises(mapreduce.JobFailedError, match="pickle"):
            future.result()


def exits(data):
    os._exit(3)


def leaves(data):
    raise SystemExit(3)


def segfaults(data):
    ctypes.string_at(0)


def hoards(data):
    return [(1, len(bytearray(1 << 40)))]


class TestExecutorDeaths:
    @pytest.mark.parametrize(
        ("map_func", "words"),
        [(exits, "exit"), (segfaults, "signal 11|SIGSEGV|segmentation"), (hoards, "memory|Memory")],
    )
    def test_it_is_typed_and_retried_within_the_budget(self, cluster, map_func, words):
        future = cluster.mapreduce([1], map_func, sum, max_attempts=2)
        with pytest.raises(mapreduce.JobFailedError, match=words):
            future.result()
        assert outcomes(cluster, future) == ["failed", "failed"]

    def test_sys_exit_in_a_map_function(self, cluster):
        future = cluster.mapreduce([1], leaves, sum)
        with pytest.raises(mapreduce.JobFailedError, match=r"SystemExit|exit"):
            future.result()

    def test_a_death_within_the_budget_is_survived(self, cluster, tmp_path):
        def dies_once(data):
            with contextlib.suppress(FileExistsError):
                (tmp_path / "died").touch(exist_ok=False)
                os._exit(1)
            return [(1, number) for number in data]

        future = cluster.mapreduce([1, 2, 3], dies_once, sum, max_attempts=2)
        assert future.result() == [(1, 6)]
        assert outcomes(cluster, future).count("failed") == 1

    def test_a_task_over_its_time_is_stopped(self, cluster):
        def sleeps(data):
            threading.Event().wait()

        future = cluster.mapreduce([1], sleeps, sum, task_timeout=0.2, max_attempts=2)
        with pytest.raises(mapreduce.JobFailedError, match=r"0\.2|200"):
            future.result()
        assert outcomes(cluster, future) == ["failed", "failed"]


def test_a_failing_job_does_not_disturb_another(cluster, tmp_path):
    """One job runs throughout, while others raise, exit and crash beside it, on the same workers."""
    gate = tmp_path / "gate"

    def waits(data):
        wait_until(gate.exists, "the gate opens")
        return pairs(data)

    steady = cluster.mapreduce(DATA, waits, sum, requested_n_workers=1)
    for map_func in (map_raises, exits, segfaults):
        assert isinstance(cluster.mapreduce(DATA, map_func, sum, max_attempts=2).exception(), mapreduce.JobFailedError)
    gate.touch()
    assert steady.result() == reference(DATA, pairs, sum)
    assert set(outcomes(cluster, steady)) == {"committed"}
