"""A real ZooKeeper server for tests, on a free port of this machine."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from helpers import wait_until

JAR = Path("/usr/share/java/zookeeper.jar")
INSTALL = "these tests need a real ZooKeeper: apt-get install -y --no-install-recommends zookeeper"

# The server ends with the shell, and the shell when its standard input does: with the process of the tests.
RUN = """
java -Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dzookeeper.forceSync=no -Dzookeeper.admin.enableServer=false \
    -Dzookeeper.4lw.commands.whitelist=srvr -cp "$0" org.apache.zookeeper.server.quorum.QuorumPeerMain "$1" &
cat
kill -9 $!
"""


@contextlib.contextmanager
def server(directory: Path) -> Iterator[str]:
    """Runs a server whose files are in ``directory``; gives ``host:port``."""
    assert JAR.exists(), f"{JAR} is not there; {INSTALL}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = directory / "zoo.cfg"
    config.write_text(
        "tickTime=200\nmaxClientCnxns=0\nclientPortAddress=127.0.0.1\n"
        f"clientPort={port}\ndataDir={directory / 'data'}\n"
    )
    log = directory / "log"
    with log.open("wb") as output:
        command = ["sh", "-c", RUN, str(JAR), str(config)]
        shell = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
    try:
        with shell:
            wait_until(lambda: serves(port), f"ZooKeeper serves; {INSTALL}")
            yield f"127.0.0.1:{port}"
    except AssertionError:
        print(log.read_text())
        raise


def serves(port: int) -> bool:
    """Whether a server takes clients."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"srvr")
            return b"Mode:" in connection.makefile("rb").read()
    except OSError:
        return False
