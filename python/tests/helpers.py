"""What the tests share: the sequential reference, seeds, waiting for conditions, looking at processes and jobs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from mapreduce import LocalCluster
from mapreduce._future import MapReduceFuture
from mapreduce.cluster.state import Job

Value = TypeVar("Value")

EXAMPLES = Path(__file__).parents[2] / "examples"

DEADLINE_S = 60
"""When to stop waiting for a condition that ought to come. Nothing depends on how soon it comes."""


def reference(
    data: Iterable[Any],
    map_func: Callable[[list[Any]], Iterable[tuple[Any, Any]]],
    reduce_func: Callable[[list[Any]], Any],
) -> list[tuple[Any, Any]]:
    """What a job must give, in the fewest lines."""
    groups: dict[Any, list[Any]] = {}
    for key, value in map_func(list(data)):
        groups.setdefault(key, []).append(value)
    result = [(key, reduce_func(values)) for key, values in groups.items()]
    try:
        return sorted(result, key=lambda pair: pair[0])
    except TypeError:  # keys without an order, such as 1 and "a"
        return result


def seeds(n: int) -> list[int]:
    """What `n` storms are drawn from; the one of `MAPREDUCE_SEED`, to play it again, if that is set."""
    given = os.environ.get("MAPREDUCE_SEED")
    return random.SystemRandom().sample(range(1 << 32), n) if given is None else [int(given)]


def wait_until(predicate: Callable[[], Value], what: str, deadline_s: float = DEADLINE_S) -> Value:
    """Waits for a condition, and fails loudly when it does not come."""
    deadline = time.monotonic() + deadline_s
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{deadline_s} s went by and still not: {what}")
        time.sleep(0.005)
    return value


def processes_of(home: str | os.PathLike[str]) -> list[int]:
    """The ids of all processes, except this one, that were started with this MAPREDUCE_HOME."""
    marker = f"MAPREDUCE_HOME={home}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return found


def command_of(pid: int) -> bytes:
    """The command line of a process; nothing if there is none such."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def run_python(*arguments: object, env: dict[str, str], cwd: Path | None = None) -> str:
    """Runs a Python of its own to its end; gives what it wrote to standard output, and insists on success."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, ""), f"it ended with {done.returncode}: {done.stderr}"
    return done.stdout


def job_of(cluster: LocalCluster, job_id: str) -> Job:
    """The job as the monitoring sees it."""
    (job,) = (job for job in cluster.local_monitoring.state().jobs if job.id == job_id)
    return job


def living_owner(cluster: LocalCluster, job_id: str) -> list[str]:
    """The master that owns the job, in a list; the owner on record may be dead, and then there is none."""
    masters, _count = cluster.local_monitoring.get_registered_masters()
    owner = job_of(cluster, job_id).owner
    return [master for master in masters if master == owner]


def outcomes(cluster: LocalCluster, future: MapReduceFuture) -> list[str]:
    """How the job's attempts ended, in the order in which they were launched."""
    assert future.job_id is not None
    return [attempt.outcome for attempt in cluster.local_monitoring.history(future.job_id)]


def job_in_the_middle(
    cluster: LocalCluster, data: list[Any], map_func: Callable[..., Any]
) -> tuple[MapReduceFuture, str]:
    """A job of 4 records a split, a quarter of which is done, and the master that owns it."""
    future = cluster.mapreduce(data, map_func, sum, split_records=4)
    wait_until(lambda: future.progress().map_done >= len(data) // 4 // 4, "a quarter is done")
    (owner,) = wait_until(lambda: living_owner(cluster, future.job_id), "a master owns the job")
    return future, owner
