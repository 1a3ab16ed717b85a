"""What befalls a cluster: SIGKILL, SIGTERM, SIGSTOP past the lease with SIGCONT, of any mixture of its processes."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from helpers import living_owner, wait_until

from mapreduce import InvalidArgumentError
from mapreduce.cluster.state import Process
from storms.stage import Stage, send

LEASE_MS = 500


@dataclass(frozen=True)
class Blow:
    """What happened, for the report of a storm and for the table of recovery times."""

    how: str
    """"killed", "told to go" or "stopped"."""
    whom: str
    at_ms: int
    """When; of a blow after which nobody is left who could go on: when help was asked for."""
    owner: str | None
    """The owner, if it was hit."""
    workers: frozenset[str]
    """The workers that were hit."""


def now_ms() -> int:
    return int(time.time() * 1000)


class Blows:
    """Deals blows, as the seed wants."""

    def __init__(self, rng: random.Random, stage: Stage) -> None:
        self.rng, self.stage = rng, stage
        self.asleep: set[int] = set()
        """Processes that are to wake up when the job has ended."""

    def strike(self) -> Blow:
        """Deals one, sees to it that somebody is left who can go on, and says what it was."""
        kill = self.rng.random() < 0.7
        if kill and self.rng.random() < 0.15:
            return self._kill_everything_by_its_root()
        masters, workers, owner = self._choose()
        if not kill:
            return self._stop(masters, workers, owner)
        deal = self._tell_to_go if self.rng.random() < 0.25 else self._kill
        return deal(masters, workers, owner)

    def _choose(self) -> tuple[list[Process], list[Process], str | None]:
        """A random mixture of processes, and the owner if it is among them."""
        state = self.stage.cluster.local_monitoring.state()
        masters, workers = state.masters, state.workers
        owner = living_owner(self.stage.cluster, self.stage.job_id)
        owning = [master for master in masters if master.id in owner]

        def some(processes: list[Process]) -> list[Process]:
            return self.rng.sample(processes, self.rng.randint(1, len(processes))) if processes else []

        hit_masters, hit_workers = self.rng.choice(
            [
                ([], some(workers)),
                ([], some(workers)),
                ([], workers),
                (owning, []),
                (owning, []),
                (masters, []),
                (owning, workers),
                (some(masters), some(workers)),
                (masters, workers),
            ]
        )
        return hit_masters, hit_workers, next((m.id for m in hit_masters if m.id in owner), None)

    def _whom(self, masters: list[Process], workers: list[Process], owner: str | None) -> str:
        """In words that the table of recovery times uses, too."""
        state = self.stage.cluster.local_monitoring.state()
        all_masters = {m.id for m in state.masters} <= {m.id for m in masters}
        all_workers = {w.id for w in state.workers} <= {w.id for w in workers}
        if all_masters and all_workers:
            return "everything"
        if all_masters:
            return "every master"
        if owner is not None:
            return "the owner and every worker" if all_workers else "the owner"
        return "every worker" if all_workers else "some workers" if workers else "nobody that the job needs"

    def _kill(self, masters: list[Process], workers: list[Process], owner: str | None) -> Blow:
        whom = self._whom(masters, workers, owner)
        if self.stage.client is not None and not self.stage.starter_lives and self.rng.random() < 0.6:
            self.stage.kill_client()
        blow = Blow("killed", whom, now_ms(), owner, frozenset(w.id for w in workers))
        victims = [process.id for process in masters + workers]
        self.rng.shuffle(victims)
        # One that was stopped before may have been replaced by a new incarnation meanwhile.
        try:
            self.stage.cluster.kill(*victims)
        except InvalidArgumentError:
            send(signal.SIGKILL, [process.pid for process in masters + workers])
        return self._help_arrives(blow)

    def _tell_to_go(self, masters: list[Process], workers: list[Process], owner: str | None) -> Blow:
        """As whoever takes machines away does. Workers that are told again don't wait for their tasks."""
        whom = self._whom(masters, workers, owner)
        blow = Blow("told to go", whom, now_ms(), owner, frozenset(w.id for w in workers))
        victims = {process.id: process.pid for process in masters + workers}
        for _ in range(self.rng.randint(1, 2)):
            send(signal.SIGTERM, victims.values())
        wait_until(lambda: not self._registered() & victims.keys(), "they are gone")
        return self._help_arrives(blow)

    def _help_arrives(self, blow: Blow) -> Blow:
        time.sleep(self.rng.random() * 0.1)
        asked_ms = now_ms()
        self.stage.cluster.scale(n_workers=self.rng.randint(1, 5), n_masters=self.rng.randint(1, 3))
        waited_for_help = blow.whom.startswith("every") or blow.whom.endswith("every worker")
        return replace(blow, at_ms=asked_ms) if waited_for_help else blow

    def _kill_everything_by_its_root(self) -> Blow:
        owner = living_owner(self.stage.cluster, self.stage.job_id)
        whom = "everything, the client too" if self.stage.starter_lives else "everything, with its keeper"
        self.stage.kill_everything()
        # A client that sleeps outlives a cluster that another process started.
        self.asleep &= {self.stage.client.pid} if self.stage.client is not None else set()
        asked_ms = now_ms()
        self.stage.start_again(n_workers=self.rng.randint(1, 5), n_masters=self.rng.randint(1, 3))
        return Blow("killed", whom, asked_ms, owner[0] if owner else None, frozenset())

    def _stop(self, masters: list[Process], workers: list[Process], owner: str | None) -> Blow:
        """Stops some until the others take them for dead. They wake up soon, or when the job has ended."""
        whom = self._whom(masters, workers, owner)
        pids = [process.pid for process in masters + workers]
        if self.rng.random() < 0.5:
            pids += below(process.pid for process in workers)
        if self.stage.client is not None and not self.stage.starter_lives and self.rng.random() < 0.3:
            pids.append(self.stage.client.pid)
        victims = {process.id for process in masters + workers}
        blow = Blow("stopped", whom, now_ms(), owner, frozenset(w.id for w in workers))
        self.rng.shuffle(pids)
        send(signal.SIGSTOP, pids)
        if whom in ("everything", "every master"):
            time.sleep(2 * LEASE_MS / 1000)  # nobody is left who could tell
            blow = replace(blow, at_ms=now_ms())
            wakes_late = False
        else:
            wait_until(lambda: not self._registered() & victims, "their leases ran out")
            wakes_late = self.rng.random() < 0.5
        if wakes_late:
            self.asleep.update(pids)
            return self._help_arrives(blow)
        time.sleep(self.rng.random() * 0.2)
        send(signal.SIGCONT, pids)
        return blow

    def _registered(self) -> set[str]:
        monitoring = self.stage.cluster.local_monitoring
        return {*monitoring.get_registered_masters()[0], *monitoring.get_registered_workers()[0]}

    def wake_all(self) -> None:
        """Those that slept through the rest of the job."""
        send(signal.SIGCONT, self.asleep)
        self.asleep.clear()


def below(pids: Iterable[int]) -> list[int]:
    """The processes that these have started, and so on: a worker's executors."""
    found: list[int] = []
    new = list(pids)
    while new:
        new = [child for pid in new for child in children(pid)]
        found += new
    return found


def children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found += map(int, path.read_text().split())
    return found
