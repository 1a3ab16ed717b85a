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
    output = run_python(EXAMPLES / "demo.py", "--strings", "200000", "--files", "40", env=environment)
    assert "ran again: 0" in output
    assert output.endswith("PASS\n")
