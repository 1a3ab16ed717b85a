"""What a cluster may leave behind when it has been shut down: no process, no port, no file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from helpers import processes_of, wait_until


def listeners() -> set[str]:
    """The sockets of this machine that listen for TCP, by inode."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add(fields[9])
    return found


def sockets_of(pids: list[int]) -> set[str]:
    """The sockets that these processes have open, by inode."""
    found = set()
    for pid in pids:
        try:
            links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue  # it ended meanwhile
        found |= {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
    return found


class Leftovers:
    """Looks at what a cluster has while it runs, and that it is gone afterwards."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = Path(os.environ["MAPREDUCE_HOME"])
        self.ports: set[str] = set()
        self.temporary = set(os.listdir(tempfile.gettempdir()))
        self.registered = self._registered()

    def look(self) -> None:
        self.ports |= sockets_of(processes_of(self.home)) & listeners()

    def check(self, killed_keepers: set[int]) -> None:
        assert self.ports, "masters listen"
        wait_until(lambda: not processes_of(self.home), "no process is left")
        assert not self.ports & listeners(), "a port is left"
        for entry in self._registered() - self.registered:
            # Of a keeper that was killed; the next one who looks for running clusters takes it away.
            assert int(entry.stem) in killed_keepers, entry
            entry.unlink()
        assert not (self.directory / "keeper.sock").exists()
        left = set(os.listdir(tempfile.gettempdir())) - self.temporary
        assert not [name for name in left if "mapreduce" in name], left

    def _registered(self) -> set[Path]:
        return set(self.home.glob("clusters/*.json"))
