"""`make bench-stores`: jobs on a real ZooKeeper and a real HDFS, one server each, on this machine, or over files there.

Plain Python does the letters, too, in turn with the cluster, so that what the machine is worth shows; jobs over files
in HDFS take turns with the same jobs over files on the disk, of clusters that are on the disk. The servers are
those of the tests, and so is what they need (`python/tests/servers.py`). Every result is checked.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import jobs
from inputs import Inputs
from measure import AUTH, Timed, example, program, timed

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


def content(output: Path) -> bytes:
    assert (output / "_SUCCESS").exists()
    return b"".join(part.read_bytes() for part in sorted(output.glob("part-*")))


def files(given: argparse.Namespace, hdfs: str, directory: Path) -> None:
    shell = [*servers.hadoop(directory / "hdfs"), "org.apache.hadoop.fs.FsShell"]
    inputs = Inputs(directory)
    text, records = inputs.text(given.mb), inputs.records(given.mb)
    for file in (text, records):
        subprocess.run([*shell, "-put", str(file), "/"], check=True, capture_output=True)

    def words(place: object) -> Timed:
        return timed(program(example("word_count"), place), lambda printed: jobs.digest(printed.splitlines()))

    def sort(place: object, output: str) -> float:
        return timed(program(example("sort"), output, place)).seconds

    def turns(what: str, rounds: list[tuple[float, float]]) -> None:
        said(f"{what}, {given.mb:,} MB, Rust, disk", *(disk for disk, _ in rounds))
        said("the same in HDFS", *(elsewhere for _, elsewhere in rounds))

    rounds = [(words(text), words(f"{hdfs}/{text.name}")) for _ in range(given.repetitions)]
    assert all(disk.result == elsewhere.result for disk, elsewhere in rounds)
    turns("words", [(disk.seconds, elsewhere.seconds) for disk, elsewhere in rounds])

    sorts, sorted_here, sorted_there = [], directory / "sorted", f"{hdfs}/sorted"
    for _ in range(given.repetitions):
        shutil.rmtree(sorted_here, ignore_errors=True)
        subprocess.run([*shell, "-rm", "-r", "-f", "/sorted"], check=True, capture_output=True)
        sorts.append((sort(records, str(sorted_here)), sort(f"{hdfs}/{records.name}", sorted_there)))
    fetched = directory / "fetched"
    subprocess.run([*shell, "-get", "/sorted", str(fetched)], check=True, capture_output=True)
    assert content(fetched) == content(sorted_here)
    turns("sort", sorts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="how often letters are counted")
    parser.add_argument("--small", type=int, default=10, help="how many small jobs are run")
    parser.add_argument("--strings", type=int, default=500_000, help="letters: strings of 20 letters")
    parser.add_argument("--mb", type=int, default=1000, help="words and sort: size of their files")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mapreduce-bench-") as scratch:
        directory = Path(scratch)
        with servers.zookeeper(directory / "zookeeper") as zookeeper, servers.hdfs(directory / "hdfs") as hdfs:
            stores = {"coordination": f"zookeeper://{zookeeper}/cluster", "storage": f"{hdfs}/user/bench"}
            measure(given, stores, directory / "cluster")
            files(given, hdfs, directory)


if __name__ == "__main__":
    main()
