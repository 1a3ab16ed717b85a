"""The jobs that storms befall. Executors import this module, too: it should need little."""

from __future__ import annotations

import functools
import os
import random
import string
import time
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from mapreduce import LocalCluster
    from mapreduce._future import MapReduceFuture

N_RECORDS = 160
SPLIT = 4
N_PARTITIONS = 6
MAP_S, REDUCE_S = 0.03, 0.008
"""How long a map task takes, and a key: asleep, so that processes don't wait for one another."""


class Job(ABC):
    """A job that any process may submit, and how to tell whether its result is right.

    Made without arguments by whichever process needs it. `place` is a directory for its files.
    """

    cluster_options: ClassVar[dict[str, Any]] = {}

    def prepare(self, place: Path) -> None:
        """Makes the input, once, before anybody submits. Most jobs bring theirs along."""
        return

    @abstractmethod
    def submit(self, cluster: LocalCluster, place: Path) -> MapReduceFuture:
        """Submits the job."""

    @abstractmethod
    def check(self, result: list[Any], place: Path) -> None:
        """Insists on the result."""


def strings() -> list[str]:
    rng = random.Random(7)
    return ["".join(rng.choices(string.ascii_lowercase, k=20)) for _ in range(N_RECORDS)]


def map_letters(texts: Iterable[str]) -> Iterator[tuple[str, int]]:
    time.sleep(MAP_S)
    for text in texts:
        for letter in text:
            yield letter, 1


def count(ones: list[int]) -> int:
    time.sleep(REDUCE_S)
    return sum(ones)


class Letters(Job):
    """Counts letters."""

    def submit(self, cluster: LocalCluster, place: Path) -> MapReduceFuture:
        return cluster.mapreduce(strings(), map_letters, count, split_records=SPLIT, n_partitions=N_PARTITIONS)

    def check(self, result: list[Any], place: Path) -> None:
        assert result == sorted(Counter("".join(strings())).items())


def lines() -> list[str]:
    """Some of them equal."""
    rng = random.Random(8)
    return [f"{rng.randrange(80):04} {'x' * 30}" for _ in range(N_RECORDS)]


def map_lines(some: Iterable[str]) -> Iterator[tuple[str, int]]:
    time.sleep(MAP_S)
    for line in some:
        yield line, 1


FILES = "STORMS_FILES"
"""The environment variable that names the store in which jobs publish, if that is not a directory here."""


def below(url: str, name: str) -> str:
    """The URL of a place of this name in the one that a URL names."""
    place, mark, options = url.partition("?")
    return f"{place}/{name}{mark}{options}"


def contents(output: str) -> dict[str, bytes]:
    """The files of an output, by their URLs; an error if anything temporary stays there."""
    import mapreduce

    with mapreduce.LocalCluster(mapreduce.Auth("admin", "admin"), n_workers=1, n_masters=1) as cluster:

        def read(name: str) -> dict[str, bytes]:
            files = mapreduce.read_files(below(output, name))
            return dict(cluster.mapreduce(files, lambda found: found, lambda same: same[0]).result())

        assert len(read("_SUCCESS")) == 1
        try:
            raise AssertionError(f"{list(read('_temporary/**'))} stay")
        except mapreduce.InvalidArgumentError as nothing:
            assert "no file found" in str(nothing)
        return read("*")


class Sort(Job):
    """Sorts a file into files."""

    def prepare(self, place: Path) -> None:
        (place / "in.txt").write_text("".join(f"{line}\n" for line in lines()))

    def submit(self, cluster: LocalCluster, place: Path) -> MapReduceFuture:
        import mapreduce

        return cluster.mapreduce(
            mapreduce.read_text(place / "in.txt", split_bytes=36 * SPLIT),
            map_lines,
            count,
            sort=True,
            n_partitions=N_PARTITIONS,
            output=mapreduce.write_text(self.output(place)),
        )

    def output(self, place: Path) -> str:
        return below(os.environ[FILES], f"{place.name}/out") if FILES in os.environ else str(place / "out")

    def check(self, result: list[Any], place: Path) -> None:
        if FILES in os.environ:
            parts = contents(self.output(place))
            assert sorted(parts) == [part.partition("?")[0] for part in result]
            texts = [parts[url].decode() for url in sorted(parts)]
        else:
            assert sorted(os.listdir(place / "out")) == ["_SUCCESS", *(Path(part).name for part in result)]
            texts = [Path(part).read_text() for part in result]
        written = "".join(texts).splitlines()
        assert written == [f"{line}\t{n}" for line, n in sorted(Counter(lines()).items())]
        assert len(result) == N_PARTITIONS


N_KEYS = 24
KEYS_A_RECORD = 3
PAD_BYTES = 2000
"""With it a task's output is too large for its marker, and is a file."""


def keys_of(record: int) -> list[int]:
    return [(record * 5 + 7 * n) % N_KEYS for n in range(KEYS_A_RECORD)]


def pad(token: str, record: int) -> bytes:
    """Bytes that only this attempt's pairs of this record have."""
    return random.Random(f"{token} {record}").randbytes(PAD_BYTES)


def map_tokens(records: Iterable[int]) -> Iterator[tuple[int, tuple[int, str, bytes]]]:
    """One call is one attempt at a task, and all of its pairs carry what no other attempt's do."""
    token = f"{os.getpid()}-{os.urandom(8).hex()}"
    time.sleep(MAP_S)
    for record in records:
        for key in keys_of(record):
            yield key, (record, token, pad(token, record))


@functools.cache
def token_of(pid: int) -> str:
    return f"{pid}-{os.urandom(8).hex()}"


def reduce_tokens(values: list[tuple[int, str, bytes]]) -> tuple[str, list[tuple[int, str]]]:
    """The reducer's process, and what came to it; that a pair is one attempt's in all its bytes is checked here."""
    time.sleep(REDUCE_S)
    for record, token, padding in values:
        assert zlib.crc32(padding) == zlib.crc32(pad(token, record)), f"a pair of {token} was changed"
    return token_of(os.getpid()), [(record, token) for record, token, _ in values]


def partition_of(key: int, n_partitions: int) -> int:
    return key % n_partitions


class Tokens(Job):
    """A job of which no two attempts give the same: so a mixture of two shows in the result."""

    def submit(self, cluster: LocalCluster, place: Path) -> MapReduceFuture:
        return cluster.mapreduce(
            range(N_RECORDS),
            map_tokens,
            reduce_tokens,
            split_records=SPLIT,
            batch_size=SPLIT,
            n_partitions=N_PARTITIONS,
            partition_func=partition_of,
        )

    def check(self, result: list[Any], place: Path) -> None:
        pairs = [(key, record) for key, (_, values) in result for record, _ in values]
        assert Counter(pairs) == Counter((key, record) for record in range(N_RECORDS) for key in keys_of(record))
        attempts: dict[int, set[str]] = {}
        reducers: dict[int, set[str]] = {}
        for key, (reducer, values) in result:
            reducers.setdefault(partition_of(key, N_PARTITIONS), set()).add(reducer)
            for record, token in values:
                attempts.setdefault(record // SPLIT, set()).add(token)
        assert all(len(tokens) == 1 for tokens in attempts.values()), f"a mixture of attempts: {attempts}"
        assert len(set.union(*attempts.values())) == N_RECORDS // SPLIT, "each task has a token of its own"
        assert all(len(processes) == 1 for processes in reducers.values()), f"a mixture of attempts: {reducers}"


JOBS: list[type[Job]] = [Letters, Sort, Tokens]
