"""One storm, drawn from a seed, and everything that must hold after it.

What the seed can't fix is how the kernel schedules the processes: a replay repeats what is killed and after how much
progress, not every interleaving.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audit import Finished, InCluster, check_history, check_storage, events
from helpers import wait_until

from mapreduce import Auth
from storms.blows import LEASE_MS, Blow, Blows, now_ms
from storms.jobs import JOBS, Job, below
from storms.leftovers import Leftovers
from storms.recovery import Recovery, recoveries
from storms.stage import CLIENTS, Stage


@dataclass
class Report:
    """What happened, as far as it came."""

    seed: int
    job: str = ""
    client: str = ""
    blows: list[Blow] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)

    def __str__(self) -> str:
        blows = ", ".join(f"{blow.how} {blow.whom}" for blow in self.blows)
        return f"{self.job}, submitted by {self.client}: {blows}"


def play(
    report: Report,
    auth: Auth,
    place: Path,
    *,
    job: Job | None = None,
    stores: dict[str, str] | None = None,
) -> None:
    """Plays the storm of `report.seed` over a job, in a directory that only this storm uses; writes down what happens.

    Any job, unless one is given; in the place itself, unless `stores` are elsewhere: a place each below those URLs.
    Raises if a promise is broken, and then what is in `place` stays; no process does.
    """
    rng = random.Random(report.seed)
    drawn = rng.choice(JOBS)()
    job = drawn if job is None else job
    client = rng.choice(CLIENTS)
    report.job, report.client = type(job).__name__, client
    options: dict[str, int | str] = {
        "n_workers": rng.randint(1, 5),
        "n_masters": rng.randint(1, 3),
        "lease_ms": LEASE_MS,
        "grace_ms": rng.choice([0, 20, 10_000]),
    }
    options |= {kind: below(url, str(report.seed)) for kind, url in (stores or {}).items()}
    leftovers = Leftovers(place / "cluster")
    with Stage(auth, place, job, client, options) as stage:
        with told_where_it_stood(stage):
            storm(rng, stage, report, leftovers)
        stage.end()
    leftovers.check(stage.killed_keepers)
    shutil.rmtree(place)


def storm(rng: random.Random, stage: Stage, report: Report, leftovers: Leftovers) -> None:
    blows, moments = Blows(rng, stage), []
    try:
        for _ in range(rng.randint(1, 3)):
            wait_for_a_moment(rng, stage)
            leftovers.look()
            moments.append(Finished(stage.cluster, stage.job_id))
            report.blows.append(blows.strike())
        leftovers.look()
        result = stage.result()
    finally:
        blows.wake_all()
    stage.job.check(result, stage.place)
    stage.check_all_see(result)
    check_history(stage.cluster, stage.job_id)
    check_storage(stage.cluster, stage.job_id)
    for moment in moments:
        moment.check_none_ran_again(stage.cluster)
    history = events(InCluster(stage.cluster, stage.job_id))
    ends = [*(blow.at_ms for blow in report.blows[1:]), now_ms()]
    for blow, end in zip(report.blows, ends, strict=True):
        report.recoveries += recoveries(blow, history, end)
    check_clearing(stage)


def wait_for_a_moment(rng: random.Random, stage: Stage) -> None:
    """Until a random number of tasks, from none to nearly half of them, is finished, and a bit more."""
    goal = stage.done() + rng.randint(0, 20)
    wait_until(lambda: stage.future.done() or stage.done() >= goal, f"{goal} tasks are finished")
    time.sleep(rng.random() * 0.03)


def check_clearing(stage: Stage) -> None:
    """What was not finished, or not wanted, goes with the job."""
    assert stage.cluster.clear() == [stage.job_id]
    left = stage.cluster.local_monitoring.storage_tree("jobs")
    # Where storage is a directory, that has what no store lists, too.
    left += [(str(path), 0) for path in (stage.directory / "storage" / "jobs").rglob("*")]
    assert not left, f"clear() left {left}"


@contextlib.contextmanager
def told_where_it_stood(stage: Stage) -> Iterator[None]:
    """Writes down the state of the cluster when something is wrong."""
    try:
        yield
    except BaseException:
        with (stage.place / "state.txt").open("w") as file, contextlib.redirect_stdout(file):
            with contextlib.suppress(Exception):
                stage.cluster.local_monitoring.print_zoo(full=True)
            with contextlib.suppress(Exception):
                print(*stage.cluster.local_monitoring.history(stage.job_id), sep="\n")
        raise
