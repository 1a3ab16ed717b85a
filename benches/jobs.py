"""What every system is given to do: the user's functions, and how a result is compared.

Executors and other systems' interpreters import this file, so it needs nothing but Python itself; and each of our
jobs anew, so what only the benchmark needs is imported where it does.
"""

import time
from collections.abc import Iterable, Iterator
from itertools import repeat

VALUES_A_RECORD = 1000
"""What `spread` makes of one."""
FIVE_STRINGS = ["dasdsagf", "mike", "george", "gertretr123", "dsadsajortriojtiow"]


def letters(n_strings: int, length: int = 20) -> list[str]:
    """`n_strings` strings of lowercase letters, always the same."""
    import random
    import string

    byte_to_letter = bytes(ord(string.ascii_lowercase[byte % 26]) for byte in range(256))
    text = random.Random(7).randbytes(n_strings * length).translate(byte_to_letter).decode()
    return [text[start : start + length] for start in range(0, len(text), length)]


def map_letters(data: Iterable[str]) -> list[tuple[str, int]]:
    """The headline example's function."""
    result = []
    for text in data:
        for char in text:
            result.append((char, 1))
    return result


def map_words(lines: Iterable[str]) -> Iterable[tuple[str, int]]:
    """Every word with a one. As with Spark's `flatMap(str.split)`, the loop over the words is not written in Python."""
    return zip(" ".join(lines).split(), repeat(1))


def comprehend_words(lines: Iterable[str]) -> list[tuple[str, int]]:
    """The same, with a loop."""
    return [(word, 1) for line in lines for word in line.split()]


def key_and_value(line: str) -> tuple[int, int]:
    """What a line of `inputs.keys` says."""
    key, value = line.split()
    return int(key), int(value)


def map_keys(lines: Iterable[str]) -> list[tuple[int, int]]:
    """What all of these lines say."""
    return [key_and_value(line) for line in lines]


def slow_map(data: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Takes its time, without a processor."""
    for number in data:
        time.sleep(0.05)
        yield number % 3, number


def spread(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Many values of one key for each record."""
    for line in lines:
        first = VALUES_A_RECORD * int(line)
        for value in range(first, first + VALUES_A_RECORD):
            yield "all", value


def add_up(values: Iterator[int]) -> tuple[int, int]:
    """How many there are, and their sum."""
    n = total = 0
    for value in values:
        n += 1
        total += value
    return n, total


def digest(lines: Iterable[str]) -> str:
    """The same for the same lines in any order."""
    import hashlib

    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def digest_of_pairs(pairs: Iterable[tuple[str, int]]) -> str:
    """The digest of pairs, as lines."""
    return digest(f"{key}\t{value}" for key, value in pairs)
