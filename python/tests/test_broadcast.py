"""Values that all tasks read: sent once a job, fetched once a machine, loaded once a process."""

import functools
import os
import threading
from pathlib import Path

import pytest
from helpers import wait_until

import mapreduce
from mapreduce import JobFailedError, SerializationError, UserCodeError

WORDS = ["to", "be", "or", "not", "to", "be"]


def side_objects(cluster, job_id):
    """The paths of a job's side inputs in storage."""
    directory = cluster.directory / "storage" / "jobs" / job_id / "side"
    return sorted(directory.iterdir()) if directory.exists() else []


def copies(cluster):
    # Not what a process that was killed had not fetched to its end.
    return sorted((cluster.directory / "scratch").glob("mapreduce-*/mapreduce-side-" + 64 * "[0-9a-f]"))


def test_every_function_may_read_it(cluster):
    numbers = mapreduce.broadcast({"to": 1, "be": 2, "or": 3, "not": 4})
    more = mapreduce.broadcast([100])

    def map_func(words, numbers=numbers):
        return [(word, numbers.value[word]) for word in words]

    def combine_func(values):
        return sum(values) + 0 * more.value[0]

    class Reducer:
        def __init__(self, added):
            self.added = added

        def __call__(self, values):
            return sum(values) + self.added.value[0]

    def partition_func(numbers, key, n):
        return numbers.value[key] % n

    future = cluster.mapreduce(
        WORDS,
        map_func,
        Reducer(more),
        combine_func=combine_func,
        partition_func=functools.partial(partition_func, numbers),
        n_partitions=2,
    )
    assert future.result() == [("be", 104), ("not", 104), ("or", 103), ("to", 102)]
    assert len(side_objects(cluster, future.job_id)) == 2


def test_it_is_the_value_itself_where_it_was_made():
    value = {"a": [1]}
    made = mapreduce.broadcast(value)
    assert made.value is value
    assert repr(made).startswith("<Broadcast ")


class Opened:
    """Tells which file it was loaded from: one that was fetched again would be another."""

    def __init__(self):
        self.content, self.inode = os.urandom(3_000_000), None

    def __setstate__(self, state):
        self.__dict__.update(state)
        descriptors = Path("/proc/self/fd").iterdir()
        (self.inode,) = {fd.stat().st_ino for fd in descriptors if "mapreduce-side-" in os.path.realpath(fd)}


def test_it_is_sent_once_beside_the_code_and_fetched_once_by_the_machine(new_cluster):
    cluster = new_cluster(n_workers=3, slots_per_worker=2)
    large = mapreduce.broadcast(Opened())
    seen = set()
    for _ in range(2):
        future = cluster.mapreduce(
            range(24),
            lambda data: [(large.value.inode, len(large.value.content))],
            lambda lengths: {large.value.inode, *lengths},
            split_records=1,
        )
        ((inode, found),) = future.result()
        assert found == {inode, 3_000_000}
        sizes = dict(cluster.local_monitoring.storage_tree(f"jobs/{future.job_id}/code"))
        assert sum(sizes.values()) < 100_000
        (stored,) = side_objects(cluster, future.job_id)
        (copy,) = copies(cluster)
        assert copy.name == f"mapreduce-side-{stored.name}"
        seen.add((copy, inode))
    assert len(seen) == 1, "the second job finds what the first has fetched"


class Loaded:
    """Tells where it is loaded, by a file for each time."""

    def __init__(self, directory):
        self.directory = directory

    def __setstate__(self, state):
        self.__dict__.update(state)
        Path(self.directory, f"{os.getpid()}.{len(os.listdir(self.directory))}").touch()


def test_it_is_loaded_once_by_each_process_and_only_where_it_is_read(cluster, tmp_path):
    (tmp_path / "read").mkdir()
    (tmp_path / "unread").mkdir()
    read, unread = mapreduce.broadcast(Loaded(tmp_path / "read")), mapreduce.broadcast(Loaded(tmp_path / "unread"))

    def map_func(data):
        assert read.value.directory and read.value is read.value
        return [(n % 5, unread.value if n < 0 else n) for n in data]

    future = cluster.mapreduce(range(60), map_func, sum, split_records=1)
    assert len(future.result()) == 5
    pids = [name.partition(".")[0] for name in os.listdir(tmp_path / "read")]
    assert len(pids) == len(set(pids)) > 0
    assert future.progress().map_total == 60 > len(pids)
    assert os.listdir(tmp_path / "unread") == []


def test_one_of_two_equal_ones_is_not_loaded_where_it_was_made_when_the_other_is_gone(cluster, tmp_path):
    made, other = mapreduce.broadcast(Loaded(tmp_path)), mapreduce.broadcast(Loaded(tmp_path))
    del other
    # The sample is mapped in this process.
    future = cluster.mapreduce([1], lambda data: [(made.value.directory == tmp_path, n) for n in data], sum, sort=True)
    assert future.result() == [(True, 1)]
    pids = {name.partition(".")[0] for name in os.listdir(tmp_path)}
    assert pids
    assert str(os.getpid()) not in pids


