"""A cluster of masters and workers on this machine."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal

from mapreduce import _arguments, _native
from mapreduce._program import find_program
from mapreduce.authentication.auth import Auth
from mapreduce.cluster.cluster import Cluster, finish
from mapreduce.errors import InvalidArgumentError

if TYPE_CHECKING:
    from mapreduce.cluster._containers import Containers

Backend = Literal["processes", "compose"]


class LocalCluster(Cluster):
    """Masters and workers, each a process of its own on this machine, that survive one another.

    They end with this process, however it ends, unless ``keep_alive`` asks for more. Use it in a ``with`` block,
    or call :meth:`shutdown_cluster`; a cluster that nobody refers to any more is shut down, too.

    Args:
        auth: Whose cluster it is.
        n_workers: Workers to start; they run the tasks.
        n_masters: Masters to start; one is enough to work, the others take over when it dies.
        initialize: Whether to start a cluster. If False, this object attaches to the one that runs in
            ``directory``; ``n_workers``, ``n_masters`` and what describes processes then mean nothing.
        verbose: Whether to print a line when something happens: starts, scaling, the phases of jobs.
        directory: Where the cluster keeps its state. A new cluster in the directory of an earlier one carries its
            unfinished jobs on. The default is a temporary directory, which is removed at the end; nothing in it is
            synced to the disk, so it is faster, and does not survive a crash of the machine.
        coordination: Where masters and workers meet, if not in the ``directory``, which must then be given:
            ``zookeeper://host:port,host:port/path?auth=/file`` for an ensemble of ZooKeeper servers,
            ``etcd://host:port,host:port/path?auth=/file`` for etcd's. It is kept in the ``directory``: whoever is told
            that finds the rest.
        storage: Where data, output and markers are, if not in the ``directory``, which must then be given:
            ``hdfs://host:port/directory``, ``s3://bucket/path`` or ``file:///absolute/directory``. It is kept in the
            ``directory``, too.
        backend: ``processes`` of this machine, or containers of it by Docker ``compose``: each master and worker in
            one of its own, with a ZooKeeper of three servers and an HDFS of three DataNodes for this cluster alone.
            None for what the environment says in ``MAPREDUCE_BACKEND``, else ``processes``.
        keep_alive: Whether the cluster outlives this process; it needs a ``directory``, by which others find it.
        slots_per_worker: Tasks that a worker runs at one time.
        lease_ms: After how many milliseconds of silence a process is taken for dead. A killed process is noticed
            at once; this is for stopped ones.
        grace_ms: For how many milliseconds tasks may go on running on a worker that is scaled away.
        memory_bytes_max: Most memory that the process of one task may take, in bytes; more is a MemoryError there.
            None for a share of the machine's memory: four fifths of it (or of what control groups allow), divided by
            the slots of all workers that there are when a worker starts, but 512 MiB at least. The engine's own
            buffers take an eighth of it; what does not fit goes to the disk.

    Raises:
        InvalidArgumentError: An argument can't work; the message names it.
        AuthenticationError: There is no such user, or the password is wrong; the message says which.
        ClusterError: The cluster can't be started, one runs in ``directory`` already, or none does to attach to.

    Attributes:
        directory: Where the cluster keeps its state.
    """

    def __init__(
        self,
        auth: Auth,
        n_workers: int = 4,
        n_masters: int = 2,
        initialize: bool = True,
        verbose: bool = False,
        *,
        directory: str | os.PathLike[str] | None = None,
        coordination: str | None = None,
        storage: str | None = None,
        backend: Backend | None = None,
        keep_alive: bool = False,
        slots_per_worker: int = 1,
        lease_ms: int = 2000,
        grace_ms: int = 10_000,
        memory_bytes_max: int | None = None,
    ) -> None:
        _arguments.auth(auth)
        _arguments.flag("initialize", initialize)
        _arguments.flag("verbose", verbose)
        self._owned = initialize and not _arguments.flag("keep_alive", keep_alive)
        place = None if directory is None else _arguments.directory("directory", directory)
        for name, url in (("coordination", coordination), ("storage", storage)):
            if url is not None:
                _arguments.text(name, url)
                _arguments.given("directory", place, f"{name}: it says where the cluster finds that again")
        _arguments.count("n_workers", n_workers, least=0)
        _arguments.count("n_masters", n_masters, least=1)
        _arguments.count("slots_per_worker", slots_per_worker, least=1)
        _arguments.count("lease_ms", lease_ms, least=100)
        _arguments.count("grace_ms", grace_ms, least=0)
        _arguments.count_or_none("memory_bytes_max", memory_bytes_max, least=64 << 20, most=1 << 60)
        self._native: _native.Cluster | Containers
        if initialize and keep_alive:
            _arguments.given("directory", place, "keep_alive=True: others find the cluster by it")
        if not initialize:
            place = _arguments.given("directory", place, "initialize=False: it says which cluster to attach to")
            self._native = _attach(place, auth)
        elif _backend(backend) == "compose":
            if coordination is not None or storage is not None:
                raise InvalidArgumentError(
                    "backend='compose' brings a ZooKeeper and an HDFS: leave coordination and storage out"
                )
            from mapreduce.cluster._containers import Containers

            self._native = Containers.start(
                place,
                auth,
                n_workers=n_workers,
                n_masters=n_masters,
                slots_per_worker=slots_per_worker,
                lease_ms=lease_ms,
                grace_ms=grace_ms,
                memory_bytes_max=memory_bytes_max,
                keep_alive=keep_alive,
            )
        else:
            self._native = _native.Cluster.start(
                place,
                *auth._login(),
                coordination=coordination,
                storage=storage,
                n_workers=n_workers,
                n_masters=n_masters,
                slots_per_worker=slots_per_worker,
                lease_ms=lease_ms,
                grace_ms=grace_ms,
                memory_bytes_max=memory_bytes_max,
                keep_alive=keep_alive,
                program=find_program(),
                python=sys.executable,
            )
        self._elsewhere = not isinstance(self._native, _native.Cluster)
        self.directory = self._native.directory
        super().__init__(self._native, owned=self._owned, verbose=verbose)
        begun = f"{n_masters} masters and {n_workers} workers started" if initialize else "attached to the cluster"
        self._say(f"{begun} in {self.directory}")

    def __repr__(self) -> str:
        state = "" if self._finish.alive else " (shut down)"
        return f"<LocalCluster in {self.directory}{state}>"

    def scale(self, n_workers: int | None = None, n_masters: int | None = None) -> None:
        """Starts or ends processes until there are as many as named; what is not named stays.

        A worker that is to end takes no new tasks and may finish those that it runs, within the grace period.

        Args:
            n_workers: How many workers there shall be.
            n_masters: How many masters there shall be.

        Raises:
            InvalidArgumentError: A number can't work.
            ClusterError: The processes can't be started.
        """
        workers = _arguments.count_or_none("n_workers", n_workers, least=0)
        masters = _arguments.count_or_none("n_masters", n_masters, least=1)
        self._native.scale(workers, masters)
        wanted = [f"{n} {what}" for n, what in ((masters, "masters"), (workers, "workers")) if n is not None]
        self._say(f"scaled to {' and '.join(wanted)}" if wanted else "scaled to what it was")

    def kill(self, *ids: str) -> None:
        """Kills workers and masters with SIGKILL, so that a storm can be staged.

        Args:
            *ids: As the monitoring shows them, such as ``worker-0123456789ab``.

        Raises:
            InvalidArgumentError: There is no such process; none was killed.
        """
        self._native.kill([_arguments.text("ids", one) for one in ids])
        self._say(f"killed {', '.join(ids)}")

    def shutdown_cluster(self, cleanup: bool = False) -> None:
        """Ends every process of the cluster; what runs is left to a later cluster in the same directory.

        Calling it again does nothing.

        Args:
            cleanup: Whether the cluster's state is removed from its directory, and its jobs from ``coordination`` and
                ``storage`` elsewhere. A temporary directory always goes.

        Raises:
            ClusterError: A process did not end, or the state can't be removed.
        """
        cleanup = _arguments.flag("cleanup", cleanup)
        self._client.check_process()
        if self._finish.alive:
            finish(self._native, self._threads, shutdown=True, cleanup=cleanup)
            self._finish.detach()
            self._say("shut down")


def _backend(named: Backend | None) -> str:
    name, backend = ("MAPREDUCE_BACKEND", os.environ.get("MAPREDUCE_BACKEND")) if named is None else ("backend", named)
    if not backend:
        return "processes"
    _arguments.one_of(name, backend, ("processes", "compose"))
    return backend


def _attach(place: str, auth: Auth) -> _native.Cluster | Containers:
    if os.path.exists(os.path.join(place, "compose.env")):
        from mapreduce.cluster._containers import Containers

        return Containers.attach(place, auth)
    return _native.Cluster.attach(place, *auth._login())
