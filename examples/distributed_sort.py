"""Distributed sort: a result comes in key order, so numbers that are their own keys come back sorted."""

import random

from mapreduce import Auth, LocalCluster


def generate(n_numbers=20_000, seed=7):
    """Integers and floats of either sign, some of them equal, the same for the same seed."""
    rng = random.Random(seed)
    integers = [rng.randint(-1_000, 1_000) for _ in range(n_numbers // 2)]
    floats = [rng.gauss(0, 1_000) for _ in range(n_numbers - n_numbers // 2)]
    numbers = integers + floats
    rng.shuffle(numbers)
    return numbers


def map_func(numbers):
    return [(number, number) for number in numbers]


def reduce_func(equal_numbers):
    return equal_numbers


def run(mapreduce, numbers):
    """`mapreduce(data, map_func, reduce_func)` gives the list of (key, value) of one job."""
    return mapreduce(numbers, map_func, reduce_func)


def main():
    numbers = generate()
    with LocalCluster(Auth("admin", "admin"), n_workers=4, n_masters=2) as cluster:
        result = run(lambda *job: cluster.mapreduce(*job).result(), numbers)
    in_order = [number for _key, equal_numbers in result for number in equal_numbers]
    print("sorted" if in_order == sorted(numbers) else "NOT sorted", *in_order[:3], "...", *in_order[-3:])


if __name__ == "__main__":
    main()
