"""The same job on other systems, where they are installed. Each gives (best seconds, result), warmed up."""

import importlib.util
import multiprocessing
import os
import sys
import time
from collections import defaultdict
from functools import partial

N_CORES = 2
N_SPLITS = 8


def importable():
    """The (name, function) of every peer that can be measured here."""
    peers = {"multiprocessing": in_multiprocessing, "ray": in_ray, "dask": in_dask, "pyspark": in_pyspark}
    needs = {"dask": "distributed"}
    return [(name, run) for name, run in peers.items() if importlib.util.find_spec(needs.get(name, name))]


def group(map_func, records):
    groups = defaultdict(list)
    for key, value in map_func(records):
        groups[key].append(value)
    return dict(groups)


def merge(parts, reduce_func):
    groups = defaultdict(list)
    for part in parts:
        for key, values in part.items():
            groups[key].extend(values)
    return sorted((key, reduce_func(values)) for key, values in groups.items())


def splits_of(data):
    size = -(-len(data) // N_SPLITS)
    return [data[start : start + size] for start in range(0, len(data), size)]


def best(repetitions, run):
    result = run()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times), result


def in_multiprocessing(data, map_func, reduce_func, repetitions):
    with multiprocessing.Pool(N_CORES) as pool:
        work = partial(group, map_func)
        return best(repetitions, lambda: merge(pool.imap(work, splits_of(data)), reduce_func))


def in_ray(data, map_func, reduce_func, repetitions):
    import ray

    modules = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    ray.init(num_cpus=N_CORES, include_dashboard=False, log_to_driver=False, runtime_env=modules)

    @ray.remote
    def mapper(split):
        return group(map_func, split)

    try:
        return best(
            repetitions,
            lambda: merge(ray.get([mapper.remote(split) for split in splits_of(data)]), reduce_func),
        )
    finally:
        ray.shutdown()


def in_dask(data, map_func, reduce_func, repetitions):
    from distributed import Client

    with Client(n_workers=N_CORES, threads_per_worker=1, dashboard_address=None) as client:

        def run():
            futures = client.map(partial(group, map_func), splits_of(data), pure=False)
            return merge(client.gather(futures), reduce_func)

        return best(repetitions, run)


def in_pyspark(data, map_func, reduce_func, repetitions):
    from pyspark import SparkConf, SparkContext

    conf = SparkConf().setMaster(f"local[{N_CORES}]").set("spark.ui.enabled", "false")
    context = SparkContext(conf=conf.set("spark.driver.memory", "4g"))
    try:

        def run():
            pairs = context.parallelize(data, N_SPLITS).mapPartitions(lambda records: map_func(list(records)))
            return sorted(pairs.groupByKey().mapValues(lambda values: reduce_func(list(values))).collect())

        return best(repetitions, run)
    finally:
        context.stop()
