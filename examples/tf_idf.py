"""TF-IDF: which words tell a document from the others? Three jobs in a row."""

from math import log

from mapreduce import Auth, LocalCluster

DOCUMENTS = [
    ("kill", "kill every worker and the master of the job in the middle"),
    ("wait", "with no worker alive the job waits and with no master alive the job waits"),
    ("adopt", "the new master asks every worker what it runs and adopts it"),
    ("bread", "mix flour water salt and yeast then bake the dough"),
]


def count_map(documents):
    for name, text in documents:
        for word in text.split():
            yield (name, word), 1


def count_reduce(ones):
    return sum(ones)


def frequency_map(counts):
    for (name, word), count in counts:
        yield name, (word, count)


def frequency_reduce(words):
    n_words = sum(count for _word, count in words)
    return [(word, count / n_words) for word, count in sorted(words)]


def weight_map(frequencies):
    for name, words in frequencies:
        for word, frequency in words:
            yield word, (name, frequency)


def run(mapreduce, documents):
    """`mapreduce(data, map_func, reduce_func)` gives the list of (key, value) of one job."""
    n_documents = len(documents)

    def weight_reduce(postings):
        inverse_frequency = log(n_documents / len(postings))
        return [(name, frequency * inverse_frequency) for name, frequency in sorted(postings)]

    counts = mapreduce(documents, count_map, count_reduce)
    frequencies = mapreduce(counts, frequency_map, frequency_reduce)
    return mapreduce(frequencies, weight_map, weight_reduce)


def main():
    with LocalCluster(Auth("admin", "admin"), n_workers=4, n_masters=2) as cluster:
        result = run(lambda *job: cluster.mapreduce(*job).result(), DOCUMENTS)
    weights = [(weight, name, word) for word, postings in result for name, weight in postings]
    for weight, name, word in sorted(weights, reverse=True)[:10]:
        print(f"{weight:.3f} {name:6} {word}")


if __name__ == "__main__":
    main()
