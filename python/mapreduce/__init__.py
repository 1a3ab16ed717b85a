"""Fault-tolerant MapReduce: a Rust engine with a Python face.

Example:
    >>> import mapreduce
    >>> auth = mapreduce.Auth("admin", "admin")
    >>> with mapreduce.LocalCluster(auth, n_workers=2) as cluster:
    ...     future = cluster.mapreduce(
    ...         data=["to be", "or not to be"],
    ...         map_func=lambda lines: [(word, 1) for line in lines for word in line.split()],
    ...         reduce_func=sum,
    ...     )
    ...     future.result()
    [('be', 2), ('not', 1), ('or', 1), ('to', 2)]
"""

from typing import TYPE_CHECKING, Any

from mapreduce import counters
from mapreduce._broadcast import Broadcast, broadcast
from mapreduce.authentication.auth import Auth
from mapreduce.cluster.cluster import Cluster
from mapreduce.cluster.connect import ConnectedCluster, connect
from mapreduce.cluster.local_cluster import LocalCluster
from mapreduce.errors import (
    AuthenticationError,
    ClusterError,
    ExecutorDiedError,
    InvalidArgumentError,
    InvalidTypeError,
    JobFailedError,
    KeyEncodingError,
    MapReduceError,
    NoMasterError,
    NotAPairError,
    PermissionDeniedError,
    SerializationError,
    StorageError,
    UserCodeError,
)
from mapreduce.files import (
    Input,
    Output,
    read_csv,
    read_files,
    read_fixed,
    read_json_lines,
    read_parquet,
    read_result,
    read_text,
    write_csv,
    write_json_lines,
    write_parquet,
    write_text,
)

if TYPE_CHECKING:
    from mapreduce._future import MapReduceFuture, Progress
    from mapreduce.cluster.local_monitoring import LocalMonitoring

__version__ = "0.1.0"

__all__ = [
    "Auth",
    "AuthenticationError",
    "Broadcast",
    "Cluster",
    "ClusterError",
    "ConnectedCluster",
    "ExecutorDiedError",
    "Input",
    "InvalidArgumentError",
    "InvalidTypeError",
    "JobFailedError",
    "KeyEncodingError",
    "LocalCluster",
    "LocalMonitoring",
    "MapReduceError",
    "MapReduceFuture",
    "NoMasterError",
    "NotAPairError",
    "Output",
    "PermissionDeniedError",
    "Progress",
    "SerializationError",
    "StorageError",
    "UserCodeError",
    "broadcast",
    "connect",
    "counters",
    "read_csv",
    "read_files",
    "read_fixed",
    "read_json_lines",
    "read_parquet",
    "read_result",
    "read_text",
    "write_csv",
    "write_json_lines",
    "write_parquet",
    "write_text",
]

# What takes long to import and is seldom named.
_LAZY = {
    "LocalMonitoring": "mapreduce.cluster.local_monitoring",
    "MapReduceFuture": "mapreduce._future",
    "Progress": "mapreduce._future",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
