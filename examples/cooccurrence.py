"""Word co-occurrence: how often does each pair of words stand in one sentence?"""

from itertools import combinations

from mapreduce import Auth, LocalCluster

SENTENCES = [
    "the worker runs the task and the master waits",
    "a master that dies is replaced by another master",
    "a worker that dies is replaced by another worker",
    "the task of a dead worker runs on another worker",
    "the job waits when no worker is alive",
    "the job waits when no master is alive",
]


def map_func(sentences):
    for sentence in sentences:
        for pair in combinations(sorted(set(sentence.split())), 2):
            yield pair, 1


def reduce_func(counts):
    return sum(counts)


def run(mapreduce, sentences):
    """`mapreduce(data, map_func, reduce_func)` gives the list of (key, value) of one job."""
    return mapreduce(sentences, map_func, reduce_func)


def main():
    with LocalCluster(Auth("admin", "admin"), n_workers=4, n_masters=2) as cluster:
        result = run(lambda *job: cluster.mapreduce(*job).result(), SENTENCES)
    for (first, second), count in sorted(result, key=lambda pair: -pair[1])[:10]:
        print(f"{count} {first} {second}")


if __name__ == "__main__":
    main()
