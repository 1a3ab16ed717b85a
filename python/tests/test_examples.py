"""Every example runs as a reader would run it."""

import sys

import pytest
from helpers import EXAMPLES, run_python

SHOWS = {
    "letters.py": "a  38",
    "cooccurrence.py": "3 the worker",
    "link_graph.py": "/page/0 is linked from /page/",
    "similarity.py": "bread cake",
    "tf_idf.py": "bread  yeast",
    "distributed_sort.py": "sorted -",
    "pagerank.py": "page   0  0.",
    "kmeans.py": "points around (",
    "join.py": "left_outer\n  Ada ordered tea",
}


@pytest.mark.parametrize("name", SHOWS)
def test_example(environment, name):
    assert SHOWS[name] in run_python(EXAMPLES / name, env=environment)


def test_pagerank_gives_what_a_loop_gives(environment):
    sys.path.insert(0, str(EXAMPLES))
    import pagerank

    pages = dict(pagerank.generate())
    ranks = dict.fromkeys(pages, 1 / len(pages))
    for _ in range(pagerank.N_ITERATIONS):
        base = dict.fromkeys(pages, (1 - pagerank.DAMPING) / len(pages))
        for page, targets in pages.items():
            for target in targets:
                base[target] += pagerank.DAMPING * ranks[page] / len(targets)
        ranks = base
    best = sorted(((rank, page) for page, rank in ranks.items()), reverse=True)[:10]
    lines = run_python(EXAMPLES / "pagerank.py", env=environment).splitlines()
    assert lines == [f"page {page:3}  {rank:.4f}" for rank, page in best]


def mean(points):
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def plain_kmeans(points, centroids):
    """The clusters, and how many iterations they took."""
    for iteration in range(1, 1000):
        members = [[] for _ in centroids]
        for point in points:
            distances = [(centre[0] - point[0]) ** 2 + (centre[1] - point[1]) ** 2 for centre in centroids]
            members[distances.index(min(distances))].append(point)
        before = centroids
        centroids = [mean(some) if some else centre for some, centre in zip(members, before, strict=True)]
        if before == centroids:
            return [(len(some), centre) for some, centre in zip(members, centroids, strict=True) if some], iteration
    raise AssertionError("it does not end")


def test_kmeans_gives_what_a_loop_gives(environment):
    import kmeans

    points = kmeans.generate()
    clusters, iterations = plain_kmeans(points, points[:4])
    assert 5 < iterations < kmeans.MOST_ITERATIONS
    lines = run_python(EXAMPLES / "kmeans.py", env=environment).splitlines()
    assert lines == [f"{n:4} points around ({x:.3f}, {y:.3f})" for n, (x, y) in clusters]


def test_kmeans_with_a_centroid_that_is_nobodys_nearest(cluster):
    import kmeans

    points = [(0, 0), (0, 0), (2, 0), (100, 0), (104, 2)]
    start = [(0, 0), (50, 1000), (90, 0)]
    clusters, _ = plain_kmeans(points, start)
    assert clusters == [(3, (2 / 3, 0.0)), (2, (102.0, 1.0))]
    assert kmeans.kmeans(cluster, points, start) == clusters


def test_the_joins_give_what_loops_give(cluster, tmp_path):
    import join

    inner, outer = [], []
    for number, name in join.CUSTOMERS:
        items = [order["item"] for order in join.ORDERS if order["from"] == number]
        inner += [(name, item) for item in items]
        outer += [(name, item) for item in items or [None]]
    join.write_files(tmp_path)
    assert join.join(cluster, tmp_path, join.inner) == inner
    assert join.join(cluster, tmp_path, join.left_outer) == outer
    assert (len(inner), len(outer)) == (3, 5)


def test_every_example_is_run():
    assert set(SHOWS) | {"demo.py"} == {path.name for path in EXAMPLES.glob("*.py")}


def test_the_demo_at_a_small_size(environment):
    """`make demo` plays it at full size."""
    output = run_python(EXAMPLES / "demo.py", "--strings", "1000000", "--files", "40", env=environment)
    assert "ran again: 0" in output
    assert output.endswith("PASS\n")
