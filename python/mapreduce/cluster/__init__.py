"""Clusters, and ways to look into them."""

from mapreduce.cluster.local_cluster import LocalCluster

__all__ = ["LocalCluster"]
