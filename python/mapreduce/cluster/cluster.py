"""A cluster as its clients see it, wherever its processes are."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mapreduce import _arguments, _native
from mapreduce._native import InputFiles
from mapreduce.errors import InvalidArgumentError, InvalidTypeError
from mapreduce.files import EarlierResult, Input, Output

if TYPE_CHECKING:
    from mapreduce._future import MapReduceFuture
    from mapreduce.cluster._containers import Containers
    from mapreduce.cluster.local_monitoring import LocalMonitoring

Self = TypeVar("Self", bound="Cluster")
Record = TypeVar("Record")

_PATIENCE_S = 1.0
"""How long a submission looks for a master before it goes on in the background."""
_SUBMISSION_S = 10.0
"""How long a submission of data that has a length is waited for before it goes on in the background."""
_JOIN_S = 2.0
"""How long the end of a cluster waits for a thread that reads a job's data; only the data can keep it."""


class Cluster:
    """Jobs, and ways to look at them: what every cluster can do.

    It is not made by itself: :class:`LocalCluster` starts one, :func:`mapreduce.connect` finds one.
    """

    _elsewhere = True
    """Whether its workers may be where the files of this machine are not."""

    def __init__(
        self, native: _native.Cluster | _native.Connection | Containers, *, owned: bool, verbose: bool
    ) -> None:
        self._verbose = verbose
        self._client = native.client()
        self._threads: set[threading.Thread] = set()
        # Runs once: when it is called, when nobody refers to this object, or when the interpreter exits.
        self._finish = weakref.finalize(self, finish, native, self._threads, shutdown=owned)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends what this object began: a cluster that it started, or a connection."""
        self._finish()

    @property
    def local_monitoring(self) -> LocalMonitoring:
        """Ways to look into the cluster; they work with no master alive."""
        from mapreduce.cluster.local_monitoring import LocalMonitoring

        return LocalMonitoring(self)

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
        code, broadcasts = _code.dump(
            inputs, reduce_func, combine_func, partition_func, streams=streams, elsewhere=self._elsewhere
        )
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

    def clear(self) -> list[str]:
        """Removes the state of jobs that have ended; their results can't be fetched again.

        Returns:
            The ids of the jobs that were removed.

        Raises:
            NoMasterError: No master is alive to do it.
        """
        return self._client.clear()

    def _say(self, what: str) -> None:
        if self._verbose:
            print(f"mapreduce: {what}", flush=True)


def finish(
    cluster: _native.Cluster | _native.Connection | Containers,
    threads: set[threading.Thread],
    *,
    shutdown: bool,
    cleanup: bool = False,
) -> None:
    """Ends a cluster or leaves it, and waits for the threads of its jobs, which learn of it at once."""
    cluster.finish(shutdown=shutdown, cleanup=cleanup)
    for thread in list(threads):
        if thread is not threading.current_thread():
            thread.join(_JOIN_S)
