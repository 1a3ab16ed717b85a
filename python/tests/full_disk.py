"""Jobs on disks that are full for a while: ``python full_disk.py SCENARIO DIRECTORY``.

Run by ``test_full_disk.py``, each scenario in a process that has mounts of its own, so that it can have small disks.
"""

import contextlib
import errno
import io
import logging
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from zlib import crc32

from audit import check_history
from helpers import DEADLINE_S, job_of, outcomes, wait_until

import mapreduce
from mapreduce._program import find_program

FEW_FILES = 5
"""Files and directories on the disk of `publish`: its root, the output, `_temporary`, the job's, and one part."""


class Disk:
    """A small disk, which is gone with the process."""

    def __init__(self, path, **options):
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._n = 0
        self._mount(*(f"{name}={value}" for name, value in options.items()))

    def _mount(self, *options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", self.path], check=True)

    def grow(self, **options):
        self._mount("remount", *(f"{name}={value}" for name, value in options.items()))

    def fill(self):
        """Leaves no room for a byte, from now on: what others remove is filled up again."""
        self._keep_doing(self._fill_with_bytes)

    def fill_with_files(self):
        """Leaves no room for another file, from now on; those that are there may grow."""
        self._keep_doing(self._fill_with_files)

    def make_room(self):
        self._ending.set()
        self._filling.join()
        for ballast in self.path.glob("ballast*"):
            ballast.unlink()

    def _keep_doing(self, fill):
        fill()
        self.fill_again = fill

        def go_on():
            while not self._ending.wait(0.001):
                fill()

        self._ending, self._filling = threading.Event(), threading.Thread(target=go_on, daemon=True)
        self._filling.start()

    def _fill_with_bytes(self):
        chunk = bytes(1 << 20)
        with open(self.path / "ballast", "ab", buffering=0) as ballast:
            while chunk:
                try:
                    ballast.write(chunk)
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error
                    chunk = chunk[: len(chunk) // 2]

    def _fill_with_files(self):
        with contextlib.suppress(OSError):
            while True:
                (self.path / f"ballast-{self._n}").touch()
                self._n += 1


def noise(n):
    """A mebibyte that does not compress."""
    return random.Random(n).randbytes(1 << 20)


def start(directory, **options):
    return mapreduce.LocalCluster(mapreduce.Auth("admin", "admin"), directory=directory, **options)


def listen(look=lambda: None):
    """What this process's user is told from now on; who is told may look at the cluster at once."""
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: look() or told.append(record.getMessage())
    logging.getLogger("mapreduce").addHandler(handler)
    return told


def trouble(future, *words):
    """Waits until somebody who looks is told why the job waits; all of these words are in it."""

    def seen():
        told = future.progress().trouble
        return told if told and all(word in told for word in words) else None

    return wait_until(seen, f"trouble with {words}")


def check_shown(cluster, future, word):
    """The trouble is shown wherever people look."""
    status = [find_program(), "status", future.job_id, "--directory", str(cluster.directory)]
    assert word in wait_until(lambda: shown(status, "waits  "), "status tells that the job waits")
    zoo = io.StringIO()
    with contextlib.redirect_stdout(zoo):
        wait_until(lambda: cluster.local_monitoring.print_zoo() or "JOBS THAT WAIT" in zoo.getvalue(), "so does zoo")
    assert word in zoo.getvalue()


def shown(command, beginning):
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return next((line for line in lines if line.startswith(beginning)), None)


def scratch(directory):
    """The disk for what does not fit into memory is full, and there is a budget of one failure for each task."""
    disk = Disk(directory / "cluster" / "scratch", size="64m")
    disk.fill()

    def map_func(data):
        for n in data:
            yield n % 3, noise(n)

    with start(directory / "cluster", n_workers=2, n_masters=1, memory_bytes_max=128 << 20) as cluster:
        # The buffers take 16 MiB of those.
        future = cluster.mapreduce(
            range(60), map_func, lambda values: sum(map(crc32, values)), max_attempts=1, split_records=30, batch_size=1
        )
        trouble(future, "map/", "worker-", "scratch space in", "No space left")
        check_shown(cluster, future, "scratch space in")
        logs = (directory / "cluster" / "logs").glob("worker-*.log")
        assert "scratch space in" in "".join(log.read_text() for log in logs)
        assert not future.done()
        disk.make_room()
        expected = [(key, sum(crc32(noise(n)) for n in range(60) if n % 3 == key)) for key in range(3)]
        assert future.result() == expected
        assert future.progress().trouble is None
        assert "failed" in outcomes(cluster, future)
        check_history(cluster, future.job_id)


def expected(numbers):
    return [(key, [crc32(noise(n)) for n in numbers if n % 3 == key]) for key in range(3)]


def reduce_func(values):
    return [crc32(value) for value in values]


def storage(directory, fill="fill"):
    """Everything that the cluster has is on a disk that gets full while tasks run."""
    home = directory / "cluster"
    disk = Disk(home, size="96m", nr_inodes=2000)
    gate = directory / "gate"

    def map_func(data):
        wait_until(gate.exists, "the gate opens")
        for n in data:
            print("a line for the log, which is on the full disk, too", "." * 10_000, flush=True)
            yield n % 3, noise(n)

    with start(home, n_workers=2, n_masters=2) as cluster:
        future = cluster.mapreduce(range(12), map_func, reduce_func, max_attempts=1, split_records=3)
        wait_until(lambda: outcomes(cluster, future).count("running") >= 2, "tasks run")
        getattr(disk, fill)()
        gate.touch()
        trouble(future, str(home))
        check_shown(cluster, future, str(home))
        assert not future.done()
        disk.make_room()
        assert future.result() == expected(range(12))
        check_history(cluster, future.job_id)
        objects = cluster.local_monitoring.storage_tree(f"jobs/{future.job_id}/attempts")
        # What reduce tasks give is so small that it is in their markers.
        assert len(objects) == future.progress().map_total, "only what won is there"


def files(directory):
    """The same, and the disk has no room for another file."""
    storage(directory, "fill_with_files")


def coordination(directory):
    """Nobody can write down who owns a job when its owner dies, nor give a new job an id."""
    home = directory / "cluster"
    disk = Disk(home, size="64m")
    gate = directory / "gate"

    def map_func(data):
        wait_until(gate.exists, "the gate opens")
        return [(n % 3, noise(n)) for n in data]

    with start(home, n_workers=2, n_masters=2) as cluster:
        first = cluster.mapreduce(range(4), map_func, reduce_func, max_attempts=1, split_records=2)
        wait_until(lambda: outcomes(cluster, first).count("running") >= 2, "tasks run")
        disk.fill()
        cluster.kill(job_of(cluster, first.job_id).owner)
        disk.fill_again()
        progress = []
        told = listen(lambda: progress.append(first.progress()))
        second = cluster.mapreduce(iter(range(4, 8)), map_func, reduce_func)
        wait_until(lambda: told, "the client says that it waits")
        assert all("a new job waits" in text and "full" in text for text in told), told
        assert progress[0].phase == "map"
        assert job_of(cluster, first.job_id).epoch == 1, "it could not be taken over"
        trouble(first, str(home))
        disk.make_room()
        gate.touch()
        assert first.result() == expected(range(4))
        assert second.result() == expected(range(4, 8))
        assert job_of(cluster, first.job_id).epoch == 2
        check_history(cluster, first.job_id)
        check_history(cluster, second.job_id)


def failing_records():
    yield 1
    raise LookupError


def upload(directory):
    """Storage is full before the job is there: its upload waits, and says so, unless its data fail."""
    told = listen()
    disk = Disk(directory / "cluster" / "storage", size="16m")
    with start(directory / "cluster", n_workers=1, n_masters=1) as cluster:
        disk.fill()
        numbers = iter(range(20_000))  # too many for the job's specification
        future = cluster.mapreduce(numbers, lambda data: [(n % 2, n) for n in data], sum)
        wait_until(lambda: told, "the client says that it waits")
        assert all("waits to be uploaded" in text and "storage is full" in text for text in told), told
        assert future.progress().phase == "upload"
        large = mapreduce.broadcast(noise(0))
        failing = cluster.mapreduce(failing_records(), lambda data: [(large.value, n) for n in data], sum)
        assert isinstance(failing.exception(DEADLINE_S), LookupError)
        disk.make_room()
        assert future.result() == [(0, sum(range(0, 20_000, 2))), (1, sum(range(1, 20_000, 2)))]


def output(directory):
    """The disk that the results are written to is full. What is there of a result is taken away."""
    disk = Disk(directory / "out", size="16m")
    (disk.path / "ballast").write_bytes(bytes(15 << 20))
    lines = [f"{n:09}" for n in range(200_000)]
    with start(directory / "cluster", n_workers=2, n_masters=1) as cluster:
        future = cluster.mapreduce(
            lines,
            lambda data: [(line, None) for line in data],
            lambda values: None,
            output=mapreduce.write_text(disk.path / "result"),
            n_partitions=1,
            max_attempts=1,
        )
        trouble(future, "reduce/0", "_temporary", "No space left")
        check_shown(cluster, future, "No space left")
        (parts,) = (disk.path / "result" / "_temporary").iterdir()
        wait_until(lambda: not list(parts.iterdir()), "no attempt leaves what it could not complete")
        (disk.path / "ballast").unlink()
        (part,) = future.result()
        assert Path(part).read_text().splitlines() == lines
        assert sorted(os.listdir(disk.path / "result")) == ["_SUCCESS", "part-00000.txt"]
        check_history(cluster, future.job_id)


def publish(directory):
    """The results are written, and the disk has no room for the file that says that they are being published."""
    disk = Disk(directory / "out", size="16m", nr_inodes=FEW_FILES)
    with start(directory / "cluster", n_workers=1, n_masters=1) as cluster:
        future = cluster.mapreduce(
            range(10),
            lambda data: [(n, n) for n in data],
            sum,
            output=mapreduce.write_text(disk.path / "result"),
            n_partitions=1,
        )
        trouble(future, str(disk.path), "can't hold more files")
        assert future.progress().phase == "publish"
        logs = (directory / "cluster" / "logs").glob("master-*.log")
        assert "the output can't be published yet" in "".join(log.read_text() for log in logs)
        assert "_SUCCESS" not in os.listdir(disk.path / "result")
        disk.grow(nr_inodes=100)
        (part,) = future.result()
        assert Path(part).read_text() == "".join(f"{n}\t{n}\n" for n in range(10))
        assert sorted(os.listdir(disk.path / "result")) == ["_SUCCESS", "part-00000.txt"]


SCENARIOS = [scratch, storage, files, coordination, upload, output, publish]

if __name__ == "__main__":
    {scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[1]](Path(sys.argv[2]))
