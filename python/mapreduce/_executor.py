"""The executor's process: ``python -m mapreduce._executor --storage URL``, started by a worker.

It imports what every task needs, says that it is ready, and then only forks: a fork takes the socket over, waits
for tasks, all of the same code, and ends when it is told to. Then its exit code or signal is reported and the next fork
made, so that one is ready when other code comes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import tempfile
import traceback

import cloudpickle  # noqa: F401

from mapreduce import _broadcast, _code, _failures, _keys, _native, _pickle  # noqa: F401


def main() -> None:
    arguments = argparse.ArgumentParser(prog="mapreduce._executor")
    arguments.add_argument("--storage", required=True, help="URL of the storage")
    arguments.add_argument("--parent", type=int, required=True, help="process id of the worker")
    arguments.add_argument("--memory-bytes-max", type=int, default=0, help="a task's limit on memory; 0: none")
    arguments.add_argument("--buffer-bytes", type=int, default=64 << 20, help="what the engine's buffers may take")
    arguments.add_argument("--scratch", default=tempfile.gettempdir(), help="directory for what does not fit")
    given = arguments.parse_args()
    if not _native.die_with_parent(given.parent):
        return
    # Ctrl-C in the worker's terminal is for the worker to deal with.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = _take_over_stdin()
    # Objects that exist now are never garbage; leaving them alone lets forks share their memory.
    gc.collect()
    gc.freeze()
    with contextlib.suppress(ConnectionError):  # then the worker is gone
        _serve_forks(worker, given)


def _serve_forks(worker: socket.socket, given: argparse.Namespace) -> None:
    """One fork after another, until the worker closes the socket, which ends the fork and then the report of it."""
    warmed = os.getpid()
    worker.sendall(_native.ready_frame())
    while True:
        fork = os.fork()
        if fork == 0:
            _serve_tasks(worker, warmed, given)
        status = os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])
        worker.sendall(_native.exited_frame(max(status, 0), max(-status, 0)))


def _take_over_stdin() -> socket.socket:
    """The socket to the worker, out of user code's way: it must not read the messages with ``input()``."""
    worker = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0, inheritable=True)
    os.close(null)
    return worker


def _serve_tasks(worker: socket.socket, warmed: int, given: argparse.Namespace) -> None:
    """What a fork does; it never returns."""
    code = 1
    try:
        if not _native.die_with_parent(warmed):
            os._exit(0)
        _limit_memory(given.memory_bytes_max)
        _native.run_executor(worker.detach(), given.storage, given.buffer_bytes, given.scratch)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _limit_memory(bytes_max: int) -> None:
    """Makes a runaway allocation fail in the fork, or at least makes the fork the kernel's first choice."""
    # Not as text: a fork pays for every page that it touches, and `open` touches many.
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(score, b"1000")
    os.close(score)
    if bytes_max > 0:
        resource.setrlimit(resource.RLIMIT_DATA, (bytes_max, bytes_max))


if __name__ == "__main__":
    main()
