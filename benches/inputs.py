"""Files to work on, always the same bytes, and checks of what was made of them."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy

RECORD_BYTES = 100
KEY_BYTES = 10
CHUNK = 500_000
"""Records that are written or checked at a time."""


class Inputs:
    """Makes each file when it is asked for first; those of an earlier run in the same directory are used again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def text(self, megabytes: int) -> Path:
        """Lines of 12 words, 200,000 distinct ones, with the frequencies of a natural language."""
        return self._made(f"text-{megabytes}.txt", _text(megabytes * 1_000_000))

    def records(self, megabytes: int) -> Path:
        """Lines of 100 bytes that begin with a random key of ten."""
        return self._made(f"records-{megabytes}.txt", _records(megabytes * 1_000_000 // RECORD_BYTES))

    def keys(self, n: int) -> Path:
        """Lines `KEY VALUE`: each key below `n` twice, in random order, with values of which `sums` knows the sum."""
        return self._made(f"keys-{n}.txt", _keys(n))

    def numbers(self, n: int) -> Path:
        """The numbers below `n`, one a line."""
        return self._made(f"numbers-{n}.txt", (f"{number}\n".encode() for number in range(n)))

    def copies(self, path: Path, n: int) -> list[Path]:
        """`n` files with the content of one, which take no room."""
        names = [path.with_name(f"{path.stem}.{i}{path.suffix}") for i in range(n)]
        for name in names:
            name.unlink(missing_ok=True)
            os.link(path, name)
        return names

    def _made(self, name: str, content: Iterable[bytes]) -> Path:
        path = self.directory / name
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            with open(unfinished, "wb") as file:
                file.writelines(content)
            unfinished.rename(path)
        return path


def _text(n_bytes: int) -> Iterable[bytes]:
    random = numpy.random.default_rng(11)
    lengths = random.integers(2, 12, size=200_000)
    words = numpy.array(["".join(chr(97 + c) for c in random.integers(0, 26, size=n)) for n in lengths])
    while n_bytes > 0:
        some = words[numpy.minimum(random.zipf(1.15, size=400_000), len(words)) - 1]
        chunk = "\n".join(" ".join(some[i : i + 12]) for i in range(0, len(some), 12)) + "\n"
        yield chunk.encode()
        n_bytes -= len(chunk)


def _digits(numbers: numpy.ndarray, n_digits: int) -> numpy.ndarray:
    """Each number as a row of ASCII digits."""
    powers = 10 ** numpy.arange(n_digits - 1, -1, -1)
    return (ord("0") + numbers[:, None] // powers % 10).astype(numpy.uint8)


def _records(n: int) -> Iterable[bytes]:
    random = numpy.random.default_rng(5)
    alphabet = numpy.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", dtype=numpy.uint8)
    for start in range(0, n, CHUNK):
        numbers = numpy.arange(start, min(n, start + CHUNK))
        rows = numpy.full((len(numbers), RECORD_BYTES), ord("x"), dtype=numpy.uint8)
        rows[:, :KEY_BYTES] = alphabet[random.integers(0, 36, size=(len(numbers), KEY_BYTES))]
        rows[:, KEY_BYTES] = ord(" ")
        rows[:, KEY_BYTES + 1 : KEY_BYTES + 11] = _digits(numbers, 10)
        rows[:, -1] = ord("\n")
        yield rows.tobytes()


def _keys(n: int) -> Iterable[bytes]:
    random = numpy.random.default_rng(3)
    for first in (True, False):
        keys = random.permutation(n)
        for start in range(0, n, CHUNK):
            some = keys[start : start + CHUNK]
            rows = numpy.full((len(some), 13), ord(" "), dtype=numpy.uint8)
            rows[:, :8] = _digits(some, 8)
            rows[:, 9:12] = _digits(numpy.full(len(some), 1) if first else some % 1000, 3)
            rows[:, -1] = ord("\n")
            yield rows.tobytes()


def sums_are_right(paths: Iterable[Path], n: int) -> bool:
    """Whether these files have lines `KEY<TAB>SUM` with the sums of `Inputs.keys(n)`, in any order."""
    sums = numpy.full(n, -1)
    n_lines = 0
    for path in paths:
        found = numpy.fromfile(path, dtype=numpy.int64, sep=" ").reshape(-1, 2)
        sums[found[:, 0]] = found[:, 1]
        n_lines += len(found)
    return n_lines == n and bool((sums == 1 + numpy.arange(n) % 1000).all())


def records_of(paths: Iterable[Path]) -> tuple[int, bool]:
    """A number that depends on which records these files have and not on their order; whether keys ascend."""
    weights = numpy.random.default_rng(1).integers(1, 2**63, size=RECORD_BYTES, dtype=numpy.uint64) | numpy.uint64(1)
    total, ascend, last = 0, True, b""
    for path in paths:
        rows = numpy.memmap(path, dtype=numpy.uint8, mode="r").reshape(-1, RECORD_BYTES)
        for start in range(0, len(rows), CHUNK):
            some = numpy.array(rows[start : start + CHUNK])
            hashes = (some * weights).sum(axis=1, dtype=numpy.uint64)
            # Each sum is modulo 2**64, so all of them must be: else the total would depend on the files' number.
            total = (total + int((hashes ^ (hashes >> numpy.uint64(29))).sum(dtype=numpy.uint64))) % 2**64
            keys = some[:, :KEY_BYTES].copy().view(f"S{KEY_BYTES}").ravel()
            ascend = ascend and bool(last <= keys[0]) and bool((keys[:-1] <= keys[1:]).all())
            last = keys[-1]
    return total, ascend
