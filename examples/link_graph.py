"""Reversed link graph: pages that link to pages become pages that are linked from pages."""

import random

from mapreduce import Auth, LocalCluster


def generate(n_pages=200, n_links=8, seed=7):
    """A list of (page, pages it links to), the same for the same seed."""
    rng = random.Random(seed)
    pages = [f"/page/{number}" for number in range(n_pages)]
    return [(page, rng.sample(pages, rng.randint(0, n_links))) for page in pages]


def map_func(pages):
    for page, targets in pages:
        for target in targets:
            yield target, page


def reduce_func(sources):
    return sorted(sources)


def run(mapreduce, pages):
    """`mapreduce(data, map_func, reduce_func)` gives the list of (key, value) of one job."""
    return mapreduce(pages, map_func, reduce_func)


def main():
    with LocalCluster(Auth("admin", "admin"), n_workers=4, n_masters=2) as cluster:
        result = run(lambda *job: cluster.mapreduce(*job).result(), generate())
    for page, sources in result[:10]:
        print(page, "is linked from", *sources)


if __name__ == "__main__":
    main()
