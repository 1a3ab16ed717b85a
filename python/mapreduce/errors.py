"""Every exception that this package raises of its own accord.

All derive from :class:`MapReduceError`; where a built-in class says the same (``ValueError``, ``TypeError``,
``PermissionError``), the exception is one of those, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "AuthenticationError",
    "ClusterError",
    "ExecutorDiedError",
    "InvalidArgumentError",
    "InvalidTypeError",
    "JobCancelledError",
    "JobFailedError",
    "KeyEncodingError",
    "MapReduceError",
    "NoMasterError",
    "NotAPairError",
    "PermissionDeniedError",
    "SerializationError",
    "StorageError",
    "UserCodeError",
]


class MapReduceError(Exception):
    """The base of all errors of this package."""


class InvalidArgumentError(MapReduceError, ValueError):
    """An argument has a value that can't work; the message names it and what would work."""


class InvalidTypeError(InvalidArgumentError, TypeError):
    """An argument is of a type that can't work; the message names it and what would work."""


class AuthenticationError(MapReduceError):
    """The user is unknown or the password is wrong."""


class PermissionDeniedError(MapReduceError, PermissionError):
    """The user is known, but may not do this."""


class ClusterError(MapReduceError, RuntimeError):
    """The cluster could not be started, reached or changed."""


class NoMasterError(ClusterError):
    """No master is alive to answer. Jobs wait and go on when one starts: ``cluster.scale(n_masters=...)``."""


class StorageError(MapReduceError, OSError):
    """Input, code or results could not be written to the store or read from it."""


class SerializationError(MapReduceError, TypeError):
    """A function, record, value or result can't be pickled; the message names which."""


class KeyEncodingError(MapReduceError, TypeError):
    """A key has no faithful encoding: use a string, a number, bytes, or a tuple of them."""


class JobCancelledError(MapReduceError):
    """The job was cancelled before it had a result."""


class JobFailedError(MapReduceError):
    """A task failed for good, and the job with it. Its text ends with the user's traceback.

    Attributes:
        message: One sentence: what happened, and what to do about it.
        job: The job's id, such as ``job_7``; None where it is not known.
        task: The task, such as ``map/12``.
        attempt: The attempt, such as ``1-4``.
        worker: The worker it ran on, such as ``worker-0123456789ab``.
        kind: What happened, in a word, such as ``user_exception`` or ``out_of_memory``.
        record: The record (map) or key (reduce) that was worked on, as its ``repr``; None where it can't be told.
        traceback: The traceback of the user's code, empty where there is none.
    """

    def __init__(
        self,
        message: str,
        *,
        job: str | None = None,
        task: str | None = None,
        attempt: str | None = None,
        worker: str | None = None,
        kind: str = "",
        record: str | None = None,
        traceback: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.job = job
        self.task = task
        self.attempt = attempt
        self.worker = worker
        self.kind = kind
        self.record = record
        self.traceback = traceback

    def __str__(self) -> str:
        where = [f"{name} {value}" for name, value in (("task", self.task), ("attempt", self.attempt)) if value]
        if self.worker:
            where.append(f"on {self.worker}")
        text = self.message
        if where:
            text += f"\n  in {', '.join(where)}"
        if self.record is not None:
            label = "key" if (self.task or "").startswith("reduce") else "record"
            text += f"\n  {label}: {self.record}"
        if self.traceback:
            text += f"\n\n{self.traceback.rstrip()}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        return _rebuild, (type(self), state), {"__cause__": self.__cause__}

    def __setstate__(self, state: dict[str, Any] | None) -> None:
        if state is not None:
            self.__cause__ = state["__cause__"]


def _rebuild(cls: type[JobFailedError], state: dict[str, Any]) -> JobFailedError:
    return cls(**state)


class UserCodeError(JobFailedError):
    """A user's function raised. ``__cause__`` is the exception itself, where it could be pickled."""


class NotAPairError(UserCodeError):
    """The map function returned or yielded something other than ``(key, value)`` pairs."""


class ExecutorDiedError(JobFailedError):
    """The process that ran the user's code died (exit, crash, out of memory, time limit), again and again."""


_CLASSES: dict[str, type[JobFailedError]] = {
    "user_exception": UserCodeError,
    "not_a_pair": NotAPairError,
    "bad_key": UserCodeError,
    "bad_value": UserCodeError,
    "bad_code": UserCodeError,
    "executor_exited": ExecutorDiedError,
    "executor_killed": ExecutorDiedError,
    "out_of_memory": ExecutorDiedError,
    "timed_out": ExecutorDiedError,
}


def from_failure(failure: Mapping[str, Any], job: str | None = None) -> JobFailedError:
    """The exception for a failure record.

    Args:
        failure: The JSON of a ``core::Failure``, as a dict.
        job: The job's id, for the exception's ``job``.
    """
    kind = failure["kind"]
    error = _CLASSES.get(kind, JobFailedError)(
        failure["message"],
        job=job,
        task=failure["task"],
        attempt=failure["attempt"],
        worker=failure["worker"],
        kind=kind,
        record=failure["record"],
        traceback=failure["traceback"],
    )
    pickled = failure["pickled_exception"]
    if pickled is not None:
        error.__cause__ = _load_exception(pickled)
    return error


def _load_exception(pickled: str) -> BaseException | None:
    """The user's own exception; None where this process lacks its class, since the text says it all as well."""
    import base64
    import pickle

    try:
        cause = pickle.loads(base64.b64decode(pickled))
    except Exception:
        return None
    return cause if isinstance(cause, BaseException) else None
