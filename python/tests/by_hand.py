"""Masters and workers that a test starts by hand, as a person or a supervisor does, and ends the same way."""

from __future__ import annotations

import itertools
import signal
import subprocess
import types
from collections.abc import Mapping
from pathlib import Path

from helpers import DEADLINE_S, command_of, wait_until

from mapreduce._program import find_program


class Started:
    """A process, what it logs, and a scratch directory that nobody else uses."""

    def __init__(self, *words: str, environment: Mapping[str, str], place: Path) -> None:
        place.mkdir()
        self.log, self.scratch = place / "log", place / "scratch"
        with self.log.open("wb") as output:
            self.popen = subprocess.Popen([*words, "--log=info"], env=environment, stdout=output, stderr=output)

    def tell_to_go(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Tells a worker, and returns when it knows."""
        n_times = self._n_times_told()
        self.popen.send_signal(by)
        wait_until(lambda: self.popen.poll() is not None or self._n_times_told() > n_times, "it is told to go")

    def _n_times_told(self) -> int:
        return self.log.read_text().count("told to go")

    def check_goes(self) -> None:
        """It ends by itself and without an error, and leaves neither a process nor a file."""
        assert self.popen.wait(DEADLINE_S) == 0, self.log.read_text()
        name = str(self.scratch).encode()
        processes = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        left = [pid for pid in processes if name in command_of(pid)]
        wait_until(lambda: not any(name in command_of(pid) for pid in left), "its executors are gone")
        assert [path for path in self.scratch.rglob("*") if path.is_file()] == []


class ByHand:
    """The processes of one test, which end with it. What they logged is shown if it fails."""

    def __init__(self, place: Path, environment: Mapping[str, str]) -> None:
        self.place, self.environment = place, environment
        self.started: list[Started] = []
        self._numbers = itertools.count()

    def __enter__(self) -> ByHand:
        return self

    def start(self, role: str, *options: str) -> Started:
        """Starts a master or worker; a worker without ``--scratch`` gets a directory of its own."""
        place = self.place / f"{role}-{next(self._numbers)}"
        own = [f"--scratch={place}/scratch"] if role == "worker" else []
        words = [find_program(), role, *own, *options]
        self.started.append(Started(*words, environment=self.environment, place=place))
        return self.started[-1]

    def __exit__(self, error: type[BaseException] | None, *_: BaseException | types.TracebackType | None) -> None:
        for each in self.started:
            each.popen.kill()
            each.popen.wait()
            if error:
                print(f"{each.log}:\n{each.log.read_text()}")
