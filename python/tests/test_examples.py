"""Every example runs as a reader would run it."""

import pytest
from helpers import EXAMPLES, run_python

SHOWS = {
    "letters.py": "a  38",
    "cooccurrence.py": "3 the worker",
    "link_graph.py": "/page/0 is linked from /page/",
    "similarity.py": "bread cake",
    "tf_idf.py": "bread  yeast",
    "distributed_sort.py": "sorted -",
}


@pytest.mark.parametrize("name", SHOWS)
def test_example(environment, name):
    assert SHOWS[name] in run_python(EXAMPLES / name, env=environment)


def test_every_example_is_run():
    assert set(SHOWS) | {"demo.py"} == {path.name for path in EXAMPLES.glob("*.py")}


def test_the_demo_at_a_small_size(environment):
    """`make demo` plays it at full size."""
    output = run_python(EXAMPLES / "demo.py", "--strings", "200000", "--files", "40", env=environment)
    assert "ran again: 0" in output
    assert output.endswith("PASS\n")
