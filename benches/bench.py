"""`make bench`: what the project does beside what others do, in one run, each number beside its goal.

    make bench ARGS="--peers PYTHON"             beside the systems that this interpreter has
    make bench ARGS="--only letters,small"       only some of the rows
    make bench ARGS="--mb 100 --keys 100000"     smaller inputs

Numbers depend on the machine and on what else it does, ratios of one run much less. Goals are for two cores that do
nothing else. Every result is checked.
"""

import argparse
import tempfile
from pathlib import Path

import cluster
import memory
import speed
from inputs import Inputs
from measure import Bench, Peers, Table

ROWS = {
    "import": cluster.importing,
    "start": cluster.start,
    "small": cluster.small_job,
    "storm": cluster.storm,
    "idle": cluster.idle,
    "letters": speed.letters,
    "words": speed.words,
    "python-words": speed.python_words,
    "sort": speed.sort,
    "group": speed.group,
    "growth": memory.growth,
    "memory": memory.memory,
}


def rows(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(ROWS):
        raise argparse.ArgumentTypeError(f"no rows named {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with duckdb, polars, pyspark, ray")
    parser.add_argument("--only", type=rows, default=list(ROWS), metavar="ROW,...", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--directory", type=Path, help="where inputs are kept for the next time [default: nowhere]")
    parser.add_argument("--repetitions", type=int, default=3, help="how often most jobs are run, alternately")
    parser.add_argument("--strings", type=int, default=500_000, help="letters: strings of 20 letters")
    parser.add_argument("--mb", type=int, default=1000, help="words, sort, growth: size in megabytes")
    parser.add_argument("--python-mb", type=int, default=100, help="python-words: size in megabytes")
    parser.add_argument("--keys", type=int, default=1_000_000, help="group: different keys")
    parser.add_argument("--growth", type=int, default=10, help="growth, memory: how many times --mb is large")
    parser.add_argument("--memory-mb", type=int, default=1000, help="memory: size for Python functions in megabytes")
    parser.add_argument("--memory-keys", type=int, default=10_000_000, help="memory: different keys")
    parser.add_argument("--memory-values", type=int, default=50_000_000, help="memory: values of one key")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mapreduce-bench-") as scratch:
        directory = given.directory or Path(scratch)
        directory.mkdir(exist_ok=True)
        bench = Bench(given, Table(), Peers(given.peers), Inputs(directory), Path(scratch))
        for name in given.only:
            ROWS[name](bench)


if __name__ == "__main__":
    main()
