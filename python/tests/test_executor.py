"""The executor's process, spoken to as a worker does: what it reports, and that it never outlives its worker."""

import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap

import pytest
from helpers import wait_until


def field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes, shorter than 128."""
    return bytes([number << 3 | 2, len(content)]) + content


def run_task(job: str = "job_1") -> bytes:
    texts = (job, "map/0", "1-1", "worker-0123456789ab")
    return field(1, b"".join(field(n, text.encode()) for n, text in enumerate(texts, 1)))


EXIT = field(2, b"")


class Worker:
    """Starts a warmed process, and talks to it."""

    def __init__(self, storage: str, parent: int, *arguments: str) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(60)
        command = [sys.executable, "-m", "mapreduce._executor", "--storage", storage, "--parent", str(parent)]
        self.process = subprocess.Popen([*command, *arguments], stdin=theirs)
        theirs.close()

    def send(self, message: bytes) -> None:
        self.socket.sendall(struct.pack(">I", len(message)) + message)

    def receive(self) -> bytes:
        (length,) = struct.unpack(">I", self._read(4))
        return self._read(length)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            assert part, "the executor closed the socket"
            data += part
        return data

    def forks(self) -> list[int]:
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    def fork(self) -> int:
        wait_until(lambda: len(self.forks()) == 1, "a fork runs")
        return self.forks()[0]


READY = field(1, b"\x08\x01")


@pytest.fixture
def worker(tmp_path):
    worker = Worker(tmp_path.as_uri(), os.getpid())
    assert worker.receive() == READY
    yield worker
    worker.socket.close()
    assert worker.process.wait(60) == 0


def exited(code: int = 0, signal_number: int = 0) -> bytes:
    number = lambda tag, value: bytes([tag, value]) if value else b""  # noqa: E731
    return field(3, number(0x08, code) + number(0x10, signal_number))


def test_a_fork_serves_tasks_until_it_is_told_to_end_and_the_next_one_follows(worker):
    seen = set()
    for _ in range(2):
        seen.add(worker.fork())
        for _ in range(2):
            worker.send(run_task())
            finished = worker.receive()
            assert finished[0] == 2 << 3 | 2
            assert b'"bad_data"' in finished
            assert b"jobs/job_1/spec" in finished or b"jobs/job_1/plan" in finished
        worker.send(EXIT)
        assert worker.receive() == exited()
    seen.add(worker.fork())
    assert len(seen) == 3


def test_a_killed_fork_is_reported_with_its_signal(worker):
    worker.send(run_task())
    worker.receive()
    os.kill(worker.fork(), signal.SIGKILL)
    assert worker.receive() == exited(signal_number=9)


def test_a_fork_that_fails_is_reported_with_its_code(worker):
    worker.send(run_task(job="no job"))
    assert worker.receive() == exited(code=1)


def test_forks_die_with_the_warmed_process(worker):
    worker.send(run_task())
    worker.receive()
    fork = worker.fork()
    worker.process.kill()
    worker.process.wait()
    wait_until(lambda: not os.path.exists(f"/proc/{fork}"), "the fork is gone")
    worker.process.returncode = 0


def test_it_ends_with_the_worker_and_leaves_no_fork(worker):
    worker.send(run_task())
    worker.receive()
    fork = worker.fork()
    worker.socket.close()
    assert worker.process.wait(60) == 0
    assert not os.path.exists(f"/proc/{fork}")


def test_it_does_not_start_for_a_worker_that_is_gone(tmp_path):
    worker = Worker(tmp_path.as_uri(), 1)
    assert worker.process.wait(60) == 0
    assert worker.socket.recv(1) == b""


def test_ctrl_c_in_the_terminal_is_the_workers_matter(worker):
    worker.send(run_task())
    worker.receive()
    os.kill(worker.process.pid, signal.SIGINT)
    os.kill(worker.fork(), signal.SIGINT)
    worker.send(run_task())
    assert b'"bad_data"' in worker.receive()


def test_tracebacks_show_only_the_users_lines(tmp_path):
    """The source travels with functions of __main__, which the executor can't find in any file."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import functools
            from mapreduce import _code, _inputs

            def helper(record):
                return record / 0  # the line to see

            def map_func(one, records):
                return [(helper(record), one) for record in records]

            code, _broadcasts = _code.dump(_inputs.of([], functools.partial(map_func, 1)), sum)
            open("code", "wb").write(code)
        """)
    )
    subprocess.run([sys.executable, script.name], cwd=tmp_path, check=True)
    script.unlink()
    loader = textwrap.dedent("""
        from mapreduce import _code, _failures
        map_func = _code.load(open("code", "rb").read(), lambda name: 1 / 0).map[0]
        try:
            map_func([1])
        except Exception as error:
            error.__traceback__ = error.__traceback__.tb_next
            name, text, traceback, pickled = _failures.describe(error)
        assert name == "ZeroDivisionError" and pickled is not None
        print(traceback)
    """)
    shown = subprocess.run(
        [sys.executable, "-c", loader], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert "return record / 0  # the line to see" in shown
    assert "return [(helper(record), one) for record in records]" in shown
    assert "ZeroDivisionError" in shown
    assert "mapreduce/" not in shown
