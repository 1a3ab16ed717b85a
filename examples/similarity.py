"""Document similarity: the cosine of each pair of documents that share a word, by way of an inverted index.

Two jobs in a row; the second one's keys are tuples.
"""

from collections import Counter
from itertools import combinations
from math import fsum, hypot

from mapreduce import Auth, LocalCluster

DOCUMENTS = [
    ("kill", "kill every worker and the master of the job in the middle"),
    ("wait", "with no worker alive the job waits and with no master alive the job waits"),
    ("adopt", "the new master asks every worker what it runs and adopts it"),
    ("bread", "mix flour water salt and yeast then bake the dough"),
    ("cake", "mix flour sugar butter and eggs then bake the dough"),
]


def index_map(documents):
    """Each word with the documents that hold it, weighted so that every document has length 1."""
    for name, text in documents:
        counts = Counter(text.split())
        length = hypot(*counts.values())
        for word, count in counts.items():
            yield word, (name, count / length)


def index_reduce(postings):
    return sorted(postings)


def cosine_map(index):
    for _word, postings in index:
        for (first, first_weight), (second, second_weight) in combinations(postings, 2):
            yield (first, second), first_weight * second_weight


def cosine_reduce(products):
    return fsum(products)


def run(mapreduce, documents):
    """`mapreduce(data, map_func, reduce_func)` gives the list of (key, value) of one job."""
    index = mapreduce(documents, index_map, index_reduce)
    return mapreduce(index, cosine_map, cosine_reduce)


def main():
    with LocalCluster(Auth("admin", "admin"), n_workers=4, n_masters=2) as cluster:
        result = run(lambda *job: cluster.mapreduce(*job).result(), DOCUMENTS)
    for (first, second), cosine in sorted(result, key=lambda pair: -pair[1]):
        print(f"{cosine:.2f} {first} {second}")


if __name__ == "__main__":
    main()
