"""Functions of jobs that take their time, without a processor, so that they don't wait for one another.

A module of its own, because executors import it: it should need little.
"""

import time

DATA = list(range(160))
N_TASKS = 40
"""With 4 records in a split."""


def map_func(data):
    for number in data:
        time.sleep(0.008)
        yield number % 7, number
        yield ("odd" if number % 2 else "even", number % 3), 1


def reduce_func(values):
    time.sleep(0.01)
    return sum(values)


def slow_map(data):
    for number in data:
        time.sleep(0.02)
        yield number % 4, number
