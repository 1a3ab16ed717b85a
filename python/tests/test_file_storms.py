"""Storms over a job that reads files, spills, merges, and publishes files: the output is right, once, and complete."""

import os
import random
import time
from pathlib import Path

import pytest
from audit import Finished, check_history
from helpers import living_owner, reference, seeds, wait_until

import mapreduce

LINES = [f"{n % 11} line {n}" for n in range(48)]
MEGABYTE = 1 << 20


def map_func(lines):
    """Eight megabytes for each line: a task of six lines does not fit into its buffers."""
    for line in lines:
        time.sleep(0.02)
        for part in range(8):
            yield line.split()[0], f"{line} {part} " + "x" * MEGABYTE


def reduce_func(values):
    time.sleep(0.02)
    return ",".join(value[:14].strip("x ") for value in values)


def expected():
    """A function, because executors import this module, too, and may not take the memory for this."""
    return [f"{key}\t{value}" for key, value in reference(LINES, map_func, reduce_func)]


@pytest.mark.parametrize("seed", seeds(4))
def test_a_storm_over_files(new_cluster, tmp_path, seed):
    print(f"MAPREDUCE_SEED={seed}")
    rng = random.Random(seed)
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in LINES))
    cluster = new_cluster(n_workers=2, n_masters=2, memory_bytes_max=256 << 20)
    future = cluster.mapreduce(
        mapreduce.read_text(tmp_path / "in.txt", split_bytes=60),
        map_func,
        reduce_func,
        n_partitions=4,
        values="iterator",
        batch_size=1,
        output=mapreduce.write_text(tmp_path / "out"),
    )
    finished = []
    for goal in sorted(rng.sample(range(1, 11), 3)):
        wait_until(lambda goal=goal: future.done() or done(future) >= goal, f"{goal} tasks are finished")
        time.sleep(rng.random() * 0.1)
        finished.append(Finished(cluster, future.job_id))
        state = cluster.local_monitoring.state()
        owner = living_owner(cluster, future.job_id)
        masters = [master.id for master in state.masters] if rng.random() < 0.5 else owner
        cluster.kill(*(worker.id for worker in state.workers), *masters)
        cluster.scale(n_workers=2, n_masters=2)
    files = future.result()
    assert sorted(line for file in files for line in Path(file).read_text().splitlines()) == expected()
    assert sorted(os.listdir(tmp_path / "out")) == ["_SUCCESS", *(f"part-0000{n}.txt" for n in range(4))]
    for moment in finished:
        moment.check_none_ran_again()
    check_history(cluster, future.job_id)


def done(future):
    progress = future.progress()
    return progress.map_done + progress.reduce_done
