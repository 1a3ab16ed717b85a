"""Data larger than a list: words and sort over files, in Rust and in Python, with what the tasks' processes take.

    python benches/engine.py [--mb 1000] [--peers PYTHON]

`PYTHON` is an interpreter that has duckdb and polars; their times on the same files are printed beside ours. The
programs in Rust are the examples; `make bench` builds them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy

import mapreduce
from mapreduce import Auth, LocalCluster

ROOT = Path(__file__).parents[1]
AUTH = Auth("admin", "admin")


def show(what, measured, beside=""):
    print(f"{what:<58} {measured:>14}   {beside}", flush=True)


def write_text(path, megabytes):
    """Lines of 12 words, 200,000 distinct ones, with the frequencies of a natural language."""
    random = numpy.random.default_rng(11)
    lengths = random.integers(2, 12, size=200_000)
    words = numpy.array(["".join(chr(97 + c) for c in random.integers(0, 26, size=n)) for n in lengths])
    with open(path, "w") as file:
        while file.tell() < megabytes * 1_000_000:
            some = words[numpy.minimum(random.zipf(1.15, size=400_000), len(words)) - 1]
            file.write("\n".join(" ".join(some[i : i + 12]) for i in range(0, len(some), 12)) + "\n")


def write_records(path, megabytes):
    """Lines of 100 bytes that begin with a random key of ten."""
    random = numpy.random.default_rng(5)
    letters = numpy.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", dtype=numpy.uint8)
    with open(path, "wb") as file:
        for _ in range(megabytes // 10):
            lines = numpy.full((100_000, 100), ord("x"), dtype=numpy.uint8)
            lines[:, :10] = letters[random.integers(0, 36, size=(100_000, 10))]
            lines[:, 99] = 10
            file.write(lines.tobytes())


def timed(command, **options):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)
    return time.perf_counter() - start


def example(name):
    return str(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / name)


PEERS = {
    "duckdb words": """
import duckdb
duckdb.sql("set threads=2")
duckdb.sql("select w, count(*) from (select unnest(string_split(line, ' ')) w from read_csv('{path}',"
           "columns={{'line':'VARCHAR'}},delim='\\x01',quote='',escape='',header=false)) group by w").fetchall()
""",
    "polars words": """
import polars as pl
lazy = pl.scan_csv('{path}', has_header=False, separator='\\x01', quote_char=None, new_columns=['l'])
lazy.select(pl.col('l').str.split(' ').explode()).group_by('l').len().collect(engine='streaming').rows()
""",
    "duckdb sort": """
import duckdb
duckdb.sql("set threads=2")
duckdb.sql("copy (select line from read_csv('{path}',columns={{'line':'VARCHAR'}},delim='\\x01',quote='',escape='',"
           "header=false) order by line) to '{path}.sorted' (header false, quote '')")
""",
}


def bench_peer(peers, name, path, ours_s):
    if peers is None:
        return
    job = PEERS[name].format(path=path)
    code = f"import time; start = time.perf_counter()\n{job}\nprint(time.perf_counter() - start)"
    done = subprocess.run([peers, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        show(name, "not there", done.stderr.strip().splitlines()[-1])
        return
    peer_s = float(done.stdout.split()[-1])  # progress bars come before
    show(name, f"{peer_s:.1f} s", f"{peer_s / ours_s:.2f} times ours")


class PeakMemory:
    """The most that any one process below this one has had in memory at a time, in bytes."""

    def __enter__(self):
        self.peak, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(0.1):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        if b"mapreduce._executor" in (entry / "cmdline").read_bytes():
                            pages = int((entry / "statm").read_text().split()[1])
                            self.peak = max(self.peak, pages * os.sysconf("SC_PAGE_SIZE"))
                    except OSError:
                        continue  # it ended meanwhile


def words(lines):
    return [(word, 1) for line in lines for word in line.split()]


def python_words(path, **options):
    """Seconds and the peak memory of a task's process."""
    with LocalCluster(AUTH, n_workers=2, n_masters=1, memory_bytes_max=512 << 20) as cluster, PeakMemory() as memory:
        start = time.perf_counter()
        future = cluster.mapreduce(mapreduce.read_text(path), words, sum, **options)
        n = sum(n for _, n in future.iter_results())
        seconds = time.perf_counter() - start
    return seconds, memory.peak, n


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--peers", help="an interpreter with duckdb and polars")
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="mapreduce-bench-"))
    try:
        text, records = scratch / "text.txt", scratch / "records.txt"
        write_text(text, given.mb)
        write_records(records, given.mb)
        ours = min(timed([example("word_count"), str(text)]) for _ in range(3))
        show(f"words, {given.mb} MB, Rust, cluster start included", f"{ours:.1f} s")
        bench_peer(given.peers, "duckdb words", text, ours)
        bench_peer(given.peers, "polars words", text, ours)
        ours = timed([example("sort"), str(scratch / "sorted"), str(records)])
        show(f"sort, {given.mb} MB, Rust, cluster start included", f"{ours:.1f} s")
        bench_peer(given.peers, "duckdb sort", records, ours)
        for name, options in (("combiner", {"combine_func": sum}), ("no combiner", {})):
            seconds, peak, n = python_words(text, **options)
            show(f"words, {given.mb} MB, Python, {name}, 512 MiB a task", f"{seconds:.1f} s", f"{n:,} words")
            show("    most memory of a task's process", f"{peak / 2**20:.0f} MiB")
    finally:
        shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