def test_what_can_not_be_pickled_is_told_at_once():
    with pytest.raises(SerializationError, match="the value of a broadcast, lock <unlocked"):
        mapreduce.broadcast(threading.Lock())
    with pytest.raises(SerializationError, match="travels with the functions"):
        mapreduce.broadcast([mapreduce.broadcast(1)])


def test_it_travels_with_functions_alone(cluster):
    made = mapreduce.broadcast(1)
    with pytest.raises(SerializationError, match="record 0, a Broadcast, can't be pickled: a broadcast travels with"):
        cluster.mapreduce([made], lambda data: [(1, 1)], sum)
    with pytest.raises(JobFailedError, match="map_func emitted a value of type Broadcast"):
        cluster.mapreduce([1], lambda data: [(1, made)], list).result()


@pytest.fixture
def waiting(new_cluster, tmp_path):
    """A cluster without workers, and a job that waits for them and ignores what goes wrong with its broadcast."""
    cluster = new_cluster(n_workers=0)
    made = mapreduce.broadcast("value")

    def map_func(data):
        try:
            return [(made.value, n) for n in data]
        except Exception:
            return [("ignored", n) for n in data]

    future = cluster.mapreduce([1, 2], map_func, sum, max_attempts=2)
    wait_until(lambda: future.progress().phase != "upload", "the job is submitted")
    (stored,) = side_objects(cluster, future.job_id)
    return cluster, future, stored


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.unlink(), "is not in storage"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged: its digest is not its name"),
    ],
)
def test_a_payload_that_is_lost_or_damaged_fails_the_job_whatever_its_code_makes_of_it(waiting, damage, why):
    cluster, future, stored = waiting
    damage(stored)
    cluster.scale(n_workers=2)
    with pytest.raises(JobFailedError, match=f"side/{stored.name} {why}") as raised:
        future.result()
    assert raised.value.kind == "bad_data"
    assert copies(cluster) == []


def test_without_damage_that_job_has_its_result(waiting):
    cluster, future, _stored = waiting
    cluster.scale(n_workers=1)
    assert future.result() == [("value", 3)]


def test_a_damaged_copy_is_fetched_again(new_cluster):
    cluster = new_cluster(n_workers=1)
    made = mapreduce.broadcast("x" * 1000)
    for _ in range(2):
        assert cluster.mapreduce([1], lambda data: [(made.value, 1)], sum).result() == [("x" * 1000, 1)]
        (copy,) = copies(cluster)
        copy.write_bytes(copy.read_bytes()[:-1] + b"?")


def test_a_value_that_can_not_be_loaded_is_told(cluster):
    class Odd:
        def __reduce__(self):
            return int, ("seven",)

    odd = mapreduce.broadcast(Odd())
    with pytest.raises(UserCodeError, match="the value of a broadcast can't be unpickled: invalid literal") as raised:
        cluster.mapreduce([1], lambda data: [(odd.value, 1)], sum).result()
    assert isinstance(raised.value.__cause__, SerializationError)


def test_clear_removes_it_and_it_can_be_used_again(new_cluster, tmp_path):
    cluster = new_cluster(directory=tmp_path / "cluster", n_workers=1)
    made = mapreduce.broadcast(7)
    first = cluster.mapreduce([1], lambda data: [(made.value, 1)], sum)
    assert first.result() == [(7, 1)]
    assert cluster.clear() == [first.job_id]
    assert side_objects(cluster, first.job_id) == []
    assert cluster.mapreduce([1], lambda data: [(made.value, 1)], sum).result() == [(7, 1)]
    cluster.shutdown_cluster(cleanup=True)
    assert not (tmp_path / "cluster").exists() or not os.listdir(tmp_path / "cluster")


def test_a_job_that_is_not_submitted_leaves_nothing(cluster):
    made = mapreduce.broadcast(b"x" * 1_000_000)

    def records():
        yield 1
        raise OSError("the file is gone")

    future = cluster.mapreduce(records(), lambda data: [(made.value, 1)], sum)
    assert isinstance(future.exception(), OSError)
    assert not (cluster.directory / "storage" / "jobs" / future.job_id).exists()


def test_sort_reads_it_in_this_process(cluster):
    weights = mapreduce.broadcast({n: -n for n in range(100)})
    result = cluster.mapreduce(
        range(100), lambda data: [(weights.value[n], n) for n in data], sum, sort=True, n_partitions=3
    )
    assert result.result() == [(-n, n) for n in reversed(range(100))]
    with pytest.raises(UserCodeError, match="KeyError"):
        cluster.mapreduce([100], lambda data: [(weights.value[n], n) for n in data], sum, sort=True)
