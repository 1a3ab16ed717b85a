"""Hosts of their own on one machine: network namespaces with an address each, on a bridge. Needs root and iproute2."""

from __future__ import annotations

import os
import subprocess
from types import TracebackType


def run(*command: str) -> None:
    """Runs a command that must succeed: without namespaces there is nothing to test, and that is an error."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"


class Network:
    """A bridge and the hosts on it. It has a namespace, too: the machine's own firewall is left alone, and not met."""

    def __init__(self) -> None:
        self.name = f"mr{os.getpid()}"
        self.hosts: dict[str, str] = {}

    def __enter__(self) -> Network:
        run("ip", "netns", "add", self._namespace("switch"))
        run(*self.within("switch"), "ip", "link", "add", "bridge", "type", "bridge")
        run(*self.within("switch"), "ip", "link", "set", "bridge", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for host in [*self.hosts, "switch"]:
            run("ip", "netns", "delete", self._namespace(host))

    def _namespace(self, host: str) -> str:
        return f"{self.name}-{host}"

    def within(self, host: str) -> list[str]:
        """The words before a command that runs on a host."""
        return ["ip", "netns", "exec", self._namespace(host)]

    def add(self, host: str) -> str:
        """A new host; gives its address."""
        address, port = f"10.213.0.{len(self.hosts) + 1}", f"port{len(self.hosts)}"
        run("ip", "netns", "add", self._namespace(host))
        self.hosts[host] = address
        veth = ["ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", self._namespace(host)]
        run(*self.within("switch"), *veth)
        run(*self.within("switch"), "ip", "link", "set", port, "master", "bridge", "up")
        run(*self.within(host), "ip", "address", "add", f"{address}/24", "dev", "eth0")
        run(*self.within(host), "ip", "link", "set", "eth0", "up")
        run(*self.within(host), "ip", "link", "set", "lo", "up")
        return address

    def place(self, host: str) -> tuple[str, list[str]]:
        """A new host's address, and the words before a command that runs there."""
        return self.add(host), self.within(host)

    def cut(self, sender: str, receiver: str) -> None:
        """What the one sends no longer reaches the other; nobody is told."""
        run(*self.within(receiver), "iptables", "-A", "INPUT", "-s", self.hosts[sender], "-j", "DROP")

    def mend(self, sender: str, receiver: str) -> None:
        run(*self.within(receiver), "iptables", "-D", "INPUT", "-s", self.hosts[sender], "-j", "DROP")

    def unplug(self, host: str) -> None:
        run(*self.within(host), "ip", "link", "set", "eth0", "down")

    def plug_in(self, host: str) -> None:
        run(*self.within(host), "ip", "link", "set", "eth0", "up")
