"""The future of a job."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mapreduce.errors import ClusterError, NoMasterError, from_failure

if TYPE_CHECKING:
    from mapreduce.cluster.cluster import Cluster

Upload = Callable[[str, Callable[[], bool]], bytes]
"""Uploads the job of an id and returns its specification; asks now and then whether it was cancelled."""

_FETCHED_BYTES_MAX = 64 << 20
"""A larger result, as stored, is not fetched before somebody asks for it."""

_SLICE_S = 0.5
"""The longest that a Ctrl-C may go unnoticed."""

_PATIENCE_S = 10
"""How long a cancellation waits for a submission that is under way."""


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        phase: ``upload``, ``map``, ``reduce``, ``publish`` (of a job with an output), ``succeeded``, ``failed`` or
            ``cancelled``.
        map_done: Map tasks that are finished for good.
        map_total: All map tasks; 0 until the job is planned.
        reduce_done: Reduce tasks that are finished for good.
        reduce_total: All reduce tasks; 0 until the job is planned.
        trouble: Why the job waits, such as a full disk; it goes on when that has passed. None if it does not wait.
    """

    phase: str
    map_done: int
    map_total: int
    reduce_done: int
    reduce_total: int
    trouble: str | None = None


class MapReduceFuture(Future[list[tuple[Any, Any]]]):
    """The future result of one job: a list of ``(key, value)``, in key order wherever the keys can be ordered.

    It is a :class:`concurrent.futures.Future`: ``result(timeout)`` with the timeout in seconds, ``exception``,
    ``add_done_callback``, ``concurrent.futures.wait``, ``as_completed`` and ``asyncio.wrap_future`` work.

    A job that fails raises a :class:`mapreduce.errors.JobFailedError`; one that was cancelled, by whomever,
    raises :class:`concurrent.futures.CancelledError`. Dropping a future does not stop its job.

    Made by :meth:`Cluster.mapreduce` and :meth:`Cluster.attach`.
    """

    # Until the end the future stays in the base class's state "pending", because that is the only one which the
    # base class lets anybody cancel. Whoever learns of the end first, the job's thread or `cancel`, claims it.

    def __init__(self, cluster: Cluster, job_id: str | None, upload: Upload | None) -> None:
        """Begins to see a job through.

        Args:
            cluster: Whose job it is. It is not forgotten while somebody waits for its jobs.
            job_id: The job's id; None if no master was there to give one.
            upload: How to upload the job; None if it is submitted already.
        """
        super().__init__()
        self._cluster = cluster
        self._client = cluster._client
        self._job_id = job_id
        self._has_id = threading.Event()
        self._lock = threading.Lock()
        self._claimed = False
        self._sent = upload is None  # from here on, the job may be in the cluster
        self._arrived = threading.Event()  # from here on, it is, or never will be
        self._streamed = False  # the result is wanted one by one
        self._refusal: BaseException | None = None  # why it never will be
        thread = threading.Thread(target=self._carry, args=(upload,), name=f"mapreduce {job_id}", daemon=True)
        cluster._threads.add(thread)
        thread.start()

    def __repr__(self) -> str:
        state = "running" if self.running() else self._state.lower().removesuffix("_and_notified")
        return f"<MapReduceFuture {self._job_id or '(no id yet)'} {state}>"

    @property
    def job_id(self) -> str:
        """The job's id, such as ``job_7``. Waits for it if there was no master to give one at submission.

        Raises:
            ClusterError: It ended without ever having one.
        """
        if self._job_id is None:
            self._check_process()
            while not self._has_id.wait(_SLICE_S):
                pass
        if self._job_id is None:
            raise ClusterError("the job has no id: it ended before there was a master to give it one")
        return self._job_id

    def result(self, timeout: float | None = None) -> list[tuple[Any, Any]]:
        """The job's result; waits for it.

        Args:
            timeout: For how many seconds to wait; None for as long as it takes.

        Raises:
            JobFailedError: The job failed; ``__cause__`` is the exception of the user's code, if there is one.
            concurrent.futures.CancelledError: The job was cancelled.
            concurrent.futures.TimeoutError: It has not ended in time.
            ClusterError: The cluster was shut down before the job had ended.
        """
        self._check_process()
        result = super().result(self._await_end(timeout))
        if result is None:  # it was too large to be fetched unasked
            result = self._client.collect(self.job_id, None)
        return result

    def iter_results(self, timeout: float | None = None) -> Iterator[tuple[Any, Any]]:
        """The job's result, one ``(key, value)`` after another, for results that do not fit into memory.

        They come in the order of the keys' encoding, which is the keys' own order wherever they are of one kind:
        numbers, texts, tuples of them.

        Args:
            timeout: For how many seconds to wait for the job's end; None for as long as it takes.

        Raises:
            InvalidArgumentError: The job writes its results to files.
            JobFailedError: The job failed, and whatever else :meth:`result` raises.
        """
        self._wait_for_pairs(timeout)
        return self._client.iterate(self.job_id)

    def _wait_for_pairs(self, timeout: float | None = None) -> None:
        """Waits for the job's end; its result is not fetched, unless it was asked for before."""
        self._streamed = True
        super().result(self._await_end(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What :meth:`result` would raise, or None if it would not; waits for it.

        Args:
            timeout: For how many seconds to wait; None for as long as it takes.
        """
        self._check_process()
        return super().exception(self._await_end(timeout))

    def _await_end(self, timeout: float | None = None) -> float | None:
        """Waits for the job's end, and gives the rest of the timeout: none, or no time at all.

        In slices, since Python does not notice a Ctrl-C in the moment before a wait begins until it ends.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.done():
            left = _SLICE_S if deadline is None else min(_SLICE_S, deadline - time.monotonic())
            if left <= 0:
                break
            wait([self], left)
        return None if timeout is None else 0

    def running(self) -> bool:
        """Whether the job is in the cluster and has not ended."""
        return self._arrived.is_set() and not self.done()

    def progress(self) -> Progress:
        """How far the job is, read from storage: it works with no master alive.

        Raises:
            InvalidArgumentError: The job was cleared.
            ClusterError: The cluster was shut down.
        """
        if self._arrived.is_set() and self._sent:
            return Progress(*self._client.progress(self.job_id))
        phase = "cancelled" if self.cancelled() else "failed" if self.done() else "upload"
        return Progress(phase, 0, 0, 0, 0)

    def counters(self) -> dict[str, int]:
        """What the job's functions have counted with :func:`mapreduce.counters.increment`, by name.

        Exact: every task counts once, by the attempt that finished it, however often it was tried. While the job runs,
        it is what the finished tasks have counted.

        Raises:
            InvalidArgumentError: The job was cleared.
            ClusterError: The cluster was shut down.
        """
        return self._client.counters(self.job_id)

    def cancel(self) -> bool:
        """Cancels the job in the cluster.

        Returns:
            True if the job is or was cancelled; False if it had ended otherwise.

        Raises:
            NoMasterError: No master is alive to take the wish.
        """
        with self._lock:
            unsent = not self._sent and not self._claimed
            self._claimed = self._claimed or unsent
        if unsent:
            self._set_cancelled()
            return True
        if not self._arrived.wait(_PATIENCE_S):
            raise NoMasterError(f"{self.job_id} waits for a master to be submitted to: start one, then cancel")
        if self.done():
            return self.cancelled()
        if not self._client.cancel(self.job_id):
            return False
        if self._claim():
            self._set_cancelled()
        self._await_end()
        return self.cancelled()

    def _await_submission(self, patience_s: float) -> None:
        """Waits until the job is in the cluster, or for so many seconds; raises what keeps it from getting there."""
        if self._arrived.wait(patience_s) and self._refusal is not None:
            raise self._refusal

    def _carry(self, upload: Upload | None) -> None:
        """Sees the job through, in a thread of its own: submits it if that is to be done, waits, collects."""
        try:
            if upload is not None:
                try:
                    self._submit(upload)
                except Exception as error:
                    self._refusal = error
                    raise
            self._arrived.set()
            failure = self._client.wait(self.job_id, self._say_phase)
            if failure is not None:
                raise from_failure(json.loads(failure), self.job_id)
            result = None if self._streamed else self._client.collect(self.job_id, _FETCHED_BYTES_MAX)
        except CancelledError:
            if self._claim():
                self._set_cancelled()
        except BaseException as error:
            if self._claim():
                self.set_running_or_notify_cancel()
                self.set_exception(error)
        else:
            if self._claim():
                self.set_running_or_notify_cancel()
                self.set_result(result)  # type: ignore[arg-type]  # None: fetched when it is asked for
        finally:
            self._has_id.set()
            self._arrived.set()
            self._cluster._threads.discard(threading.current_thread())

    def _submit(self, upload: Upload) -> None:
        if self._job_id is None:
            self._job_id = self._client.reserve()
            self._has_id.set()
        try:
            spec = upload(self._job_id, self.done)
            with self._lock:
                self._sent = not self._claimed
        finally:
            if not self._sent:
                self._client.discard(self._job_id)
        if not self._sent:
            raise CancelledError
        self._client.submit(spec)

    def _say_phase(self, phase: str) -> None:
        self._cluster._say(f"{self._job_id}: {phase}")

    def _claim(self) -> bool:
        with self._lock:
            first, self._claimed = not self._claimed, True
        return first

    def _set_cancelled(self) -> None:
        super().cancel()
        self.set_running_or_notify_cancel()  # this is what wakes `wait` and `as_completed`

    def _check_process(self) -> None:
        if not self.done():  # a fork lacks the thread that would end the wait
            self._client.check_process()
