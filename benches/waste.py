"""`make waste`: what deaths cost: time when a few workers die in a job, work when all of them and the owner die.

The job's tasks sleep for a fixed time, so nine workers don't share two cores: what is measured is the system's waste,
not the machine's. Disturbed and undisturbed runs take turns in one session; ratios of each pair are compared, and the
median of them is what counts. Work is the sum of the time that attempts ran: by the markers, of those that
committed; from the launch to the blow, of those that were killed.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from measure import AUTH

from mapreduce import LocalCluster
from mapreduce._future import MapReduceFuture

N_WORKERS = 9
N_KILLED = 1
"""One of nine: 11 %."""

Blow = Callable[[LocalCluster, MapReduceFuture], float]
"""Kills, has the dead replaced, and says when they were dead, in milliseconds since 1970."""


@dataclass(frozen=True)
class Run:
    """What one job took."""

    seconds: float
    work: float
    lost: float
    """Of the work, what attempts had done that were lost."""
    n_lost: int
    idle: float
    """From the blow to the first launch after it."""


def job(n_tasks: int, task_s: float) -> tuple[range, Callable[[list[int]], list[tuple[int, int]]]]:
    """Records, one a task, and a map function that sleeps."""

    def map_func(records: list[int]) -> list[tuple[int, int]]:
        time.sleep(task_s * len(records))
        return [(record % 3, record) for record in records]

    return range(n_tasks), map_func


def run(n_tasks: int, task_s: float, at: float, blow: Blow | None) -> Run:
    """One job on a new cluster; the blow falls when this share of its tasks is finished."""
    data, map_func = job(n_tasks, task_s)
    with LocalCluster(AUTH, n_workers=N_WORKERS, n_masters=2) as cluster:
        # Executors are warm, as in a cluster that has been there for a while.
        cluster.mapreduce(range(4 * N_WORKERS), lambda some: [(1, 1) for _ in some], sum, split_records=1).result()
        start = time.perf_counter()
        future = cluster.mapreduce(data, map_func, sum, split_records=1, n_partitions=N_WORKERS)
        blown_ms = 0.0
        if blow is not None:
            while future.progress().map_done < at * n_tasks:
                time.sleep(0.005)
            # Tasks of one length end together: the blow must not always come just then.
            time.sleep(random.random() * task_s)
            blown_ms = blow(cluster, future)
        assert sum(total for _, total in future.result()) == sum(data)
        seconds = time.perf_counter() - start
        assert future.job_id is not None
        attempts = cluster.local_monitoring.history(future.job_id)

        begun = _begun(cluster, future.job_id)

    work = sum(end_ms - start_ms for _, start_ms, end_ms in begun) / 1000
    lost: dict[str, float] = {}
    for attempt in attempts:
        # Of the attempts that a worker had been given only the first had begun: the other waited behind it.
        if attempt.outcome != "committed" and attempt.worker not in lost:
            before = [end_ms for worker, _, end_ms in begun if worker == attempt.worker]
            lost[attempt.worker] = max(0.0, blown_ms - max([attempt.launched_at_ms, *before])) / 1000
    next_ms = min((a.launched_at_ms for a in attempts if a.launched_at_ms >= blown_ms), default=blown_ms)
    idle = (next_ms - blown_ms) / 1000 if blow else 0.0
    return Run(seconds, work + sum(lost.values()), sum(lost.values()), len(lost), idle)


def _begun(cluster: LocalCluster, job_id: str) -> list[tuple[str, int, int]]:
    """Worker, start and end of every attempt that committed, by the executors' clock, from the markers."""
    found = []
    for path in (cluster.directory / "storage" / "jobs" / job_id / "commits").glob("*/*"):
        marker = json.loads(path.read_text().partition("\n")[2])
        found.append((marker["worker"], marker["started_at_ms"], marker["ended_at_ms"]))
    return found


def some_workers(cluster: LocalCluster, _future: MapReduceFuture) -> float:
    """Kills one of nine, and has it replaced."""
    workers, _count = cluster.local_monitoring.get_registered_workers()
    cluster.kill(*workers[:N_KILLED])
    dead_ms = time.time() * 1000
    cluster.scale(n_workers=N_WORKERS)
    return dead_ms


def all_workers_and_the_owner(cluster: LocalCluster, future: MapReduceFuture) -> float:
    """Kills them, and has all replaced."""
    state = cluster.local_monitoring.state()
    owners = [one.owner for one in state.jobs if one.id == future.job_id and one.owner is not None]
    cluster.kill(*(worker.id for worker in state.workers), *owners)
    dead_ms = time.time() * 1000
    cluster.scale(n_workers=N_WORKERS, n_masters=2)
    return dead_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=540, help="map tasks [default: %(default)s]")
    parser.add_argument("--task-ms", type=int, default=200, help="how long each sleeps [default: %(default)s]")
    given = parser.parse_args()
    n, task_s = given.tasks, given.task_ms / 1000
    print(f"{n} tasks of {given.task_ms} ms, {N_WORKERS} workers of 1 slot: {n * task_s / N_WORKERS:.1f} s at best")
    times, works = [], []
    for _ in range(given.repetitions):
        calm = run(n, task_s, 0, None)
        few = run(n, task_s, 0.5, some_workers)
        every = run(n, task_s, 0.5, all_workers_and_the_owner)
        times.append(few.seconds / calm.seconds)
        works.append(every.work / calm.work)
        print(f"undisturbed: {calm.seconds:.2f} s, work {calm.work:.2f} s")
        print(f"  {N_KILLED} of {N_WORKERS} workers killed: {few.seconds:.2f} s, ratio {times[-1]:.3f}; {_lost(few)}")
        print(f"  all and the owner: {every.seconds:.2f} s, work {every.work:.2f} s, ratio {works[-1]:.3f}", end="")
        print(f"; {_lost(every)}")
        sys.stdout.flush()
    print(f"\n{'what':<66} {'min':>6} {'median':>6} {'max':>6}  goal")
    _row("11 % of the workers killed and replaced: time", times)
    _row("all workers and the owner killed at 50 %: work", works)


def _lost(done: Run) -> str:
    return f"{done.n_lost} attempts lost, {done.lost:.2f} s of work; next launch after {done.idle:.2f} s"


def _row(what: str, ratios: list[float]) -> None:
    median = statistics.median(ratios)
    missed = "" if median <= 1.05 else "  MISSED"
    print(f"{what:<66} {min(ratios):>6.3f} {median:>6.3f} {max(ratios):>6.3f}  at most 1.05{missed}")


if __name__ == "__main__":
    main()
