"""k-means, an iterative program: points in a plane are sorted into clusters, each around the mean of its points.

The points are uploaded once: every iteration's job reads them from the result of the first job. The centroids, which
change, are broadcast to its tasks.
"""

import functools
import random

import mapreduce
from mapreduce import Auth, LocalCluster

CENTRES = [(200, 300), (700, 200), (500, 800), (900, 900)]
N_POINTS = 4_000
MOST_ITERATIONS = 50


def generate(n_points=N_POINTS, seed=7):
    """Points around the centres, the same for the same seed. Whole numbers have the same sum in any order."""
    rng = random.Random(seed)
    points = []
    for _ in range(n_points):
        x, y = rng.choice(CENTRES)
        points.append((round(rng.gauss(x, 90)), round(rng.gauss(y, 90))))
    return points


def count(points):
    for point in points:
        yield point, 1


def assign(centroids, counted):
    """Gives each point to the nearest centroid: as the sums of what lies there, and how many that are."""
    places = list(enumerate(centroids.value))
    for (x, y), n in counted:
        nearest, _ = min(places, key=lambda place: (place[1][0] - x) ** 2 + (place[1][1] - y) ** 2)
        yield nearest, (n, n * x, n * y)


def add(sums):
    return tuple(map(sum, zip(*sums, strict=True)))


def mean(sums):
    n, x, y = add(sums)
    return n, (x / n, y / n)


def kmeans(cluster, points, centroids):
    """The clusters, each as a number of points and their mean, when no mean moves any more."""
    counted = cluster.mapreduce(points, count, sum, n_partitions=8)
    for _ in range(MOST_ITERATIONS):
        known = mapreduce.broadcast(centroids)
        job = cluster.mapreduce(
            mapreduce.read_result(counted), functools.partial(assign, known), mean, combine_func=add
        )
        clusters = dict(job.result())
        # A centroid that is no point's nearest stays where it is.
        moved = [clusters.get(number, (0, place))[1] for number, place in enumerate(centroids)]
        if moved == centroids:
            break
        centroids = moved
    return [clusters[number] for number in sorted(clusters)]


def main():
    points = generate()
    with LocalCluster(Auth("admin", "admin"), n_workers=4, n_masters=2) as cluster:
        clusters = kmeans(cluster, points, points[: len(CENTRES)])
    for n, (x, y) in clusters:
        print(f"{n:4} points around ({x:.3f}, {y:.3f})")


if __name__ == "__main__":
    main()
