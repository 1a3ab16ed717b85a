"""A cluster of processes, each on its own host, and a job on it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from helpers import wait_until

from hosts.network import Network

PASSWORD = "not the default one"
N_MASTERS, N_WORKERS = 2, 3
LINES = [f"{n * 7919 % 97:02} {'x' * 1000}" for n in range(16 * 1024)]
"""16 MiB: 16 map tasks."""
N_TASKS = 16 + 3
CUT_S = 3.0
"""How long a network is cut; longer than the lease. Nothing is asserted about times."""


class Hosts:
    """Masters, workers and a client, which speak TLS. Coordination and storage are directories of all, or elsewhere."""

    def __init__(self, network: Network, place: Path, stores: Mapping[str, str] | None = None) -> None:
        self.network, self.directory, self.place = network, place / "cluster", place
        self.environment = os.environ | {"MAPREDUCE_HOME": str(place / "home"), "MAPREDUCE_PASSWORD": PASSWORD}
        self.processes: list[subprocess.Popen[bytes]] = []
        own = {"coordination": f"sqlite://{place}/coordination", "storage": f"file://{place}/storage"}
        urls = [f"--{name}={url}" for name, url in (own | dict(stores or {})).items()]
        network.add("client")
        init = [*network.within("client"), "mapreduce", "cluster", "init", str(self.directory), *urls]
        subprocess.run(init, check=True, env=self.environment)
        for n in range(N_MASTERS):
            address = network.add(f"m{n}")
            self.start(f"m{n}", "master", "--listen", f"{address}:0")
        for n in range(N_WORKERS):
            network.add(f"w{n}")
            self.start(f"w{n}", "worker", "--scratch", str(place / f"scratch-w{n}"))

    def start(self, host: str, *command: str) -> None:
        words = ["mapreduce", *command, "--directory", str(self.directory), "--log", "debug,h2=info,hyper=info"]
        with self.log(host).open("w") as log:
            process = subprocess.Popen(
                [*self.network.within(host), *words], env=self.environment, stdout=log, stderr=log
            )
        self.processes.append(process)  # `ip netns exec` becomes the program

    def log(self, host: str) -> Path:
        return self.place / f"{host}.log"

    def wait(self) -> None:
        wait_until(lambda: len(self.begun("worker")) == N_WORKERS, "the workers are registered")
        wait_until(lambda: len(self.begun("master")) == N_MASTERS, "the masters are registered")

    def begun(self, role: str) -> dict[str, str]:
        """The host of every master or worker that has ever registered, by incarnation, as its log says."""
        hosts = [f"{role[0]}{n}" for n in range(N_MASTERS if role == "master" else N_WORKERS)]
        said = re.compile(rf"(?:serving|registered).*?({role}-[0-9a-f]{{12}})")
        return {who: host for host in hosts for who in said.findall(self.log(host).read_text())}

    def ask(self, *command: str) -> str:
        """What a command of the client's host prints."""
        words = [*self.network.within("client"), "mapreduce", *command, "--directory", str(self.directory)]
        done = subprocess.run(words, check=False, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self) -> subprocess.Popen[str]:
        """A job of commands, by a client on a host of its own."""
        (self.place / "in.txt").write_text("".join(f"{line}\n" for line in LINES))
        mapper = r"sleep 1; cut -d' ' -f1 | sort | uniq -c | awk '{print $2 \"\t\" $1}'".replace('\\"', '"')
        reducer = r"""awk -F'\t' '{n[$1] += $2} END {for (k in n) print k "\t" n[k]}'"""
        words = ["mapreduce", "run", "--mapper", mapper, "--reducer", reducer, "--partitions", "3"]
        files = ["--input", str(self.place / "in.txt"), "--output", str(self.place / "out")]
        client = subprocess.Popen(
            [*self.network.within("client"), *words, *files, "--directory", str(self.directory)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_until(lambda: client.poll() is not None or "job_1" in self.ask("jobs"), "the job is submitted")
        wait_until(lambda: client.poll() is not None or len(self.committed()) >= 4, "four tasks are finished")
        assert client.poll() is None, client.communicate()[0]
        return client

    def history(self) -> list[dict[str, Any]]:
        attempts: list[dict[str, Any]] = json.loads(self.ask("history", "job_1", "--json"))
        return attempts

    def committed(self) -> set[str]:
        return {attempt["task"] for attempt in self.history() if attempt["outcome"] == "committed"}

    def launches(self, tasks: set[str]) -> set[tuple[str, str]]:
        return {(attempt["task"], attempt["attempt"]) for attempt in self.history() if attempt["task"] in tasks}

    def owner(self) -> str:
        """The host of the master that owns the job."""
        owner = re.search(r"^owner +(master-[0-9a-f]+)", self.ask("status", "job_1"), re.MULTILINE)
        assert owner, "nobody owns the job"
        return self.begun("master")[owner[1]]

    def end(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


Cut = Callable[[Network, str], None]


def survives(hosts: Hosts, what: str, cut: Cut, mend: Cut) -> None:
    """A job in the middle of which something is cut for a while, and mended, loses nothing and repeats nothing."""
    client = hosts.submit()
    owner = hosts.owner()
    cut(hosts.network, owner)
    time.sleep(CUT_S)
    finished = hosts.committed()
    launched = hosts.launches(finished)
    assert len(finished) < N_TASKS, "the network was cut in the middle of the job"
    mend(hosts.network, owner)

    output, _ = client.communicate(timeout=240)
    assert client.returncode == 0, output
    assert_result(hosts)
    assert hosts.launches(finished) == launched, "a finished task ran again"
    print(what, Counter(attempt["outcome"] for attempt in hosts.history()))


def assert_result(hosts: Hosts) -> None:
    """It is right, and each of its tasks has one commit, from an attempt of its own id."""
    lines = [
        line.split("\t") for path in (hosts.place / "out").glob("part-*") for line in path.read_text().splitlines()
    ]
    assert sorted((key, int(n)) for key, n in lines) == sorted(Counter(line[:2] for line in LINES).items())
    attempts = hosts.history()
    ids = [(attempt["task"], attempt["attempt"]) for attempt in attempts]
    assert len(ids) == len(set(ids))
    winners = [attempt["task"] for attempt in attempts if attempt["outcome"] == "committed"]
    assert len(winners) == len(set(winners)) == N_TASKS
