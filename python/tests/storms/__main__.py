"""`make storm RUNS=n SEED=s`: that many storms, one after the other, and a table of recovery times.

Storm i is drawn from SEED + i; without SEED, from a random one. A storm that fails is told of with the command that
plays it again, and its directory stays. With ON, they play on real servers, each in a place of its own, and what
jobs publish is there, too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mapreduce import Auth
from storms.blows import LEASE_MS
from storms.jobs import FILES, below
from storms.recovery import Recovery, table
from storms.storm import Report, play

STORES = {"zookeeper": "coordination", "etcd": "coordination", "hdfs": "storage", "s3": "storage"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="how many storms [default: %(default)s]")
    parser.add_argument("--seed", type=int, help="the first one's seed")
    parser.add_argument("--on", nargs="*", choices=STORES, default=[], help="real servers, instead of the directory")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed
    base = Path(tempfile.mkdtemp(prefix="storms-"))
    with contextlib.ExitStack() as servers:
        # Before the home is set: by that, the processes of clusters are told apart.
        stores = {name: servers.enter_context(running(name)) for name in given.on}
        for name in ("home", "tmp"):
            (base / name).mkdir()
        os.environ.update(MAPREDUCE_HOME=str(base / "home"), TMPDIR=str(base / "tmp"))
        tempfile.tempdir = None
        for name in stores.keys() & {"hdfs", "s3"}:
            os.environ[FILES] = below(stores[name], "files")
        failed = storms(given.runs, seed, base, stores)
    if failed:
        print(f"{len(failed)} FAILED: seeds {failed}; see {base}")
        sys.exit(1)
    shutil.rmtree(base)
    print("every promise held in all of them")


@contextlib.contextmanager
def running(name: str) -> Iterator[str]:
    """Runs the servers of a store, and gives the URL of a place there."""
    command = ["cargo", "run", "--quiet", "--locked", "--package", "mapreduce-servers", "--", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as servers:
        assert servers.stdout is not None
        url = servers.stdout.readline().strip()
        assert url, f"{name} did not start"
        yield url


def storms(runs: int, seed: int, base: Path, stores: dict[str, str]) -> list[int]:
    """Plays that many, says how they went, and gives the seeds of those that failed."""
    auth = Auth("admin", "admin")
    urls = {STORES[name]: url for name, url in stores.items()}
    began = time.monotonic()
    failed: list[int] = []
    found: list[Recovery] = []
    blows: Counter[str] = Counter()
    jobs: Counter[str] = Counter()
    for n in range(runs):
        report = Report(seed + n)
        start = time.monotonic()
        try:
            play(report, auth, place_of(base, report.seed), stores=urls)
        except Exception:
            traceback.print_exc()
            failed.append(report.seed)
            on = f" ON='{' '.join(stores)}'" if stores else ""
            print(f"FAILED: {report}\n  replay: make storm RUNS=1 SEED={report.seed}{on}")
            print(f"  logs, state and storage: {base / str(report.seed)}", flush=True)
        print(f"{n + 1}/{runs} seed {report.seed}, {time.monotonic() - start:.1f} s: {report}", flush=True)
        found += report.recoveries
        jobs[report.job] += 1
        blows.update(f"{blow.how} {blow.whom}" for blow in report.blows)

    print(f"\n{runs} storms from seed {seed} in {(time.monotonic() - began) / 60:.1f} minutes, lease {LEASE_MS} ms")
    print("jobs:", ", ".join(f"{n} {job}" for job, n in sorted(jobs.items())))
    print("blows:", ", ".join(f"{n} {blow}" for blow, n in sorted(blows.items())))
    print(f"\n{table(found)}\n")
    return failed


def place_of(base: Path, seed: int) -> Path:
    place = base / str(seed)
    place.mkdir()
    return place


if __name__ == "__main__":
    main()
