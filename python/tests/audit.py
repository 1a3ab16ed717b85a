"""The audit of a job: what its history, as it is in storage, must hold after any storm."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from helpers import job_of

from mapreduce import LocalCluster


def whole_files(directory: Path) -> list[Path]:
    """The files of a directory in storage that a store lists: a "#" marks what is not, or never was, finished."""
    return [path for path in directory.iterdir() if "#" not in path.name] if directory.exists() else []


def record(path: Path, kind: str) -> dict[str, Any]:
    """What a record in storage says."""
    header, _newline, body = path.read_text().partition("\n")
    assert header.startswith(f"mapreduce {kind} "), header
    content: dict[str, Any] = json.loads(body)
    return content


def job_directory(directory: Path, job_id: str) -> Path:
    """Where a cluster in `directory` keeps the job."""
    return directory / "storage" / "jobs" / job_id


def objects(directory: Path, job_id: str) -> list[tuple[int, int, list[dict[str, Any]]]]:
    """Each object of a job's history in a cluster's directory, by epoch and sequence, with what it tells."""
    files = whole_files(job_directory(directory, job_id) / "history")
    files.sort(key=lambda path: path.name)  # the numbers in it are padded
    told = []
    for path in files:
        epoch, sequence = map(int, path.name.split("-"))
        told.append((epoch, sequence, record(path, "history")["events"]))
    return told


def events(directory: Path, job_id: str) -> list[dict[str, Any]]:
    """Everything that the job's owners wrote into its history, in order."""
    return [event for _, _, told in objects(directory, job_id) for event in told]


def check_history(cluster: LocalCluster, job_id: str) -> None:
    """No attempt id is used twice; one attempt commits each task; no owner that knew of that launches an attempt."""
    # Read before the events: a master that was asleep may still note launches, which every worker refuses.
    attempts = cluster.local_monitoring.history(job_id)
    launched: set[tuple[str, str]] = set()
    committed: dict[str, str] = {}
    noted: dict[str, list[tuple[int, int]]] = {}
    read: dict[int, int] = {}
    for epoch, sequence, told in objects(cluster.directory, job_id):
        for event in told:
            if event["event"] == "owned":
                # Of an owner that slept, its successor may have read less than it wrote in the end.
                read = {**dict(event.get("read", [])), epoch: sys.maxsize}
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
    directory = job_directory(cluster.directory, job_id)
    for stage in ("map", "reduce"):
        entries = record(directory / "manifest" / stage, "manifest")["entries"]
        named = {f"{stage}/{n}": entry["attempt"] for n, entry in enumerate(entries)}
        assert named == {task: attempt for task, attempt in winners.items() if task.startswith(f"{stage}/")}
        for path in whole_files(directory / "commits" / stage):
            marker = record(path, "marker")
            assert (marker["task"], marker["attempt"]) == (f"{stage}/{path.name}", named[f"{stage}/{path.name}"])


def check_storage(cluster: LocalCluster, job_id: str) -> None:
    """Data of attempts is the winners', or of attempts that nobody saw end by themselves: those delete theirs."""
    outcomes = {(a.task, a.attempt): a.outcome for a in cluster.local_monitoring.history(job_id)}
    for stage in ("map", "reduce"):
        for path in whole_files(job_directory(cluster.directory, job_id) / "attempts" / stage):
            number, _dot, attempt = path.name.partition(".")
            outcome = outcomes[f"{stage}/{number}", attempt]
            assert outcome not in ("superseded", "failed"), f"{path} stays of an attempt that {outcome}"


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
        assert self._launches(cluster or self.cluster) == self.launches
