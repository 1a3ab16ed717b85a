"""A cluster of masters and workers on this machine."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mapreduce import _arguments, _native
from mapreduce._native import InputFiles
from mapreduce._program import find_program
from mapreduce.authentication.auth import Auth
from mapreduce.errors import InvalidArgumentError, InvalidTypeError
from mapreduce.files import EarlierResult, Input, Output

if TYPE_CHECKING:
    from mapreduce._future import MapReduceFuture
    from mapreduce.cluster.local_monitoring import LocalMonitoring

Record = TypeVar("Record")

_PATIENCE_S = 1.0
"""How long a submission looks for a master before it goes on in the background."""
_SUBMISSION_S = 10.0
"""How long a submission of data that has a length is waited for before it goes on in the background."""
_JOIN_S = 2.0
"""How long the end of a cluster waits for a thread that reads a job's data; only the data can keep it."""


class LocalCluster:
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
        keep_alive: bool = False,
        slots_per_worker: int = 1,
        lease_ms: int = 2000,
        grace_ms: int = 10_000,
        memory_bytes_max: int | None = None,
    ) -> None:
        _arguments.auth(auth)
        _arguments.flag("initialize", initialize)
        self._verbose = _arguments.flag("verbose", verbose)
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
        login = auth._login()
        if initialize:
            if not self._owned:
                _arguments.given("directory", place, "keep_alive=True: others find the cluster by it")
            self._native = _native.Cluster.start(
                place,
                *login,
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
            self._say(f"{n_masters} masters and {n_workers} workers started in {self._native.directory}")
        else:
            place = _arguments.given("directory", place, "initialize=False: it says which cluster to attach to")
            self._native = _native.Cluster.attach(place, *login)
            self._say(f"attached to the cluster in {place}")
        self.directory = self._native.directory
        self._client = self._native.client()
        self._threads: set[threading.Thread] = set()
        # Runs once: when it is called, when nobody refers to this object, or when the interpreter exits.
        self._finish = weakref.finalize(self, _finish, self._native, self._threads, shutdown=self._owned)

    def __repr__(self) -> str:
        state = "" if self._finish.alive else " (shut down)"
        return f"<LocalCluster in {self.directory}{state}>"

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Shuts the cluster down if this object started it; a ``directory`` that was given keeps its state."""
        self._finish()

    @property
    def local_monitoring(self) -> LocalMonitoring:
        """Ways to look into the cluster; they work with no master alive."""
        from mapreduce.cluster.local_monitoring import LocalMonitoring

        return LocalMonitoring(self._client)

    def mapreduce(
        self,
        data: Iterable[Record] | Input | EarlierResult,
        map_func: Callable[[list[Record]], Iterable[tuple[Any, Any]]]
        | Sequence[Callable[[list[Any]], Iterable[tuple[Any, Any]]]],
        reduce_func: Callable[[list[Any]], Any] | Callable[[Iterator[Any]], Any],
        requested_n_workers: int | None = None,
        *,
        combine_func: Callable[[list[Any]], Any] | None = None,
        values: Literal["list", "iterator"] | None = None,
        output: Output | None = None,
        sort: bool = False,
        sort_values: bool = False,
        partition_func: Callable[[Any, int], int] | None = None,
        n_partitions: int | None = None,
        batch_size: int | None = None,
        split_records: int | None = None,
        max_attempts: int = 4,
        retry_exceptions: bool = False,
        task_timeout: float | None = None,
    ) -> MapReduceFuture:
        """Submits a job and returns at once with its future.

        Data that has a length, such as a list, is in the cluster when this returns (unless that takes more than 10
        seconds): this process may die, and the job goes on. An iterator is read in the background, as long as
        ``progress().phase`` is ``upload``. With no master alive the job waits for one.

        Args:
            data: The records: a list or any iterable; an iterator is streamed, not held. Or files, such as
                ``mapreduce.read_text("books/*.txt")``: see :mod:`mapreduce.files`. Or the result of an earlier job:
                ``mapreduce.read_result(future)``. Or a list of any of these, with as many functions in ``map_func``.
            map_func: Gets a list of records, returns or yields ``(key, value)`` pairs. A list of functions if ``data``
                is a list of inputs, one for each: so that inputs of whatever formats are joined by key. Values of
                one key come in the order of the inputs.
            reduce_func: Gets the list of all values of one key, returns anything that can be pickled.
            requested_n_workers: Most workers that may serve the job at one time; None for as many as there are.
            combine_func: Gets a list of some values of one key, returns one value that stands for them, such as
                ``sum``. What it returns is combined again, and reduced in the end. It saves the way of all values
                from the map tasks to the reduce tasks.
            values: Whether ``reduce_func`` gets a ``list`` of the values or an ``iterator``, with which one key may
                have more values than fit into memory; None: an iterator if that is how its parameter is annotated.
            output: Files to write the results to, such as ``mapreduce.write_text("counts")``, instead of returning
                them; the future's result is then the list of their paths.
            sort: Put the keys in order over all partitions, so that the files of an output, one behind the other, are
                sorted. A sample of the input is mapped in this process to find where partitions begin; when that fails,
                as the job would, the job is not submitted.
            sort_values: Give ``reduce_func`` the values of each key in ascending order, also when they are streamed and
                exceed memory; equal ones in the order of the data. They must then be what keys may be: numbers,
                strings, bytes, ``None``, or tuples of them. It excludes ``combine_func``.
            partition_func: Gets a key and the number of partitions, returns the key's partition, from 0: it must
                depend on the key alone.
            n_partitions: Reduce tasks; None for a number that suits the size of the data.
            batch_size: Records in one call of ``map_func``; None for a number that suits the cache. It does not apply
                to Parquet and to ``arrow=True``, whose rows come as they were read, many at a time.
            split_records: Records in one map task, where ``data`` is records; None for a size that takes about a
                second or less.
            max_attempts: How often one task may fail by its own doing before the job fails. A worker that was
                taken away does not count.
            retry_exceptions: Whether a task whose function raised is tried again, within ``max_attempts``.
            task_timeout: Longest time for one task, in seconds; None for no limit.

        Returns:
            A future of the list of ``(key, reduce_func(values))``.

        Raises:
            InvalidArgumentError: An argument can't work; the message names it.
            SerializationError: A function can't be pickled, or a record of data that has a length.
            JobFailedError: With ``sort``, ``map_func`` failed on the sample of data that has a length.
            ClusterError: The cluster was shut down.
        """
        import json

        from mapreduce import _code, _inputs
        from mapreduce._future import MapReduceFuture

        settings = {
            "requested_n_workers": _arguments.count_or_none("requested_n_workers", requested_n_workers, least=1),
            "n_partitions": _arguments.count_or_none("n_partitions", n_partitions, least=1),
            "batch_size": _arguments.count_or_none("batch_size", batch_size, least=1),
            "sort_values": _arguments.flag("sort_values", sort_values),
            "max_attempts": _arguments.count("max_attempts", max_attempts, least=1),
            "retry_exceptions": _arguments.flag("retry_exceptions", retry_exceptions),
            "task_timeout_ms": _arguments.seconds_or_none("task_timeout", task_timeout),
        }
        split_records = _arguments.count_or_none("split_records", split_records, least=1)
        _arguments.flag("sort", sort)
        if sort and partition_func is not None:
            raise InvalidArgumentError("sort chooses the partitions: give either sort or partition_func")
        if sort_values and combine_func is not None:
            raise InvalidArgumentError(
                "combine_func combines values before they could be sorted: give either sort_values or combine_func"
            )
        inputs = _inputs.of(data, map_func)
        if output is not None:
            if not isinstance(output, Output):
                raise InvalidTypeError(f"output must be mapreduce.write_text(...) or the like, not {output!r}")
            _native.check_output_directory(output.directory, output.overwrite)
        place = None if output is None else output._json()
        if values is not None:
            _arguments.one_of("values", values, ("list", "iterator"))
        streams = _code.wants_iterator(reduce_func) if values is None else values == "iterator"
        code, broadcasts = _code.dump(inputs, reduce_func, combine_func, partition_func, streams=streams)
        self._client.check_process()

        def upload(job_id: str, is_cancelled: Callable[[], bool]) -> bytes:
            return self._client.upload(
                job_id,
                [one.data for one in inputs],
                code,
                {digest: broadcast._pickled for digest, broadcast in broadcasts.items()},
                split_records,
                json.dumps(settings),
                place,
                sort,
                is_cancelled,
            )

        job_id = self._client.reserve_within(_PATIENCE_S)
        future = MapReduceFuture(self, job_id, upload)
        if job_id is not None and all(isinstance(one.data, (Sized, InputFiles, EarlierResult)) for one in inputs):
            future._await_submission(_SUBMISSION_S)
        return future

    def attach(self, job_id: str) -> MapReduceFuture:
        """A future for a job that was submitted before, by this process or another.

        Args:
            job_id: The job's id, such as ``job_7``.

        Raises:
            InvalidArgumentError: There is no such job, or it was cleared.
        """
        from mapreduce._future import MapReduceFuture

        self._client.check_job(_arguments.text("job_id", job_id))
        return MapReduceFuture(self, job_id, None)

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

    def clear(self) -> list[str]:
        """Removes the state of jobs that have ended; their results can't be fetched again.

        Returns:
            The ids of the jobs that were removed.

        Raises:
            NoMasterError: No master is alive to do it.
        """
        return self._client.clear()

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
            _finish(self._native, self._threads, shutdown=True, cleanup=cleanup)
            self._finish.detach()
            self._say("shut down")

    def _say(self, what: str) -> None:
        if self._verbose:
            print(f"mapreduce: {what}", flush=True)


def _finish(cluster: _native.Cluster, threads: set[threading.Thread], *, shutdown: bool, cleanup: bool = False) -> None:
    """Ends a cluster or leaves it, and waits for the threads of its jobs, which learn of it at once."""
    cluster.finish(shutdown=shutdown, cleanup=cleanup)
    for thread in list(threads):
        if thread is not threading.current_thread():
            thread.join(_JOIN_S)
