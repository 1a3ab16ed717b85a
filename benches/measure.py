"""Taking times side by side, what processes take of the machine, and printing it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from inputs import Inputs

from mapreduce import Auth

AUTH = Auth("admin", "admin")

Run = Callable[[], "Timed"]
"""Does a job once."""


@dataclass(frozen=True)
class Timed:
    """How long a job took, and what shows that its result is right."""

    seconds: float
    result: Any


def timed(function: Callable[[], Any], of_result: Callable[[Any], Any] = lambda result: result) -> Timed:
    """Times a call; `of_result` makes what is compared of its result, in no time."""
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    return Timed(seconds, of_result(result))


def best(repetitions: int, *runs: Run) -> list[float]:
    """The best of some times of each, one after the other, so that a slow moment hits all; their results are equal."""
    rounds = [[run() for run in runs] for _ in range(repetitions)]
    results = [done.result for times in rounds for done in times]
    assert all(result == results[0] for result in results), f"results differ: {str(results)[:1000]}"
    return [min(done.seconds for done in times) for times in zip(*rounds, strict=True)]


class Table:
    """Prints rows as they come: what, ours, whose beside it, theirs, ours divided by theirs, and the goal."""

    def __init__(self) -> None:
        self._print("what", "ours", "beside", "theirs", "ratio", "goal")

    def _print(self, what: str, *columns: str) -> None:
        ours, beside, theirs, ratio, goal = columns
        print(f"{what:<52} {ours:>10}  {beside:<22} {theirs:>10} {ratio:>6}  {goal}".rstrip(), flush=True)

    def alone(self, what: str, measured: float, unit: str, goal: float | None = None) -> None:
        """Ours, and the most it is meant to be."""
        self._print(what, _with_unit(measured, unit), "", "", "", _goal(measured, goal, unit))

    def beside(
        self, what: str, ours: float, whose: str, theirs: float, *, goal: float | None = None, unit: str = "s"
    ) -> None:
        """Ours and another's, and the most that the ratio is meant to be."""
        ratio = ours / theirs
        self._print(
            what, _with_unit(ours, unit), whose, _with_unit(theirs, unit), f"{ratio:.2f}", _goal(ratio, goal, "")
        )

    def missing(self, what: str, whose: str, why: str) -> None:
        """That there is no time of another system, which is not there or failed."""
        self._print(what, "", whose, "none", "", why)


def _with_unit(number: float, unit: str) -> str:
    digits = 0 if number >= 100 or unit == "MiB" else 1 if number >= 10 else 2
    return f"{number:,.{digits}f} {unit}".rstrip()


def _goal(measured: float, goal: float | None, unit: str) -> str:
    if goal is None:
        return ""
    return f"at most {goal:g} {unit}".rstrip() + ("" if measured <= goal else "  MISSED")


class PeerError(Exception):
    """Another system is not there, or failed; the text says why."""


class Peers:
    """Other systems, in an interpreter that may have them."""

    def __init__(self, python: str | None) -> None:
        self._python = python

    @contextmanager
    def start(self, system: str, *job: object) -> Iterator[Run]:
        """A system that has started and waits for `job`, a name with its arguments.

        Raises PeerError, here or when it is to run.
        """
        if self._python is None:
            raise PeerError("no interpreter was given with --peers")
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            yield from self._start(self._python, errors, system, *job)

    def _start(self, python: str, errors: TextIO, system: str, *job: object) -> Iterator[Run]:
        here = Path(__file__).parent
        process = subprocess.Popen(
            [python, here / "peers.py", system, *map(str, job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # Its own processes import the jobs, too.
            env=os.environ | {"PYTHONPATH": str(here)},
        )
        assert process.stdin is not None and process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def answer() -> Any:
            line = stdout.readline()
            if not line:
                process.wait()
                errors.seek(0)
                raise PeerError(f"it ended: {' '.join(errors.read().split())[-300:]}")
            return json.loads(line)

        def run() -> Timed:
            with suppress(BrokenPipeError):  # it has ended: there is no answer
                stdin.write("run\n")
                stdin.flush()
            return Timed(**answer())

        try:
            if missing := answer().get("missing"):
                raise PeerError(missing)
            yield run
        finally:
            with suppress(BrokenPipeError):
                stdin.close()
            process.wait()
            stdout.close()


@dataclass(frozen=True)
class Bench:
    """What every row needs."""

    given: argparse.Namespace
    table: Table
    peers: Peers
    inputs: Inputs
    scratch: Path
    """A directory for what jobs write; it goes away."""

    def contest(
        self,
        what: str,
        ours: Run,
        others: Mapping[str, float | None],
        *,
        job: tuple[object, ...],
        repetitions: int,
        check: Callable[[Run], Run] = lambda theirs: theirs,
    ) -> None:
        """A row for each of the others, which are systems with the most that the ratio is meant to be.

        `job` is what they are asked for, and `check` makes a run of theirs one that is checked.
        """
        is_shown = False
        for system, goal in others.items():
            try:
                with self.peers.start(system, *job) as theirs:
                    ours_s, theirs_s = best(repetitions, ours, check(theirs))
            except PeerError as error:
                if not is_shown:
                    self.table.alone(what, best(repetitions, ours)[0], "s")
                self.table.missing(what, system, str(error))
            else:
                self.table.beside(what, ours_s, system, theirs_s, goal=goal)
            is_shown = True


def stat(pid: str | int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; raises OSError if there is no such process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def below(pids: Iterable[int]) -> set[int]:
    """These processes and those they have started, and so on."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents[int(entry)] = int(stat(entry)[1])
            except OSError:
                continue  # it ended meanwhile
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


class PeakMemory:
    """The most that the process of any task of ours has had in memory, as the kernel saw it, in MiB."""

    def __enter__(self) -> PeakMemory:
        self.mib, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        # The kernel keeps the peak, so a process only has to be seen shortly before its end.
        while not self._over.wait(0.1):
            for pid in below([os.getpid()]):
                try:
                    if b"executor" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                            if line.startswith("VmHWM:"):
                                self.mib = max(self.mib, int(line.split()[1]) / 1024)
                except OSError:
                    continue  # it ended meanwhile


def example(name: str) -> Path:
    """The program of an example in Rust; `make bench` builds them."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[1] / "target"))
    return target / "release" / "examples" / name


def program(*command: object, **environment: str) -> Callable[[], str]:
    """Runs a program and gives what it prints."""

    def run() -> str:
        done = subprocess.run(
            [str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment
        )
        return done.stdout

    return run


def warm_job(*command: object, **environment: str) -> tuple[float, str]:
    """Runs a program that starts a cluster for one job. How long it says the job alone took, and what it prints."""
    words = [str(word) for word in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    *_, seconds, unit = done.stderr.split()
    assert unit == "s", done.stderr
    return float(seconds), done.stdout


def python(code: str) -> float:
    """Seconds that a new interpreter needs for this."""
    return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True)).seconds
