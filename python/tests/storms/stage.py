"""Where a storm plays: a cluster, the client that submitted the job, and who takes over when either is gone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from helpers import command_of, processes_of, wait_until

from mapreduce import Auth, LocalCluster
from storms.client import digest
from storms.jobs import Job

RESULT_S = 120
"""When to stop waiting for a result that ought to come; nothing depends on how soon it comes."""

CLIENTS = ["this one", "another one", "another one, which started the cluster"]


class Stage:
    """A cluster with a job on it. Whoever started it, it is looked at and blown at from this process."""

    def __init__(self, auth: Auth, place: Path, job: Job, client: str, options: dict[str, Any]) -> None:
        self.auth, self.place, self.job = auth, place, job
        self.directory = place / "cluster"
        self.options = options | job.cluster_options
        self.client: subprocess.Popen[str] | None = None
        self.starter_lives = client == CLIENTS[2]
        self.killed_keepers: set[int] = set()
        job.prepare(place)
        if client == CLIENTS[0]:
            self.cluster = LocalCluster(auth, directory=self.directory, **self.options)
            self.future = job.submit(self.cluster, place)
            wait_until(lambda: self.future.progress().phase != "upload", "the job is submitted")
            assert self.future.job_id is not None
            self.job_id: str = self.future.job_id
        else:
            if client == CLIENTS[1]:
                self.cluster = LocalCluster(auth, directory=self.directory, **self.options)
            self.job_id = self._submit_from_another_process(self.options if self.starter_lives else None)
            if client == CLIENTS[2]:
                self.cluster = LocalCluster(auth, initialize=False, directory=self.directory)
            self.future = self.cluster.attach(self.job_id)

    def _submit_from_another_process(self, starts: dict[str, Any] | None) -> str:
        kind = type(self.job)
        arguments = [f"{kind.__module__}:{kind.__qualname__}", json.dumps(starts), str(self.directory), str(self.place)]
        path = os.pathsep.join(entry for entry in sys.path if entry)
        with (self.place / "client.log").open("w") as log:
            self.client = subprocess.Popen(
                [sys.executable, "-m", "storms.client", *arguments],
                env=os.environ | {"PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.client.stdout is not None
        job_id = self.client.stdout.readline().strip()
        assert job_id, f"the client failed: see {log.name}"
        return job_id

    def kill_client(self) -> None:
        """Ends the client, and with it the cluster if it started that."""
        if self.client is not None:
            self.client.kill()
            self.client.communicate()
            self.client = None

    def kill_everything(self) -> None:
        """By its root: the client that started the cluster, or else the keeper, with which all of its children go."""
        if self.starter_lives:
            self.kill_client()
        else:
            keepers = self._keepers()
            self.killed_keepers.update(keepers)
            send(signal.SIGKILL, keepers)
            wait_until(lambda: not self._keepers(), "the keeper is gone")

    def _keepers(self) -> list[int]:
        """The keeper's process id. Its command line holds its options, the directory among them."""
        marks = (b"keeper", f'"{self.directory}"'.encode())
        return [pid for pid in processes_of(os.environ["MAPREDUCE_HOME"]) if all(m in command_of(pid) for m in marks)]

    def start_again(self, **options: Any) -> None:
        """A new cluster in the directory of the one that is gone."""
        with self.cluster:
            pass
        self.starter_lives = False
        self.cluster = LocalCluster(self.auth, directory=self.directory, **(self.options | options))
        self.future = self.cluster.attach(self.job_id)

    def done(self) -> int:
        """How many tasks are finished."""
        progress = self.future.progress()
        return progress.map_done + progress.reduce_done

    def result(self) -> list[Any]:
        result: list[Any] = self.future.result(RESULT_S)
        return result

    def check_all_see(self, result: list[Any]) -> None:
        """Every client sees this result: one that attaches later, and the one that submitted the job."""
        assert self.cluster.attach(self.job_id).result(RESULT_S) == result, "the result was another one the second time"
        if self.client is not None:
            assert self.client.stdout is not None
            assert self.client.stdout.readline().strip() == digest(result), "the client got another result"

    def end(self) -> None:
        """Everybody leaves, and nobody had anything to complain of."""
        starter_lived, client = self.starter_lives, self.client
        if client is not None:
            client.communicate("")
            self.client = None
            assert (client.returncode, (self.place / "client.log").read_text()) == (0, "")
        if starter_lived:
            with self.cluster:
                pass
        else:
            self.cluster.shutdown_cluster(cleanup=True)

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """However it ended, no process stays; what is in the directory does."""
        self.kill_client()
        with self.cluster:
            pass


def send(signum: int, pids: Iterable[int]) -> None:
    """Sends a signal to some processes; those that are gone don't mind."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
