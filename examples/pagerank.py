"""PageRank, an iterative program: each job reads the result of the one before, which never passes the client."""

import random

import mapreduce
from mapreduce import Auth, LocalCluster

DAMPING = 0.85
N_ITERATIONS = 8
N_PAGES = 200


def generate(n_pages=N_PAGES, seed=7):
    """A list of (page, pages it links to); low numbers are linked to more often."""
    rng = random.Random(seed)
    return [(page, sorted({int(n_pages * rng.random() ** 3) for _ in range(4)} - {page})) for page in range(n_pages)]


def start(pages):
    """Every page begins with the same rank."""
    for page, targets in pages:
        yield page, (1 / N_PAGES, targets)


def spread(pages):
    """A page keeps its links, and gives its rank away in equal parts."""
    for page, (rank, targets) in pages:
        yield page, (0.0, targets)
        for target in targets:
            yield target, (rank / len(targets), None)


def collect(values):
    rank = (1 - DAMPING) / N_PAGES + DAMPING * sum(share for share, _ in values)
    return rank, next(targets for _, targets in values if targets is not None)


def main():
    with LocalCluster(Auth("admin", "admin"), n_workers=4, n_masters=2) as cluster:
        job = cluster.mapreduce(generate(), start, lambda values: values[0])
        for _ in range(N_ITERATIONS):
            job = cluster.mapreduce(mapreduce.read_result(job), spread, collect)
        ranks = sorted(((rank, page) for page, (rank, _) in job.result()), reverse=True)
    for rank, page in ranks[:10]:
        print(f"page {page:3}  {rank:.4f}")


if __name__ == "__main__":
    main()
