"""The six classic programs of `examples/` against the sequential reference, on one cluster."""

import cooccurrence
import distributed_sort
import letters
import link_graph
import pytest
import similarity
import tf_idf
from helpers import reference

PROGRAMS = {
    "letters": (letters, letters.generate(20_000)),
    "cooccurrence": (cooccurrence, cooccurrence.SENTENCES * 50),
    "link_graph": (link_graph, link_graph.generate()),
    "similarity": (similarity, similarity.DOCUMENTS),
    "tf_idf": (tf_idf, tf_idf.DOCUMENTS),
    "distributed_sort": (distributed_sort, distributed_sort.generate()),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(cluster, name):
    program, data = PROGRAMS[name]
    expected = program.run(reference, data)
    assert expected, "a reference that is empty checks nothing"
    assert program.run(lambda *job: cluster.mapreduce(*job).result(), data) == expected
