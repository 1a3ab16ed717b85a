"""What a cluster costs apart from work: starting, a job that does nothing, recovering, idling."""

import os
import statistics
import time
from pathlib import Path

import jobs
from measure import AUTH, Bench, PeerError, Timed, below, best, python, stat, timed

from mapreduce import LocalCluster


def importing(bench: Bench) -> None:
    pairs = [(python("pass"), python("import mapreduce")) for _ in range(10)]
    import_s = statistics.median(with_it - without for without, with_it in pairs)
    bench.table.alone("import mapreduce", 1000 * import_s, "ms", goal=150)


def start(bench: Bench) -> None:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        with LocalCluster(AUTH, n_workers=4, n_masters=2) as cluster:
            times.append(time.perf_counter() - began)
            state = cluster.local_monitoring.state()
            assert (len(state.workers), len(state.masters)) == (4, 2)
    bench.table.alone("LocalCluster(n_workers=4, n_masters=2) ready", statistics.median(times), "s", goal=1)


def small_job(bench: Bench) -> None:
    """The median of many, and Ray's; some of ours and some of theirs in turn."""
    n_rounds, n_jobs = 5, 30
    times: list[float] = []
    with LocalCluster(AUTH, n_workers=2, n_masters=1) as cluster:

        def job() -> list[tuple[str, int]]:
            return cluster.mapreduce(jobs.FIVE_STRINGS, jobs.map_letters, sum).result()

        def ours() -> Timed:
            some = [timed(job) for _ in range(n_jobs)]
            times.extend(done.seconds for done in some)
            median = statistics.median(done.seconds for done in some)
            return Timed(median, jobs.digest_of_pairs(some[-1].result))

        ours()  # warm
        times.clear()
        why = None
        try:
            with bench.peers.start("Ray", "small", n_jobs) as ray:

                def theirs() -> Timed:
                    median, digest = ray().result
                    return Timed(median, digest)

                theirs()  # warm
                ours_s, ray_s = best(n_rounds, ours, theirs)
        except PeerError as error:
            why = str(error)
            best(n_rounds, ours)
    what = "five strings, submit to result"
    bench.table.alone(f"{what}, p50", 1000 * statistics.median(times), "ms", goal=10)
    bench.table.alone(f"{what}, p90", 1000 * statistics.quantiles(times, n=10)[8], "ms")
    if why is not None:
        bench.table.missing(f"{what}, p50", "Ray", why)
    else:
        bench.table.beside(f"{what}, best p50 of {n_rounds}", 1000 * ours_s, "Ray", 1000 * ray_s, unit="ms")


def storm(bench: Bench) -> None:
    """From asking for new workers to the first launch, and to the first commit, of a job they find."""
    launched, committed = [], []
    for _ in range(3):
        with LocalCluster(AUTH, n_workers=4, n_masters=2) as cluster:
            future = cluster.mapreduce(range(60), jobs.slow_map, sum)
            while future.progress().map_done < 10:
                time.sleep(0.005)
            state = cluster.local_monitoring.state()
            owner = state.jobs[0].owner
            assert owner is not None
            cluster.kill(*(worker.id for worker in state.workers), owner)
            asked_ms = time.time() * 1000
            cluster.scale(n_workers=4)
            assert sum(n for _, n in future.result()) == sum(range(60))
            newest = {worker.id for worker in cluster.local_monitoring.state().workers}
            attempts = [a for a in cluster.local_monitoring.history(future.job_id) if a.worker in newest]
            launched.append(min(attempt.launched_at_ms for attempt in attempts) - asked_ms)
            committed.append(min(a.ended_at_ms for a in attempts if a.ended_at_ms is not None) - asked_ms)
    bench.table.alone("after the storm: first task launched", statistics.median(launched), "ms", goal=1000)
    bench.table.alone("after the storm: first 50 ms task finished", statistics.median(committed), "ms")


def _cpu_seconds(pid: int) -> float:
    """Processor time that this process and those below it have used; those that ended meanwhile, too."""
    ticks = 0
    for process in below([pid]):
        try:
            fields = stat(process)
        except OSError:
            continue  # it ended meanwhile
        # Its own time, and that of its children which it has reaped.
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def idle(bench: Bench) -> None:
    seconds = 10
    with LocalCluster(AUTH, n_workers=4, n_masters=2) as cluster:
        cluster.mapreduce([1], lambda data: [(1, 1)], sum).result()
        keeper = int(stat(cluster.local_monitoring.state().masters[0].pid)[1])
        assert b"keeper" in Path(f"/proc/{keeper}/cmdline").read_bytes()
        before = _cpu_seconds(keeper)
        time.sleep(seconds)
        used = _cpu_seconds(keeper) - before
    bench.table.alone("idle cluster of 2 masters, 4 workers", 100 * used / seconds, "%", goal=1)
