"""`make demo`: the perfect storm before your eyes, then a word count of real files.

Every process that works on a job is killed in the middle of it; the right result comes nevertheless, and no
task that had finished runs again. What is printed is read from the cluster; the exit code says if it held.
"""

import argparse
import re
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

import letters

from mapreduce import Auth, LocalCluster


def title(text):
    print(f"\n\033[1m== {text}\033[0m\n" if sys.stdout.isatty() else f"\n== {text}\n", flush=True)


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def wait_until(predicate, what, deadline_s=60):
    deadline = time.monotonic() + deadline_s
    while not (value := predicate()):
        if time.monotonic() > deadline:
            sys.exit(f"FAIL: {deadline_s} s went by and still not: {what}")
        time.sleep(0.005)
    return value


def job_of(cluster, future):
    (job,) = (job for job in cluster.local_monitoring.state().jobs if job.id == future.job_id)
    return job


def launches(cluster, future, tasks):
    """Which attempts at these tasks the job's history knows."""
    return {(a.task, a.attempt) for a in cluster.local_monitoring.history(future.job_id) if a.task in tasks}


def count_in_plain_python(strings):
    groups = {}
    for key, value in letters.map_func(strings):
        groups.setdefault(key, []).append(value)
    return sorted((key, letters.reduce_func(values)) for key, values in groups.items())


def storm(cluster, n_strings):
    """Plays the storm; gives whether everything held."""
    strings = letters.generate(n_strings)
    expected, plain_s = timed(count_in_plain_python, strings)
    print(f"{n_strings:,} strings of 20 letters; plain Python counts them in {plain_s:.1f} s")
    monitoring = cluster.local_monitoring
    future = cluster.mapreduce(strings, letters.map_func, letters.reduce_func)
    wait_until(lambda: (p := future.progress()).map_total and p.map_done >= p.map_total // 3, "a third is finished")

    title("Before the storm")
    monitoring.print_zoo()
    job = job_of(cluster, future)
    finished = {task.id for task in job.tasks if task.state == "committed"}
    before = launches(cluster, future, finished)
    if job.owner is None or len(finished) == len(job.tasks):
        sys.exit("FAIL: the job was over before the storm; give it more --strings")
    victims = [*monitoring.get_registered_workers()[0], job.owner]
    cluster.kill(*victims)

    title("The storm: kill -9 of every worker and of the master that owns the job")
    print(*(f"killed {victim}" for victim in victims), sep="\n")

    wait_until(lambda: job_of(cluster, future).owner not in (None, job.owner), "another master owns the job")
    title("After the storm: another master owns the job, and nobody works")
    monitoring.print_zoo()

    title("10 new workers")
    new_workers = time.perf_counter()
    cluster.scale(n_workers=10)
    result = future.result()
    print(f"the result came {time.perf_counter() - new_workers:.2f} s after they were asked for")
    monitoring.print_zoo()

    title("The result")
    n_again = len(launches(cluster, future, finished) - before)
    print(*result[:3], "...", result[-1])
    print(f"equal to plain Python's: {result == expected}")
    print(f"finished before the storm: {len(finished)} of {len(job.tasks)} tasks; ran again: {n_again}")
    return result == expected and n_again == 0


def words_of(text):
    return Counter(re.findall(r"\w+", text))


def words_map(files):
    for _name, text in files:
        yield from words_of(text).items()


def words_in_plain_python(files):
    total = Counter()
    for _name, text in files:
        total.update(words_of(text))
    return sorted(total.items())


def count_words(cluster, n_files):
    """Counts the words of the Python standard library's sources; gives whether the result is right."""
    library = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in library.rglob("*.py") if "site-packages" not in path.parts)[:n_files]
    files = [(path.name, path.read_text(encoding="utf-8", errors="replace")) for path in paths]
    n_characters = sum(len(text) for _name, text in files)
    print(f"{len(files):,} files below {library}, {n_characters / 1e6:.1f} million characters")

    result, cluster_s = timed(lambda: cluster.mapreduce(files, words_map, sum).result())
    expected, plain_s = timed(words_in_plain_python, files)
    print(f"{len(result):,} different words; {cluster_s:.1f} s, plain Python {plain_s:.1f} s")
    for word, count in sorted(result, key=lambda pair: -pair[1])[:5]:
        print(f"{count:8,} {word}")
    print(f"equal to plain Python's: {result == expected}")
    return result == expected


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strings", type=int, default=1_000_000, help="strings whose letters are counted")
    parser.add_argument("--files", type=int, default=None, help="files whose words are counted; unasked: all")
    arguments = parser.parse_args()
    with LocalCluster(Auth("admin", "admin"), n_workers=4, n_masters=2) as cluster:
        title("The perfect storm")
        survived = storm(cluster, arguments.strings)
        title("Real files: the words of Python's standard library")
        counted = count_words(cluster, arguments.files)
    print("\nPASS" if survived and counted else "\nFAIL")
    sys.exit(0 if survived and counted else 1)


if __name__ == "__main__":
    main()
