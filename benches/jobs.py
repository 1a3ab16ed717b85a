"""What every system is given to do: the user's functions, and how a result is compared.

Other systems' interpreters import this file, so it needs nothing but Python itself.
"""

import hashlib
import random
import string
from collections.abc import Iterable

FIVE_STRINGS = ["dasdsagf", "mike", "george", "gertretr123", "dsadsajortriojtiow"]


def letters(n_strings: int, length: int = 20) -> list[str]:
    """`n_strings` strings of lowercase letters, always the same."""
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


def map_words(lines: Iterable[str]) -> list[tuple[str, int]]:
    """Every word with a one."""
    return [(word, 1) for line in lines for word in line.split()]


def key_and_value(line: str) -> tuple[int, int]:
    """What a line of `inputs.keys` says."""
    key, value = line.split()
    return int(key), int(value)


def digest(lines: Iterable[str]) -> str:
    """The same for the same lines in any order."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def digest_of_pairs(pairs: Iterable[tuple[str, int]]) -> str:
    """The digest of pairs, as lines."""
    return digest(f"{key}\t{value}" for key, value in pairs)
