"""A join of two inputs by key: orders and the customers they are from."""

import json
import tempfile
from pathlib import Path

import mapreduce
from mapreduce import Auth, LocalCluster

CUSTOMERS = [{"customer": 1, "name": "Ada"}, {"customer": 2, "name": "Grace"}, {"customer": 3, "name": "Edsger"}]
ORDERS = [{"order": n, "from": n % 3 + 1, "item": item} for n, item in enumerate(["tea", "ink", "paper", "lamp"])]


def map_func(records):
    """Records of both inputs, told apart by what they have."""
    for record in records:
        if "name" in record:
            yield record["customer"], ("customer", record["name"])
        else:
            yield record["from"], ("order", record["item"])


def reduce_func(values):
    names = [value for kind, value in values if kind == "customer"]
    items = [value for kind, value in values if kind == "order"]
    return [(name, item) for name in names for item in items]


def main():
    with tempfile.TemporaryDirectory() as scratch, LocalCluster(Auth("admin", "admin"), n_workers=2) as cluster:
        for name, records in (("customers", CUSTOMERS), ("orders", ORDERS)):
            lines = [json.dumps(record) for record in records]
            Path(scratch, f"{name}.jsonl").write_text("\n".join(lines))
        both = mapreduce.read_json_lines(f"{scratch}/customers.jsonl", f"{scratch}/orders.jsonl")
        for _customer, pairs in cluster.mapreduce(both, map_func, reduce_func).result():
            for name, item in pairs:
                print(name, "ordered", item)


if __name__ == "__main__":
    main()
