"""Looking into a cluster: as text for people, and as data."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from mapreduce import _arguments
from mapreduce._text import size_text, table, tree, tree_lines
from mapreduce.cluster.state import Attempt, ClusterState, Job, Process

if TYPE_CHECKING:
    from mapreduce.cluster.cluster import Cluster

_ROWS = 20
"""How many tasks of a stage, or objects in a directory, are shown one by one."""


class LocalMonitoring:
    """Ways to look into a cluster. They read coordination and storage, so they work with no master alive.

    All of them raise :class:`mapreduce.errors.ClusterError` after the cluster was shut down.
    """

    def __init__(self, cluster: Cluster) -> None:
        # A cluster that nobody refers to ends.
        self._cluster = cluster
        self._client = cluster._client

    def state(self) -> ClusterState:
        """Masters, workers, jobs and tasks as they are now."""
        return ClusterState._from_json(json.loads(self._client.snapshot()))

    def get_registered_workers(self) -> tuple[list[str], int]:
        """The ids of the live workers, and how many they are."""
        _, workers = self._client.members()
        return workers, len(workers)

    def get_registered_masters(self) -> tuple[list[str], int]:
        """The ids of the live masters, and how many they are."""
        masters, _ = self._client.members()
        return masters, len(masters)

    def history(self, job_id: str) -> list[Attempt]:
        """The audit of a job: every attempt at its tasks, in the order in which they were launched.

        Args:
            job_id: The job's id, such as ``job_7``.

        Raises:
            InvalidArgumentError: There is no such job, or it was cleared.
        """
        attempts = json.loads(self._client.history(_arguments.text("job_id", job_id)))
        return [Attempt(**attempt) for attempt in attempts]

    def storage_tree(self, path: str = "jobs") -> list[tuple[str, int]]:
        """Every object in storage below a path, with its size in bytes, sorted by path.

        Args:
            path: Such as ``jobs/job_7/commits``; ``""`` for everything.
        """
        return self._client.storage_tree(path)

    def storage_object(self, path: str) -> bytes:
        """What one object in storage holds.

        Args:
            path: As :meth:`storage_tree` has it, such as ``jobs/job_7/commits/map/0``.

        Raises:
            StorageError: There is no such object, or it can't be read.
        """
        return self._client.storage_object(path)

    def print_hdfs(self, path: str = "jobs", full: bool = False) -> None:
        """Prints the storage tree below a path; the name is from when storage was always HDFS.

        Args:
            path: Such as ``jobs/job_7/commits``; ``""`` for everything.
            full: Whether to print every object; otherwise a long directory is cut short.
        """
        files = self.storage_tree(path)
        root = f"{path.strip('/')}/".lstrip("/")
        below = tree([(name.removeprefix(root), size) for name, size in files])
        print(f"{root or '/'}  ({len(files)} objects, {size_text(sum(size for _, size in files))})")
        for line in tree_lines(below, None if full else _ROWS):
            print(line)

    def print_zoo(self, full: bool = False) -> None:
        """Prints masters, workers, jobs, their tasks, the tasks whose workers died, and what jobs wait for.

        Args:
            full: Whether to print every task; otherwise a long stage is summed up in a line.
        """
        state = self.state()
        running = Counter(task.worker for job in state.jobs for task in job.tasks if task.state == "running")
        owned = Counter(job.owner for job in state.jobs)
        sections = [
            ("MASTERS", _processes(state.masters, "jobs", owned)),
            ("WORKERS", _processes(state.workers, "running", running)),
            ("MAP TASKS", _tasks(state.jobs, "map", full)),
            ("SHUFFLE AND REDUCE TASKS", _tasks(state.jobs, "reduce", full)),
            ("JOBS", _jobs(state.jobs)),
            ("TASKS OF DEAD WORKERS", _lost(state.jobs)),
        ]
        if trouble := [(job.id, job.trouble) for job in state.jobs if job.trouble]:
            sections.append(("JOBS THAT WAIT", table(("job", "because"), trouble)))
        print("\n\n".join(f"{title}\n{text}" for title, text in sections))


def _processes(processes: list[Process], what: str, load: Counter[str | None]) -> str:
    rows = [(one.id, one.host, one.pid, one.address or "-", load[one.id]) for one in processes]
    return table(("id", "host", "pid", "address", what), rows)


def _tasks(jobs: list[Job], stage: str, full: bool) -> str:
    rows: list[tuple[object, ...]] = []
    for job in jobs:
        tasks = [task for task in job.tasks if task.stage == stage]
        if full or (len(tasks) <= _ROWS and not job.has_ended):
            rows += [(job.id, task.id, task.state, task.worker or "-", task.n_attempts) for task in tasks]
        elif tasks:
            counts = Counter(task.state for task in tasks)
            states = ", ".join(f"{count} {state}" for state, count in counts.items())
            workers = len({task.worker for task in tasks} - {None})
            launched = sum(task.n_attempts for task in tasks)
            rows.append((job.id, _count(len(tasks), "task"), states, _count(workers, "worker"), launched))
    return table(("job", "task", "state", "worker", "attempts"), rows)


def _jobs(jobs: list[Job]) -> str:
    rows = [
        (
            job.id,
            job.user,
            job.phase,
            "as many as possible" if job.requested_n_workers is None else job.requested_n_workers,
            job.owner or ("-" if job.has_ended else "nobody: no live master has taken it yet"),
            job.epoch,
        )
        for job in jobs
    ]
    return table(("id", "user", "state", "requested workers", "owner", "epoch"), rows)


def _lost(jobs: list[Job]) -> str:
    rows = [
        (job.id, task.id, task.worker or "-", job.owner or "nobody: no live master has taken the job yet")
        for job in jobs
        for task in job.lost_tasks
    ]
    return table(("job", "task", "dead worker", "looked after by"), rows)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
