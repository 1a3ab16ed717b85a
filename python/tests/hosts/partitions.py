"""`make hosts`: masters and workers on hosts of their own, and networks that fall apart in the middle of a job.

Coordination is a SQLite directory and storage a directory, which all hosts share: only the network between masters,
workers and the client is cut. It needs root, iproute2 and iptables, and fails without them; `make test` leaves it out.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from audit import record, whole_files
from helpers import wait_until

from hosts.network import Network
from mapreduce import Auth

PASSWORD = "not the default one"
N_MASTERS, N_WORKERS = 2, 3
LINES = [f"{n * 7919 % 97:02} {'x' * 1000}" for n in range(16 * 1024)]
"""16 MiB: 16 map tasks."""
CUT_S = 3.0
"""How long a network is cut; longer than the lease. Nothing is asserted about times."""


class Hosts:
    """A cluster of processes, each on its own host."""

    def __init__(self, network: Network, place: Path) -> None:
        self.network, self.directory, self.place = network, place / "cluster", place
        self.environment = os.environ | {"MAPREDUCE_HOME": str(place / "home"), "MAPREDUCE_PASSWORD": PASSWORD}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.host_of_pid: dict[int, str] = {}
        self.directory.mkdir()
        (self.directory / "cluster.key").write_text(os.urandom(32).hex())
        network.add("client")
        for n in range(N_MASTERS):
            address = network.add(f"m{n}")
            self.start(f"m{n}", "master", "--listen", f"{address}:0")
        for n in range(N_WORKERS):
            network.add(f"w{n}")
            self.start(f"w{n}", "worker", "--scratch", str(place / f"scratch-w{n}"))

    def wait(self) -> None:
        wait_until((self.directory / "coordination.db").exists, "somebody has started")
        wait_until(lambda: len(self.members("worker")) == N_WORKERS, "the workers are registered")
        wait_until(lambda: len(self.members("master")) == N_MASTERS, "the masters are registered")

    def start(self, host: str, *command: str) -> None:
        words = ["mapreduce", *command, "--directory", str(self.directory), "--log", "debug,h2=info,hyper=info"]
        with (self.place / f"{host}.log").open("w") as log:
            process = subprocess.Popen(
                [*self.network.within(host), *words], env=self.environment, stdout=log, stderr=log
            )
        self.processes.append(process)  # `ip netns exec` becomes the program
        self.host_of_pid[process.pid] = host

    def members(self, role: str) -> dict[str, int]:
        """The process ids of the masters or workers that live, by incarnation, read from coordination."""
        with contextlib.closing(sqlite3.connect(f"file:{self.directory}/coordination.db?mode=ro", uri=True)) as store:
            rows = store.execute("SELECT e.path, s.pid FROM entry e JOIN session s ON e.session = s.id").fetchall()
        return {path.rpartition("/")[2]: pid for path, pid in rows if path.startswith(f"/{role}s/")}

    def submit(self) -> subprocess.Popen[str]:
        """A job of commands, by a client on a host of its own."""
        (self.place / "in.txt").write_text("".join(f"{line}\n" for line in LINES))
        mapper = r"sleep 0.5; cut -d' ' -f1 | sort | uniq -c | awk '{print $2 \"\t\" $1}'".replace('\\"', '"')
        reducer = r"""awk -F'\t' '{n[$1] += $2} END {for (k in n) print k "\t" n[k]}'"""
        words = ["mapreduce", "run", "--mapper", mapper, "--reducer", reducer, "--partitions", "3"]
        files = ["--input", str(self.place / "in.txt"), "--output", str(self.place / "out")]
        return subprocess.Popen(
            [*self.network.within("client"), *words, *files, "--directory", str(self.directory)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def job(self) -> Path:
        return self.directory / "storage" / "jobs" / "job_1"

    def committed(self) -> list[str]:
        return [f"{p.parent.name}/{p.name}" for s in ("map", "reduce") for p in whole_files(self.job / "commits" / s)]

    def history(self) -> list[dict[str, Any]]:
        command = ["mapreduce", "history", "job_1", "--json", "--directory", str(self.directory)]
        done = subprocess.run(command, check=True, env=self.environment, stdout=subprocess.PIPE, text=True)
        attempts: list[dict[str, Any]] = json.loads(done.stdout)
        return attempts

    def owner(self) -> str:
        """The host of the master that owns the job."""
        events = [e for path in sorted(whole_files(self.job / "history")) for e in record(path, "history")["events"]]
        owner = [event["owner"] for event in events if event["event"] == "owned"][-1]
        return self.host_of_pid[self.members("master")[owner]]

    def end(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    assert os.geteuid() == 0, "network namespaces need root"
    monkeypatch.setenv("MAPREDUCE_HOME", str(tmp_path / "home"))
    # As a user would: masters don't listen on a network while the default password stands.
    Auth("admin", "admin").change_password(PASSWORD)
    with Network() as network:
        hosts = Hosts(network, tmp_path)
        try:
            hosts.wait()
            yield hosts
        finally:
            hosts.end()


Cut = Callable[[Network, str], None]


def cut_both(network: Network, owner: str) -> None:
    network.cut("w0", owner)
    network.cut(owner, "w0")


def mend_both(network: Network, owner: str) -> None:
    network.mend("w0", owner)
    network.mend(owner, "w0")


CUTS: dict[str, tuple[Cut, Cut]] = {
    "worker-and-owner": (cut_both, mend_both),
    "worker-to-owner": (lambda net, owner: net.cut("w0", owner), lambda net, owner: net.mend("w0", owner)),
    "owner-to-worker": (lambda net, owner: net.cut(owner, "w0"), lambda net, owner: net.mend(owner, "w0")),
    "worker-unplugged": (lambda net, _: net.unplug("w0"), lambda net, _: net.plug_in("w0")),
    "owner-unplugged": (lambda net, owner: net.unplug(owner), lambda net, owner: net.plug_in(owner)),
}


@pytest.mark.parametrize("what", CUTS)
def test_a_network_that_falls_apart_and_heals_changes_nothing_in_the_result(hosts: Hosts, what: str) -> None:
    cut, mend = CUTS[what]
    client = hosts.submit()
    wait_until(lambda: len(hosts.committed()) >= 4, "four tasks are finished")
    owner = hosts.owner()
    cut(hosts.network, owner)
    time.sleep(CUT_S)
    finished = set(hosts.committed())
    launched = launches(hosts, finished)
    assert len(finished) < 19, "the network was cut in the middle of the job"
    mend(hosts.network, owner)

    output, _ = client.communicate(timeout=120)
    assert client.returncode == 0, output
    lines = [
        line.split("\t") for path in (hosts.place / "out").glob("part-*") for line in path.read_text().splitlines()
    ]
    assert sorted((key, int(n)) for key, n in lines) == sorted(Counter(line[:2] for line in LINES).items())
    assert launches(hosts, finished) == launched, "a finished task ran again"
    attempts = hosts.history()
    ids = [(attempt["task"], attempt["attempt"]) for attempt in attempts]
    assert len(ids) == len(set(ids))
    winners = [attempt["task"] for attempt in attempts if attempt["outcome"] == "committed"]
    assert len(winners) == len(set(winners)) == 19
    print(what, Counter(attempt["outcome"] for attempt in attempts))


def test_a_worker_that_stays_unplugged_is_done_without(hosts: Hosts) -> None:
    """Nobody closes its connections, and its process lives on, as coordination shows."""
    client = hosts.submit()
    wait_until(lambda: len(hosts.committed()) >= 4, "four tasks are finished")
    hosts.network.unplug("w0")
    output, _ = client.communicate(timeout=120)
    assert client.returncode == 0, output
    assert len(hosts.committed()) == 19
    winners = [attempt["task"] for attempt in hosts.history() if attempt["outcome"] == "committed"]
    assert len(winners) == len(set(winners)) == 19


def launches(hosts: Hosts, tasks: set[str]) -> set[tuple[str, str]]:
    return {(attempt["task"], attempt["attempt"]) for attempt in hosts.history() if attempt["task"] in tasks}
