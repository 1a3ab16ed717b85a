"""Counts the letters of random strings: the smallest job there is."""

import random
import string

from mapreduce import Auth, LocalCluster


def generate(n_strings, length=20, seed=7):
    """`n_strings` strings of `length` lowercase letters, the same for the same seed."""
    byte_to_letter = bytes(ord(string.ascii_lowercase[byte % 26]) for byte in range(256))
    letters = random.Random(seed).randbytes(n_strings * length).translate(byte_to_letter).decode()
    return [letters[start : start + length] for start in range(0, len(letters), length)]


def map_func(data):
    result = []
    for text in data:
        for char in text:
            result.append((char, 1))
    return result


def reduce_func(data):
    return sum(data)


def run(mapreduce, data):
    """`mapreduce(data, map_func, reduce_func)` gives the list of (key, value) of one job."""
    return mapreduce(data, map_func, reduce_func)


def main():
    with LocalCluster(Auth("admin", "admin"), n_workers=4, n_masters=2) as cluster:
        result = run(lambda *job: cluster.mapreduce(*job).result(), generate(50_000))
    for letter, count in result:
        print(f"{letter} {count:6}")


if __name__ == "__main__":
    main()
