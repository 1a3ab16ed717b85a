"""Storms over a job that reads files, spills, merges, and publishes files: the output is right, once, and complete."""

import os
import time
from pathlib import Path
from typing import ClassVar

import pytest
from helpers import reference, seeds
from storms.jobs import Job
from storms.storm import Report, play

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


class Spilling(Job):
    """A job whose tasks don't fit into memory."""

    cluster_options: ClassVar = {"memory_bytes_max": 256 << 20}

    def prepare(self, place):
        (place / "in.txt").write_text("".join(f"{line}\n" for line in LINES))

    def submit(self, cluster, place):
        return cluster.mapreduce(
            mapreduce.read_text(place / "in.txt", split_bytes=60),
            map_func,
            reduce_func,
            n_partitions=4,
            values="iterator",
            batch_size=1,
            output=mapreduce.write_text(place / "out"),
        )

    def check(self, result, place):
        # Not where executors, which import this module, too, would take the memory for it.
        expected = [f"{key}\t{value}" for key, value in reference(LINES, map_func, reduce_func)]
        assert sorted(line for file in result for line in Path(file).read_text().splitlines()) == expected
        assert sorted(os.listdir(place / "out")) == ["_SUCCESS", *(f"part-0000{n}.txt" for n in range(4))]


@pytest.mark.parametrize("seed", seeds(4))
def test_a_storm_over_files(auth, tmp_path, seed):
    print(f"MAPREDUCE_SEED={seed}")
    play(Report(seed), auth, tmp_path, job=Spilling())
