"""What a cluster is doing, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_LAST_PHASES = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Process:
    """A live master or worker.

    Attributes:
        id: Such as ``worker-0123456789ab``; made new at every start of a process and never used again.
        host: The name of its machine; in a container, the first 12 digits of the container's id.
        pid: Its process id there.
        address: ``host:port`` where a master listens; None for a worker.
        n_slots: Tasks a worker runs at one time; 0 for a master.
        started_at_ms: When it started, in milliseconds since 1970.
    """

    id: str
    host: str
    pid: int
    address: str | None
    n_slots: int
    started_at_ms: int

    @classmethod
    def _from_json(cls, member: Json) -> Process:
        return cls(
            id=member["incarnation"],
            host=member["host"],
            pid=member["pid"],
            address=member["address"],
            n_slots=member["n_slots"],
            started_at_ms=member["started_at_ms"],
        )


@dataclass(frozen=True)
class Task:
    """A task of a job.

    Attributes:
        id: Such as ``map/12``.
        state: ``waiting``, ``running``, ``committed`` (finished for good), ``failed``, or ``lost`` (its worker died
            and it was not launched again yet).
        worker: The worker that runs, finished, failed or died with it; None while it waits.
        attempt: The attempt that this is about, such as ``1-4``; None while it waits.
        n_attempts: How often it was launched.
    """

    id: str
    state: str
    worker: str | None
    attempt: str | None
    n_attempts: int

    @property
    def stage(self) -> str:
        """``map`` or ``reduce``."""
        return self.id.partition("/")[0]

    @classmethod
    def _from_json(cls, task: Json) -> Task:
        return cls(
            id=task["task"],
            state=task["state"],
            worker=task["worker"],
            attempt=task["attempt"],
            n_attempts=task["attempts"],
        )


@dataclass(frozen=True)
class Job:
    """A job that has not been cleared.

    Attributes:
        id: Such as ``job_7``.
        user: Who submitted it.
        phase: ``map``, ``reduce``, ``succeeded``, ``failed`` or ``cancelled``.
        owner: The live master that looks after it; None when there is none.
        epoch: How many owners it has had.
        requested_n_workers: Most workers that may serve it at one time; None for as many as there are.
        submitted_at_ms: When it was submitted, in milliseconds since 1970.
        n_failures: How many attempts have failed.
        trouble: Why the job waits, such as a full disk; it goes on when that has passed. None if it does not wait.
        tasks: Every task in order, map before reduce; empty until the job is planned.
    """

    id: str
    user: str
    phase: str
    owner: str | None
    epoch: int
    requested_n_workers: int | None
    submitted_at_ms: int
    n_failures: int
    trouble: str | None
    tasks: list[Task]

    @property
    def has_ended(self) -> bool:
        """Whether its phase is a last one."""
        return self.phase in _LAST_PHASES

    @property
    def lost_tasks(self) -> list[Task]:
        """The tasks whose workers died and that were not launched again yet; ``owner`` looks after them."""
        return [task for task in self.tasks if task.state == "lost"]

    @classmethod
    def _from_json(cls, view: Json) -> Job:
        record = view["record"]
        has_ended = record["phase"] in _LAST_PHASES
        return cls(
            id=record["job"],
            user=record["user"],
            phase=record["phase"],
            owner=None if has_ended else view["looked_after_by"],
            epoch=record["epoch"],
            requested_n_workers=record["requested_n_workers"],
            submitted_at_ms=record["submitted_at_ms"],
            n_failures=view["failures"],
            trouble=view["trouble"],
            tasks=[Task._from_json(task) for task in view["tasks"]],
        )


@dataclass(frozen=True)
class ClusterState:
    """A cluster at one moment.

    Attributes:
        masters: The live masters.
        workers: The live workers.
        jobs: Every job that has not been cleared, by id.
    """

    masters: list[Process]
    workers: list[Process]
    jobs: list[Job]

    @classmethod
    def _from_json(cls, snapshot: Json) -> ClusterState:
        return cls(
            [Process._from_json(member) for member in snapshot["masters"]],
            [Process._from_json(member) for member in snapshot["workers"]],
            [Job._from_json(view) for view in snapshot["jobs"]],
        )


@dataclass(frozen=True)
class Attempt:
    """One try at a task, as the audit has it.

    Attributes:
        task: The task, such as ``map/12``.
        attempt: Its id, such as ``1-4``: the owner's epoch and a number.
        worker: Where it ran.
        launched_at_ms: When it was handed out, in milliseconds since 1970.
        ended_at_ms: When it ended; None while nobody has seen it end.
        outcome: ``running``, ``committed``, ``superseded``, ``failed``, ``lost`` (with its worker) or ``stopped`` (by
            its owner, or by its worker, which was told to go).
    """

    task: str
    attempt: str
    worker: str
    launched_at_ms: int
    ended_at_ms: int | None
    outcome: str
