"""`make storm RUNS=n SEED=s`: that many storms, one after the other, and a table of recovery times.

Storm i is drawn from SEED + i; without SEED, from a random one. A storm that fails is told of with the command that
plays it again, and its directory stays.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from mapreduce import Auth
from storms.blows import LEASE_MS
from storms.recovery import Recovery, table
from storms.storm import Report, play


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="how many storms [default: %(default)s]")
    parser.add_argument("--seed", type=int, help="the first one's seed")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed
    base = Path(tempfile.mkdtemp(prefix="storms-"))
    for name in ("home", "tmp"):
        (base / name).mkdir()
    os.environ.update(MAPREDUCE_HOME=str(base / "home"), TMPDIR=str(base / "tmp"))
    tempfile.tempdir = None
    auth = Auth("admin", "admin")

    began = time.monotonic()
    failed: list[int] = []
    found: list[Recovery] = []
    blows: Counter[str] = Counter()
    jobs: Counter[str] = Counter()
    for n in range(given.runs):
        report = Report(seed + n)
        start = time.monotonic()
        try:
            play(report, auth, place_of(base, report.seed))
        except Exception:
            traceback.print_exc()
            failed.append(report.seed)
            print(f"FAILED: {report}\n  replay: make storm RUNS=1 SEED={report.seed}")
            print(f"  logs, state and storage: {base / str(report.seed)}", flush=True)
        print(f"{n + 1}/{given.runs} seed {report.seed}, {time.monotonic() - start:.1f} s: {report}", flush=True)
        found += report.recoveries
        jobs[report.job] += 1
        blows.update(f"{blow.how} {blow.whom}" for blow in report.blows)

    print(
        f"\n{given.runs} storms from seed {seed} in {(time.monotonic() - began) / 60:.1f} minutes, lease {LEASE_MS} ms"
    )
    print("jobs:", ", ".join(f"{n} {job}" for job, n in sorted(jobs.items())))
    print("blows:", ", ".join(f"{n} {blow}" for blow, n in sorted(blows.items())))
    print(f"\n{table(found)}\n")
    if failed:
        print(f"{len(failed)} FAILED: seeds {failed}; see {base}")
        sys.exit(1)
    shutil.rmtree(base)
    print("every promise held in all of them")


def place_of(base: Path, seed: int) -> Path:
    place = base / str(seed)
    place.mkdir()
    return place


if __name__ == "__main__":
    main()
