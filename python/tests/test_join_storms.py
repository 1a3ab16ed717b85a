"""Storms over a join of inputs of three kinds with a broadcast: the result is right, and what is finished stays so."""

import functools
import json
import random
import time

import pytest
from audit import Finished, check_history
from helpers import living_owner, seeds, wait_until

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


@pytest.fixture
def inputs(tmp_path):
    for n in range(6):
        rows = [f"{number},{name}\n" for number, name in PEOPLE[3 * n : 3 * n + 3]]
        (tmp_path / f"people{n}.csv").write_text("id,name\n" + "".join(rows))
    (tmp_path / "orders.jsonl").write_text("".join(json.dumps(order) + "\n" for order in ORDERS))
    return [
        mapreduce.read_csv(tmp_path / "*.csv", split_bytes=64),
        mapreduce.read_json_lines(tmp_path / "orders.jsonl", split_bytes=200),
        RETURNS,
    ]


@pytest.mark.parametrize("seed", seeds(4))
def test_a_storm_over_a_join(new_cluster, inputs, seed):
    print(f"MAPREDUCE_SEED={seed}")
    rng = random.Random(seed)
    cluster = new_cluster(n_workers=3, n_masters=2)
    items = mapreduce.broadcast(ITEMS)
    future = cluster.mapreduce(
        inputs,
        [map_people, functools.partial(map_orders, items), map_returns],
        functools.partial(join, items),
        split_records=4,
        n_partitions=6,
    )
    wait_until(lambda: future.progress().map_total, "the job is planned")
    total = future.progress().map_total + 6
    assert total > 20
    finished = []
    for goal in sorted(rng.sample(range(1, total), 3)):
        wait_until(lambda goal=goal: future.done() or done(future) >= goal, f"{goal} tasks are finished")
        time.sleep(rng.random() * 0.05)
        finished.append(Finished(cluster, future.job_id))
        state = cluster.local_monitoring.state()
        owner = living_owner(cluster, future.job_id)
        victims = rng.choice([owner, [master.id for master in state.masters], []])
        workers = [worker.id for worker in state.workers]
        cluster.kill(*rng.sample(workers, rng.randint(1, len(workers))), *victims)
        cluster.scale(n_workers=rng.randint(1, 3), n_masters=2)
    assert future.result() == expected()
    for moment in finished:
        moment.check_none_ran_again()
    check_history(cluster, future.job_id)


def done(future):
    progress = future.progress()
    return progress.map_done + progress.reduce_done
