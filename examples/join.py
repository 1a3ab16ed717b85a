"""A join of two inputs by key: customers from CSV with their orders from JSON Lines.

Each input has its own map function, which gives the key to join by. Values of one key come in the order of the inputs,
so a customer comes before their orders.
"""

import json
import tempfile
from pathlib import Path

import mapreduce
from mapreduce import Auth, LocalCluster

CUSTOMERS = [(1, "Ada"), (2, "Grace"), (3, "Edsger"), (4, "Barbara")]
ORDERS = [
    {"from": 1, "item": "tea"},
    {"from": 3, "item": "ink"},
    {"from": 1, "item": "paper"},
    {"from": 9, "item": "lamp"},
]


def write_files(directory):
    rows = ["id,name", *(f"{number},{name}" for number, name in CUSTOMERS)]
    Path(directory, "customers.csv").write_text("\n".join(rows))
    Path(directory, "orders.jsonl").write_text("\n".join(json.dumps(order) for order in ORDERS))


def map_customers(rows):
    for row in rows:
        yield int(row["id"]), ("customer", row["name"])


def map_orders(orders):
    for order in orders:
        yield order["from"], ("order", order["item"])


def sides(values):
    names = [value for side, value in values if side == "customer"]
    items = [value for side, value in values if side == "order"]
    return names, items


def inner(values):
    """Every pair of a customer and an order that have the same key."""
    names, items = sides(values)
    return [(name, item) for name in names for item in items]


def left_outer(values):
    """The same, and customers without an order, once each."""
    names, items = sides(values)
    return [(name, item) for name in names for item in items or [None]]


def join(cluster, directory, how):
    """The pairs of a join, in the order of keys."""
    joined = cluster.mapreduce(
        data=[
            mapreduce.read_csv(f"{directory}/customers.csv"),
            mapreduce.read_json_lines(f"{directory}/orders.jsonl"),
        ],
        map_func=[map_customers, map_orders],
        reduce_func=how,
    )
    return [pair for _key, pairs in joined.result() for pair in pairs]


def main():
    with tempfile.TemporaryDirectory() as scratch, LocalCluster(Auth("admin", "admin"), n_workers=2) as cluster:
        write_files(scratch)
        for how in (inner, left_outer):
            print(how.__name__)
            for name, item in join(cluster, scratch, how):
                print(f"  {name} ordered {item or 'nothing'}")


if __name__ == "__main__":
    main()
