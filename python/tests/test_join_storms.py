"""Storms over a join of inputs of three kinds with a broadcast: the result is right, and what is finished stays so."""

import functools
import json
import time

import pytest
from helpers import seeds
from storms.jobs import Job
from storms.storm import Report, play

import mapreduce

PEOPLE = [(n, f"name {n}") for n in range(18)]
ORDERS = [{"by": n * 5 % 24, "item": n % 7} for n in range(60)]
RETURNS = [(n % 18, -n) for n in range(0, 60, 4)]
ITEMS = {n: f"item {n}" for n in range(7)}


def map_people(rows):
    for row in rows:
        time.sleep(0.02)
        yield int(row["id"]), ("person", row["name"])


def map_orders(items, orders):
    for order in orders:
        time.sleep(0.01)
        yield order["by"], ("order", items.value[order["item"]])


def map_returns(returns):
    for by, what in returns:
        time.sleep(0.02)
        yield by, ("return", what)


def join(items, values):
    time.sleep(0.03)
    return [(kind, value, len(items.value)) for kind, value in values]


def expected():
    result = {}
    for number, name in PEOPLE:
        result.setdefault(number, []).append(("person", name, 7))
    for order in ORDERS:
        result.setdefault(order["by"], []).append(("order", ITEMS[order["item"]], 7))
    for number, what in RETURNS:
        result.setdefault(number, []).append(("return", what, 7))
    return sorted(result.items())


class Join(Job):
    """A join of three inputs, of three kinds, with a broadcast."""

    def prepare(self, place):
        for n in range(6):
            rows = [f"{number},{name}\n" for number, name in PEOPLE[3 * n : 3 * n + 3]]
            (place / f"people{n}.csv").write_text("id,name\n" + "".join(rows))
        (place / "orders.jsonl").write_text("".join(json.dumps(order) + "\n" for order in ORDERS))

    def submit(self, cluster, place):
        items = mapreduce.broadcast(ITEMS)
        return cluster.mapreduce(
            [
                mapreduce.read_csv(place / "*.csv", split_bytes=64),
                mapreduce.read_json_lines(place / "orders.jsonl", split_bytes=200),
                RETURNS,
            ],
            [map_people, functools.partial(map_orders, items), map_returns],
            functools.partial(join, items),
            split_records=4,
            n_partitions=6,
        )

    def check(self, result, place):
        assert result == expected()


@pytest.mark.parametrize("seed", seeds(4))
def test_a_storm_over_a_join(auth, tmp_path, seed):
    print(f"MAPREDUCE_SEED={seed}")
    play(Report(seed), auth, tmp_path, job=Join())
