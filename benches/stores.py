"""`make bench-stores`: small jobs and letters on a real ZooKeeper and a real HDFS, one server each, on this machine.

Plain Python does the letters, too, in turn with the cluster, so that what the machine is worth shows. The servers are
those of the tests, and so is what they need (`python/tests/servers.py`). Every result is checked.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import jobs
from measure import AUTH, timed

from mapreduce import LocalCluster

sys.path.append(str(Path(__file__).parents[1] / "python/tests"))
import servers


def said(what: str, *seconds: float) -> None:
    best, median = min(seconds), statistics.median(seconds)
    print(f"{what:<44} best {best:6.2f} s   median {median:6.2f} s   most {max(seconds):6.2f} s", flush=True)


def plain(strings: list[str]) -> list[tuple[str, int]]:
    groups = defaultdict(list)
    for key, value in jobs.map_letters(strings):
        groups[key].append(value)
    return sorted((key, sum(values)) for key, values in groups.items())


def measure(given: argparse.Namespace, stores: dict[str, str], directory: Path) -> None:
    began = time.perf_counter()
    with LocalCluster(AUTH, n_workers=2, n_masters=1, directory=directory, **stores) as cluster:
        said("a cluster of 2 workers and 1 master ready", time.perf_counter() - began)

        def run(strings: list[str]) -> list[tuple[str, int]]:
            return sorted(cluster.mapreduce(strings, jobs.map_letters, sum).result())

        assert run(jobs.FIVE_STRINGS) == plain(jobs.FIVE_STRINGS)  # warm
        said("small job of five strings", *(timed(lambda: run(jobs.FIVE_STRINGS)).seconds for _ in range(given.small)))
        strings = jobs.letters(given.strings)
        rounds = [(timed(lambda: run(strings)), timed(lambda: plain(strings))) for _ in range(given.repetitions)]
        assert all(ours.result == theirs.result for ours, theirs in rounds)
        said(f"letters, {given.strings:,} x 20, Python", *(ours.seconds for ours, _ in rounds))
        said("one Python process", *(theirs.seconds for _, theirs in rounds))
        ratio = statistics.median(ours.seconds / theirs.seconds for ours, theirs in rounds)
        print(f"{'letters, divided by one Python process':<44} median {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="how often letters are counted")
    parser.add_argument("--small", type=int, default=10, help="how many small jobs are run")
    parser.add_argument("--strings", type=int, default=500_000, help="letters: strings of 20 letters")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mapreduce-bench-") as scratch:
        directory = Path(scratch)
        with servers.zookeeper(directory / "zookeeper") as zookeeper, servers.hdfs(directory / "hdfs") as hdfs:
            stores = {"coordination": f"zookeeper://{zookeeper}/cluster", "storage": f"{hdfs}/user/bench"}
            measure(given, stores, directory / "cluster")


if __name__ == "__main__":
    main()
