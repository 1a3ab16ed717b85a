"""Jobs that have work to do, beside others that do the same."""

import gc
import multiprocessing
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import inputs
import jobs
from measure import AUTH, Bench, Run, Timed, best, example, program, timed, warm_job

import mapreduce
from mapreduce import LocalCluster


def letters(bench: Bench) -> None:
    given, table = bench.given, bench.table
    strings = jobs.letters(given.strings)
    what = f"letters, {given.strings:,} x 20, Python"
    with LocalCluster(AUTH, n_workers=2, n_masters=1) as cluster:

        def ours(**options: Any) -> Run:
            def job() -> list[tuple[str, int]]:
                return cluster.mapreduce(strings, jobs.map_letters, sum, **options).result()

            return lambda: timed(job, jobs.digest_of_pairs)

        def plain() -> list[tuple[str, int]]:
            groups = defaultdict(list)
            for key, value in jobs.map_letters(strings):
                groups[key].append(value)
            return sorted((key, sum(values)) for key, values in groups.items())

        best(1, ours())  # warm
        ours_s, plain_s = best(given.repetitions, ours(), lambda: timed(plain, jobs.digest_of_pairs))
        table.beside(what, ours_s, "one Python process", plain_s, goal=0.36)
        goals = {"Ray": 1 / 2.5, "PySpark": 1 / 7}
        bench.contest(what, ours(), goals, job=("letters", given.strings), repetitions=given.repetitions)

        with multiprocessing.get_context("fork").Pool(2, _keep, (strings,)) as pool:

            def map_alone() -> None:
                pool.map(_map_half, range(2), chunksize=1)

            best(1, lambda: timed(map_alone))  # warm
            combined = ours(combine_func=sum)
            rounds = [(combined(), timed(map_alone)) for _ in range(given.repetitions)]
        ours_s, alone_s = (min(done.seconds for done in times) for times in zip(*rounds, strict=True))
        table.beside(f"{what}, combine_func=sum", ours_s, "the map alone, 2 procs", alone_s)


_strings: list[str] = []


def _keep(strings: list[str]) -> None:
    _strings.extend(strings)


def _map_half(half: int) -> None:
    """As executors call it: small batches stay in the cache, and the cyclic collector has nothing to find."""
    gc.disable()
    for start in range(half * len(_strings) // 2, (half + 1) * len(_strings) // 2, 200):
        jobs.map_letters(_strings[start : start + 200])


def words(bench: Bench) -> None:
    text = bench.inputs.text(bench.given.mb)

    def of(name: str) -> Run:
        return lambda: timed(program(example(name), text), lambda printed: jobs.digest(printed.splitlines()))

    def warm() -> Timed:
        seconds, printed = warm_job(example("word_count"), text)
        return Timed(seconds, jobs.digest(printed.splitlines()))

    what = f"words, {bench.given.mb:,} MB, Rust"
    ours_s, by_hand_s = best(bench.given.repetitions, of("word_count"), of("words_by_hand"))
    bench.table.beside(f"{what}, with start and end", ours_s, "two threads by hand", by_hand_s, goal=1.15)
    repetitions = bench.given.repetitions
    bench.contest(what, warm, {"DuckDB": 1, "Polars": 1}, job=("words", text), repetitions=repetitions)


def python_words(bench: Bench) -> None:
    text = bench.inputs.text(bench.given.python_mb)
    what = f"words, {bench.given.python_mb:,} MB, Python, combine_func=sum"
    with LocalCluster(AUTH, n_workers=2, n_masters=1) as cluster:

        def of(map_words: Callable[[Iterable[str]], Iterable[tuple[str, int]]]) -> Run:
            job = cluster.mapreduce
            return lambda: timed(
                lambda: job(mapreduce.read_text(text), map_words, sum, combine_func=sum).result(),
                jobs.digest_of_pairs,
            )

        ours, loop = of(jobs.map_words), of(jobs.comprehend_words)
        bench.contest(what, ours, {"PySpark": 0.12}, job=("words", text), repetitions=2)
        ours_s, loop_s = best(2, ours, loop)
        bench.table.beside(what, ours_s, "with a comprehension", loop_s)


def parts(directory: Path) -> list[Path]:
    """The files of a result, in order."""
    assert (directory / "_SUCCESS").exists()
    return sorted(directory.glob("part-*"))


def remove(output: Path) -> None:
    """Takes away what an earlier run has written, so that no run's time has that in it."""
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)


def sort(bench: Bench) -> None:
    records, out, others_out = bench.inputs.records(bench.given.mb), bench.scratch / "sorted", bench.scratch / "others"
    expected, _ = inputs.records_of([records])

    def check(run: Run, output: Path, files: Callable[[], list[Path]]) -> Run:
        def checked() -> Timed:
            remove(output)
            seconds = run().seconds
            assert inputs.records_of(files()) == (expected, True), "records are lost, or not sorted"
            return Timed(seconds, None)

        return checked

    def ours() -> Timed:
        return Timed(*warm_job(example("sort"), out, records, CLUSTER=str(bench.scratch / "cluster")))

    what = f"sort, {bench.given.mb:,} MB, Rust, file to file, all durable"
    bench.contest(
        what,
        check(ours, out, lambda: parts(out)),
        {"DuckDB": 0.74, "Polars": None},
        job=("sort", records, others_out),
        repetitions=bench.given.repetitions,
        check=lambda theirs: check(theirs, others_out, lambda: [others_out]),
    )


def group(bench: Bench) -> None:
    n, out, others_out = bench.given.keys, bench.scratch / "sums", bench.scratch / "others-sums"
    keys = bench.inputs.keys(n)

    def check(run: Run, directory: Path) -> Run:
        def checked() -> Timed:
            remove(directory)
            seconds = run().seconds
            assert inputs.sums_are_right(parts(directory), n), "sums are lost or wrong"
            return Timed(seconds, None)

        return checked

    with LocalCluster(AUTH, n_workers=2, n_masters=1) as cluster:

        def job() -> Timed:
            data, output = mapreduce.read_text(keys), mapreduce.write_text(out)
            return timed(lambda: cluster.mapreduce(data, jobs.map_keys, sum, output=output).result())

        bench.contest(
            f"group, {2 * n:,} pairs of {n:,} keys, Python",
            check(job, out),
            {"PySpark": 1 / 3},
            job=("group", keys, others_out),
            repetitions=bench.given.repetitions,
            check=lambda theirs: check(theirs, others_out),
        )
