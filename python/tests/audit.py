"""The audit of a job: what its history, as it is in storage, must hold after any storm."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Protocol

from helpers import job_of

from mapreduce import LocalCluster


def whole_files(directory: Path) -> list[Path]:
    """The files of a directory in storage that a store lists: a "#" marks what is not, or never was, finished."""
    return [path for path in directory.iterdir() if "#" not in path.name] if directory.exists() else []


class Storage(Protocol):
    """Objects of a job: in a cluster's storage, wherever that is, or in a directory with nobody alive."""

    def names(self, path: str) -> list[str]:
        """What is below a path of the job, by what follows it; in order."""

    def read(self, path: str) -> bytes:
        """What an object holds."""


class InCluster:
    def __init__(self, cluster: LocalCluster, job_id: str) -> None:
        self.monitoring, self.root = cluster.local_monitoring, f"jobs/{job_id}"

    def names(self, path: str) -> list[str]:
        below = f"{self.root}/{path}"
        return sorted(name.removeprefix(f"{below}/") for name, _ in self.monitoring.storage_tree(below))

    def read(self, path: str) -> bytes:
        return self.monitoring.storage_object(f"{self.root}/{path}")


class InDirectory:
    def __init__(self, directory: Path, job_id: str) -> None:
        self.root = directory / "storage" / "jobs" / job_id

    def names(self, path: str) -> list[str]:
        return sorted(file.name for file in whole_files(self.root / path))

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()


def record(storage: Storage, path: str, kind: str) -> dict[str, Any]:
    """What a record in storage says."""
    header, _newline, body = storage.read(path).decode().partition("\n")
    assert header.startswith(f"mapreduce {kind} "), header
    content: dict[str, Any] = json.loads(body)
    return content


def objects(storage: Storage) -> list[tuple[int, int, list[dict[str, Any]]]]:
    """Each object of a job's history, by epoch and sequence, with what it tells."""
    told = []
    for name in storage.names("history"):  # the numbers in it are padded
        epoch, sequence = map(int, name.split("-"))
        told.append((epoch, sequence, record(storage, f"history/{name}", "history")["events"]))
    return told


def events(storage: Storage) -> list[dict[str, Any]]:
    """Everything that the job's owners wrote into its history, in order."""
    return [event for _, _, told in objects(storage) for event in told]


def check_history(cluster: LocalCluster, job_id: str) -> None:
    """No attempt id is used twice; one attempt commits each task; no owner that knew of that launches an attempt."""
    # Read before the events: a master that was asleep may still note launches, which every worker refuses.
    attempts = cluster.local_monitoring.history(job_id)
    launched: set[tuple[str, str]] = set()
    committed: dict[str, str] = {}
    noted: dict[str, list[tuple[int, int]]] = {}
    read: dict[int, int] = {}
    for epoch, sequence, told in objects(InCluster(cluster, job_id)):
        for event in told:
            if event["event"] == "owned":
                # Of an owner that slept, its successor may have read less than it wrote in the end.
                read = {**dict(event.get("read") or []), epoch: sys.maxsize}
            elif event["event"] == "launched":
                attempt = (event["task"], event["attempt"])
                assert attempt not in launched, f"{attempt} was launched twice"
                known = [note for note in noted.get(event["task"], []) if note[1] <= read.get(note[0], -1)]
                assert not known, f"{attempt} was launched after {committed[event['task']]}"
                launched.add(attempt)
            elif event["event"] == "ended" and event["end"] == "committed":
                noted.setdefault(event["task"], []).append((epoch, sequence))
                winner = committed.setdefault(event["task"], event["attempt"])
                assert winner == event["attempt"], f"{event['task']} was committed by {winner} and {event['attempt']}"

    assert {(attempt.task, attempt.attempt) for attempt in attempts} <= launched
    winners = sorted((attempt.task, attempt.attempt) for attempt in attempts if attempt.outcome == "committed")
    assert sorted(task for task, _ in winners) == sorted(task.id for task in job_of(cluster, job_id).tasks), (
        "one commit for each task"
    )
    assert committed.items() <= set(winners), "what an owner saw committed is what was committed"
    check_manifests(cluster, job_id, dict(winners))


def check_manifests(cluster: LocalCluster, job_id: str, winners: dict[str, str]) -> None:
    """The manifests name the attempts that committed, and so do the markers; no other data is read."""
    storage = InCluster(cluster, job_id)
    for stage in ("map", "reduce"):
        entries = record(storage, f"manifest/{stage}", "manifest")["entries"]
        named = {f"{stage}/{n}": entry["attempt"] for n, entry in enumerate(entries)}
        assert named == {task: attempt for task, attempt in winners.items() if task.startswith(f"{stage}/")}
        for number in storage.names(f"commits/{stage}"):
            marker = record(storage, f"commits/{stage}/{number}", "marker")
            assert (marker["task"], marker["attempt"]) == (f"{stage}/{number}", named[f"{stage}/{number}"])


def check_storage(cluster: LocalCluster, job_id: str) -> None:
    """Data of attempts is the winners', or of attempts that nobody saw end by themselves: those delete theirs."""
    outcomes = {(a.task, a.attempt): a.outcome for a in cluster.local_monitoring.history(job_id)}
    for stage in ("map", "reduce"):
        for name in InCluster(cluster, job_id).names(f"attempts/{stage}"):
            number, _dot, attempt = name.partition(".")
            outcome = outcomes[f"{stage}/{number}", attempt]
            assert outcome not in ("superseded", "failed"), f"{stage}/{name} stays of an attempt that {outcome}"


class Finished:
    """The tasks of a job that were finished at some moment, to check later that none of them ran again."""

    def __init__(self, cluster: LocalCluster, job_id: str) -> None:
        self.cluster, self.job_id = cluster, job_id
        # What is finished is read before the launches: so every launch of a finished task is among them.
        self.tasks = {task.id for task in job_of(cluster, job_id).tasks if task.state == "committed"}
        self.launches = self._launches(cluster)

    def _launches(self, cluster: LocalCluster) -> set[tuple[str, str]]:
        attempts = cluster.local_monitoring.history(self.job_id)
        return {(attempt.task, attempt.attempt) for attempt in attempts if attempt.task in self.tasks}

    def check_none_ran_again(self, cluster: LocalCluster | None = None) -> None:
        """In the job as it is now; in another cluster if the first is gone and one in its directory carried on."""
        cluster = cluster or self.cluster
        now = self._launches(cluster)
        assert now <= self.launches, f"launched since: {now - self.launches}"
        # What an owner that slept wrote down may turn out not to have been sent, but nothing that is written goes.
        gone = self.launches - now
        told = events(InCluster(cluster, self.job_id)) if gone else []
        forgotten = gone - {(event["task"], event["attempt"]) for event in told if event["event"] == "launched"}
        assert not forgotten, f"told no more: {forgotten}"
