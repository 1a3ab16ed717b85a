"""Other systems on the same jobs: `python peers.py SYSTEM JOB ARGUMENT...`, in an interpreter that has the system.

It starts the system, says so, and then does the job once for each line that it reads. It answers in JSON, a line each.
Whatever goes wrong ends it, and is on standard error.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TextIO

import jobs

N_CORES = 2
N_SPLITS = 8
LINES = "columns={'line':'VARCHAR'},delim='\x01',quote='',escape='',header=false"

Job = tuple[Callable[[], Any], Callable[[Any], Any]]
"""Does the job; then, when the clock has stopped, makes what is compared of its result."""


def splits_of(data: list[Any]) -> list[list[Any]]:
    size = -(-len(data) // N_SPLITS)
    return [data[start : start + size] for start in range(0, len(data), size)]


def nothing(_: object) -> None:
    return None


def duckdb_words(path: str) -> Job:
    import duckdb

    duckdb.sql(f"set threads={N_CORES}")
    words = f"select unnest(string_split(line, ' ')) w from read_csv('{path}',{LINES})"
    return lambda: duckdb.sql(f"select w, count(*) from ({words}) group by w").fetchall(), jobs.digest_of_pairs


def duckdb_sort(path: str, out: str) -> Job:
    import duckdb

    duckdb.sql(f"set threads={N_CORES}")
    lines = f"select line from read_csv('{path}',{LINES}) order by line"
    return lambda: duckdb.sql(f"copy ({lines}) to '{out}' (header false, quote '')"), nothing


def polars_lines(path: str) -> Any:
    os.environ["POLARS_MAX_THREADS"] = str(N_CORES)  # it reads that when it is imported
    import polars

    return polars.scan_csv(path, has_header=False, separator="\x01", quote_char=None, new_columns=["line"])


def polars_words(path: str) -> Job:
    import polars

    words = polars_lines(path).select(polars.col("line").str.split(" ").explode()).group_by("line").len()
    return lambda: words.collect(engine="streaming").rows(), jobs.digest_of_pairs


def polars_sort(path: str, out: str) -> Job:
    lines = polars_lines(path).sort("line")
    return lambda: lines.sink_csv(out, include_header=False), nothing


def spark_context() -> Any:
    from pyspark import SparkConf, SparkContext

    os.environ["PYSPARK_PYTHON"] = sys.executable  # what runs the functions, too
    conf = SparkConf().setMaster(f"local[{N_CORES}]").set("spark.ui.enabled", "false")
    context = SparkContext(conf=conf.set("spark.driver.memory", "8g"))
    context.setLogLevel("ERROR")
    context.parallelize(range(N_CORES), N_CORES).map(lambda n: n + 1).collect()
    return context


def pyspark_letters(n_strings: str) -> Job:
    context, data = spark_context(), jobs.letters(int(n_strings))

    def run() -> Any:
        pairs = context.parallelize(data, N_SPLITS).mapPartitions(lambda split: jobs.map_letters(list(split)))
        return pairs.groupByKey().mapValues(lambda values: sum(list(values))).collect()

    return run, jobs.digest_of_pairs


def pyspark_words(path: str) -> Job:
    lines = spark_context().textFile(path, N_SPLITS)

    def run() -> Any:
        # A new one each time: Spark does not do again what it has shuffled once.
        return lines.flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(lambda a, b: a + b).collect()

    return run, jobs.digest_of_pairs


def pyspark_group(path: str, out: str) -> Job:
    lines = spark_context().textFile(path, N_SPLITS)

    def run() -> None:
        sums = lines.map(jobs.key_and_value).reduceByKey(lambda a, b: a + b)
        sums.map(lambda pair: f"{pair[0]}\t{pair[1]}").saveAsTextFile(out)

    return run, nothing


def start_ray() -> Any:
    import ray

    ray.init(num_cpus=N_CORES, include_dashboard=False, log_to_driver=False, object_store_memory=2 << 30)
    return ray


def group(pairs: Any) -> dict[Any, list[Any]]:
    groups = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def ray_letters(n_strings: str) -> Job:
    ray, data = start_ray(), jobs.letters(int(n_strings))

    @ray.remote(num_returns=N_CORES)
    def mapper(split: list[str]) -> list[Any]:
        parts: list[dict[Any, Any]] = [{} for _ in range(N_CORES)]
        for key, values in group(jobs.map_letters(split)).items():
            parts[ord(key) % N_CORES][key] = values
        return parts

    @ray.remote
    def reducer(*parts: Any) -> list[Any]:
        groups = defaultdict(list)
        for part in parts:
            for key, values in part.items():
                groups[key].extend(values)
        return [(key, sum(values)) for key, values in groups.items()]

    def run() -> Any:
        mapped = [mapper.remote(split) for split in splits_of(data)]
        reduced = [reducer.remote(*[parts[n] for parts in mapped]) for n in range(N_CORES)]
        return [pair for pairs in ray.get(reduced) for pair in pairs]

    return run, jobs.digest_of_pairs


def ray_small(n_times: str) -> Job:
    """The median of many; its result is the time."""
    ray = start_ray()

    @ray.remote
    def mapper(split: list[str]) -> Any:
        return jobs.map_letters(split)

    @ray.remote
    def reducer(*parts: Any) -> Any:
        return [(key, sum(values)) for key, values in group(pair for part in parts for pair in part).items()]

    def run() -> Any:
        times = []
        for _ in range(int(n_times)):
            start = time.perf_counter()
            result = ray.get(reducer.remote(*[mapper.remote([text]) for text in jobs.FIVE_STRINGS]))
            times.append(time.perf_counter() - start)
        return statistics.median(times), jobs.digest_of_pairs(result)

    return run, lambda result: result


JOBS: dict[tuple[str, str], Callable[..., Job]] = {
    ("DuckDB", "words"): duckdb_words,
    ("DuckDB", "sort"): duckdb_sort,
    ("Polars", "words"): polars_words,
    ("Polars", "sort"): polars_sort,
    ("PySpark", "letters"): pyspark_letters,
    ("PySpark", "words"): pyspark_words,
    ("PySpark", "group"): pyspark_group,
    ("Ray", "letters"): ray_letters,
    ("Ray", "small"): ray_small,
}


def answer(out: TextIO, **what: object) -> None:
    out.write(json.dumps(what) + "\n")
    out.flush()


def main() -> None:
    system, job, *arguments = sys.argv[1:]
    # Nothing but answers goes to standard output: systems print progress there.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        run, of_result = JOBS[system, job](*arguments)
    except ImportError as error:
        answer(out, missing=str(error))
        return
    answer(out, ready=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - start
        answer(out, seconds=seconds, result=of_result(result))


if __name__ == "__main__":
    main()
