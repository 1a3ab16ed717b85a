"""Data larger than memory: what the process of a task takes at most."""

from collections.abc import Callable

import inputs
import jobs
from measure import AUTH, Bench, PeakMemory, example, program, timed
from speed import parts

import mapreduce
from mapreduce import LocalCluster

LIMIT_MIB = 512
"""Most memory of one task's process."""


def growth(bench: Bench) -> None:
    """The same job on more data: a copy of a file is as good as another file."""
    mb, times = bench.given.mb, bench.given.growth
    text = bench.inputs.text(mb)
    copies = bench.inputs.copies(text, times)
    count = program(example("word_count"), text)
    once_s = min(timed(count).seconds for _ in range(bench.given.repetitions))
    with PeakMemory() as small:
        once = timed(count, counts)
    with PeakMemory() as large:
        often = timed(program(example("word_count"), *copies), counts)
    assert often.result == {word: times * n for word, n in once.result.items()}
    what = f"words, {mb * times:,} MB, Rust, time for {mb:,} MB"
    bench.table.beside(what, often.seconds / times, f"{mb:,} MB", once_s, goal=1.2)
    bench.table.beside("    most memory of a task's process", large.mib, f"{mb:,} MB", small.mib, unit="MiB")


def counts(printed: str) -> dict[str, int]:
    return {word: int(n) for word, n in (line.split("\t") for line in printed.splitlines())}


def memory(bench: Bench) -> None:
    limited_native(bench)
    limited_python(bench, "combine_func=sum", sum)
    limited_python(bench, "no combiner", None)
    many_keys(bench)
    many_values(bench)


def show(bench: Bench, what: str, seconds: float, peak: PeakMemory) -> None:
    bench.table.alone(f"{what}, {LIMIT_MIB} MiB a slot", seconds, "s")
    bench.table.alone("    most memory of a task's process", peak.mib, "MiB", goal=LIMIT_MIB)


def limited_native(bench: Bench) -> None:
    mb, times = bench.given.mb, bench.given.growth
    copies = bench.inputs.copies(bench.inputs.text(mb), times)
    limit = str(LIMIT_MIB << 20)
    with PeakMemory() as peak:
        done = timed(program(example("word_count"), *copies, MEMORY_BYTES_MAX=limit), counts)
    by_hand = counts(program(example("words_by_hand"), copies[0])())
    assert done.result == {word: times * n for word, n in by_hand.items()}
    show(bench, f"words, {mb * times:,} MB, Rust", done.seconds, peak)


def cluster() -> LocalCluster:
    return LocalCluster(AUTH, n_workers=2, n_masters=1, memory_bytes_max=LIMIT_MIB << 20)


def limited_python(bench: Bench, how: str, combine_func: Callable[[list[int]], int] | None) -> None:
    text = bench.inputs.text(bench.given.memory_mb)
    with cluster() as limited, PeakMemory() as peak:

        def job() -> list[tuple[str, int]]:
            data = mapreduce.read_text(text)
            return limited.mapreduce(data, jobs.map_words, sum, combine_func=combine_func).result()

        done = timed(job, jobs.digest_of_pairs)
    assert done.result == jobs.digest(program(example("words_by_hand"), text)().splitlines())
    show(bench, f"words, {bench.given.memory_mb:,} MB, Python, {how}", done.seconds, peak)


def many_keys(bench: Bench) -> None:
    n, out = bench.given.memory_keys, bench.scratch / "many-keys"
    keys = bench.inputs.keys(n)
    with cluster() as limited, PeakMemory() as peak:
        output = mapreduce.write_text(out)
        data = mapreduce.read_text(keys)
        done = timed(lambda: limited.mapreduce(data, jobs.map_keys, sum, output=output).result())
    assert inputs.sums_are_right(parts(out), n)
    show(bench, f"group, {2 * n:,} pairs of {n:,} keys, Python", done.seconds, peak)


def many_values(bench: Bench) -> None:
    n = bench.given.memory_values
    numbers = mapreduce.read_text(bench.inputs.numbers(n // jobs.VALUES_A_RECORD), split_bytes=64 << 10)
    with cluster() as limited, PeakMemory() as peak:
        done = timed(lambda: limited.mapreduce(numbers, jobs.spread, jobs.add_up).result())
    assert done.result == [("all", (n, n * (n - 1) // 2))]
    show(bench, f"one key of {n:,} values, Python, an iterator", done.seconds, peak)
