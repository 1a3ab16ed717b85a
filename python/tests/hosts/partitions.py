"""`make hosts`: masters and workers on hosts of their own, and networks that fall apart in the middle of a job.

Either all hosts share a directory, and the network between masters, workers and the client is cut; or coordination is a
ZooKeeper and storage an HDFS, on hosts of their own, and who works is cut off from them. It needs root, iproute2,
iptables, ZooKeeper and Java, and fails without them; `make test` leaves it out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers

from hosts.cluster import Cut, Hosts, assert_result, survives
from hosts.network import Network


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    assert os.geteuid() == 0, "network namespaces need root"
    monkeypatch.setenv("MAPREDUCE_HOME", str(tmp_path / "home"))
    with Network() as network:
        yield network


@pytest.fixture
def hosts(network: Network, tmp_path: Path) -> Iterator[Hosts]:
    """All share a directory."""
    hosts = Hosts(network, tmp_path)
    try:
        hosts.wait()
        yield hosts
    finally:
        hosts.end()


@pytest.fixture
def hosts_of_stores(network: Network, tmp_path: Path) -> Iterator[Hosts]:
    """The stores have hosts of their own: `coordination` and `storage`."""
    # Nobody may use a ZooKeeper without a password, unless it is on loopback.
    auth = tmp_path / "auth"
    auth.touch(mode=0o600)
    auth.write_text("cluster:a password\n")
    with (
        servers.zookeeper(tmp_path / "zookeeper", *network.place("coordination")) as coordination,
        servers.hdfs(tmp_path / "hdfs", *network.place("storage")) as storage,
    ):
        stores = {"coordination": f"zookeeper://{coordination}/cluster?auth={auth}", "storage": f"{storage}/cluster"}
        hosts = Hosts(network, tmp_path, stores)
        try:
            hosts.wait()
            yield hosts
        finally:
            hosts.end()


def between(one: str | None, other: str | None, *, back: bool = True) -> tuple[Cut, Cut]:
    """What `one` sends no longer reaches the `other`, nor `back`; none is the job's owner."""

    def ways(owner: str) -> list[tuple[str, str]]:
        there = (one or owner, other or owner)
        return [there, there[::-1]] if back else [there]

    def cut(network: Network, owner: str) -> None:
        for sender, receiver in ways(owner):
            network.cut(sender, receiver)

    def mend(network: Network, owner: str) -> None:
        for sender, receiver in ways(owner):
            network.mend(sender, receiver)

    return cut, mend


OWNER = None
CUTS: dict[str, tuple[Cut, Cut]] = {
    "worker-and-owner": between("w0", OWNER),
    "worker-to-owner": between("w0", OWNER, back=False),
    "owner-to-worker": between(OWNER, "w0", back=False),
    "worker-unplugged": (lambda net, _: net.unplug("w0"), lambda net, _: net.plug_in("w0")),
    "owner-unplugged": (lambda net, owner: net.unplug(owner), lambda net, owner: net.plug_in(owner)),
}
CUTS_OF_STORES: dict[str, tuple[Cut, Cut]] = {
    "owner-and-coordination": between(OWNER, "coordination"),
    "owner-to-coordination": between(OWNER, "coordination", back=False),
    "coordination-to-owner": between("coordination", OWNER, back=False),
    "worker-and-coordination": between("w0", "coordination"),
    "worker-and-storage": between("w0", "storage"),
    "worker-to-storage": between("w0", "storage", back=False),
    "storage-to-worker": between("storage", "w0", back=False),
    "owner-and-storage": between(OWNER, "storage"),
}


@pytest.mark.parametrize("what", CUTS)
def test_a_network_that_falls_apart_and_heals_changes_nothing_in_the_result(hosts: Hosts, what: str) -> None:
    survives(hosts, what, *CUTS[what])


@pytest.mark.parametrize("what", CUTS_OF_STORES)
def test_who_is_cut_off_from_a_store_changes_nothing_in_the_result(hosts_of_stores: Hosts, what: str) -> None:
    survives(hosts_of_stores, what, *CUTS_OF_STORES[what])


def test_a_worker_that_stays_unplugged_is_done_without(hosts: Hosts) -> None:
    """Nobody closes its connections, and its process lives on, as coordination shows."""
    client = hosts.submit()
    hosts.network.unplug("w0")
    output, _ = client.communicate(timeout=120)
    assert client.returncode == 0, output
    assert_result(hosts)
