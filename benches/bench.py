"""`make bench`: speed, each number beside its goal, as ratios in one run where that is possible.

Numbers depend on the machine and on what else it does; the goals are for two cores that do nothing else.
Other systems are measured on the same job where they can be imported, and left out where they can't.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import letters
import peers

from mapreduce import Auth, LocalCluster

AUTH = Auth("admin", "admin")


def timed(function):
    """The seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def show(what, measured, goal=""):
    print(f"{what:<52} {measured:>18}   {goal}", flush=True)


def plain_python(strings):
    groups = defaultdict(list)
    for key, value in letters.map_func(strings):
        groups[key].append(value)
    return sorted((key, letters.reduce_func(values)) for key, values in groups.items())


def bench_letters(n_strings, repetitions):
    """The best of some repetitions of each, one after the other, so that a slow moment hits both alike."""
    strings = letters.generate(n_strings)
    with LocalCluster(AUTH, n_workers=2, n_masters=1) as cluster:

        def on_cluster():
            return cluster.mapreduce(strings, letters.map_func, letters.reduce_func).result()

        on_cluster()  # warm
        pairs = []
        for _ in range(repetitions):
            plain_s, expected = timed(lambda: plain_python(strings))
            cluster_s, result = timed(on_cluster)
            assert result == expected
            pairs.append((plain_s, cluster_s))
    plain_s, cluster_s = (min(times) for times in zip(*pairs, strict=True))
    show(f"letters, {n_strings:,} x 20: plain Python", f"{plain_s:.2f} s")
    show("letters: cluster of 2 workers", f"{cluster_s:.2f} s")
    show("letters: ratio", f"{cluster_s / plain_s:.2f}", "at most 0.55")
    for name, run in peers.importable():
        peer_s, result = run(strings, letters.map_func, letters.reduce_func, repetitions)
        assert result == expected
        show(f"letters: {name}", f"{peer_s:.2f} s", f"{peer_s / cluster_s:.1f} times ours")


def bench_small_job(n_jobs):
    with LocalCluster(AUTH, n_workers=2, n_masters=1) as cluster:

        def job():
            return cluster.mapreduce(["to be", "or not"], lambda data: [(x, 1) for x in data], sum).result()

        for _ in range(5):
            job()
        times_ms = [timed(job)[0] * 1000 for _ in range(n_jobs)]
    cuts = statistics.quantiles(times_ms, n=10)
    show("small job, submit to result: p50", f"{statistics.median(times_ms):.1f} ms", "at most 30 ms")
    show("small job, submit to result: p90", f"{cuts[8]:.1f} ms")


def bench_start(repetitions):
    def start():
        with LocalCluster(AUTH, n_workers=4, n_masters=2) as cluster:
            ready = time.perf_counter()
            state = cluster.local_monitoring.state()
            assert (len(state.workers), len(state.masters)) == (4, 2)
        return ready

    times = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        times.append(start() - begin)
    show("LocalCluster(n_workers=4, n_masters=2) ready", f"{statistics.median(times):.2f} s", "at most 1 s")


def bench_import(repetitions):
    def python(code):
        return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True))[0]

    pairs = [(python("pass"), python("import mapreduce")) for _ in range(repetitions)]
    import_ms = 1000 * statistics.median(with_it - without for without, with_it in pairs)
    show("import mapreduce", f"{import_ms:.0f} ms", "at most 150 ms")


def slow_map(data):
    for number in data:
        time.sleep(0.05)
        yield number % 3, number


def bench_storm(repetitions):
    """From asking for new workers to the first launch, and to the first commit, of a job they find."""
    launched, committed = [], []
    for _ in range(repetitions):
        with LocalCluster(AUTH, n_workers=4, n_masters=2) as cluster:
            future = cluster.mapreduce(range(60), slow_map, sum)
            while future.progress().map_done < 10:
                time.sleep(0.005)
            state = cluster.local_monitoring.state()
            cluster.kill(*(worker.id for worker in state.workers), state.jobs[0].owner)
            asked_ms = time.time() * 1000
            cluster.scale(n_workers=4)
            future.result()
            newest = {worker.id for worker in cluster.local_monitoring.state().workers}
            attempts = [a for a in cluster.local_monitoring.history(future.job_id) if a.worker in newest]
            launched.append(min(attempt.launched_at_ms for attempt in attempts) - asked_ms)
            committed.append(min(attempt.ended_at_ms for attempt in attempts) - asked_ms)
    show("after the storm: first task launched", f"{statistics.median(launched):.0f} ms", "at most 1000 ms")
    show("after the storm: first 50 ms task finished", f"{statistics.median(committed):.0f} ms")


def cpu_seconds(pids):
    """Processor time that these processes and those below them have used."""
    fields = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
    wanted = set(pids)
    while below := {pid for pid, stat in fields.items() if int(stat[1]) in wanted} - wanted:
        wanted |= below
    ticks = sum(int(fields[pid][11]) + int(fields[pid][12]) for pid in wanted)
    return ticks / os.sysconf("SC_CLK_TCK")


def bench_idle(seconds):
    with LocalCluster(AUTH, n_workers=4, n_masters=2) as cluster:
        cluster.mapreduce([1], lambda data: [(1, 1)], sum).result()
        state = cluster.local_monitoring.state()
        process = state.masters[0].pid
        keeper = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        before = cpu_seconds([keeper])
        time.sleep(seconds)
        used = cpu_seconds([keeper]) - before
    show(
        f"idle cluster of 2 masters, 4 workers, over {seconds} s",
        f"{100 * used / seconds:.2f} %",
        "below 1 %",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strings", type=int, default=500_000)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    show("what", "measured", "goal")
    bench_import(10)
    bench_start(5)
    bench_small_job(100)
    bench_storm(3)
    bench_idle(10)
    bench_letters(arguments.strings, arguments.repetitions)


if __name__ == "__main__":
    main()
