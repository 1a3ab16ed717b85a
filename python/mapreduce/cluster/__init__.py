"""Clusters, and ways to look into them."""

from mapreduce.cluster.cluster import Cluster
from mapreduce.cluster.connect import ConnectedCluster, connect
from mapreduce.cluster.local_cluster import LocalCluster

__all__ = ["Cluster", "ConnectedCluster", "LocalCluster", "connect"]
