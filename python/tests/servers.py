"""Real servers for tests, a ZooKeeper and an HDFS: on this machine, or in one of its network namespaces."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from helpers import wait_until

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
ZOOKEEPER_JAR = Path("/usr/share/java/zookeeper.jar")
INSTALL = "these tests need real servers: apt-get install -y --no-install-recommends zookeeper openjdk-17-jre-headless"
QUICK_START = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
GIVEN = itertools.count()
LOG4J = """log4j.rootLogger=INFO,A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d %p %c: %m%n
"""


@contextlib.contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[None]:
    """Runs a server until the end of the block; or of this process, however that ends: then `cat` does, too."""
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["sh", "-c", '"$@" & cat; kill -9 $!', "server", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    try:
        with shell:
            yield
    except AssertionError:
        print(log.read_text())
        raise


def free_ports(n: int) -> list[int]:
    """So many that nobody listens on: below those that Linux gives to clients, as in crates/servers/src/ports.rs."""
    candidates = (12_000 + (os.getpid() * 100 + given) % 20_000 for given in GIVEN)
    return list(itertools.islice(filter(is_free, candidates), n))


def is_free(port: int) -> bool:
    with socket.socket() as held:
        try:
            held.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def zookeeper(
    directory: Path, address: str = LOOPBACK, within: Sequence[str] = (), longest_lease_ms: int = 4000
) -> Iterator[str]:
    """Runs a ZooKeeper; gives its ``host:port``. `within` are the words before a command that runs where it is."""
    assert ZOOKEEPER_JAR.exists(), f"{ZOOKEEPER_JAR} is not there; {INSTALL}"
    (port,) = free_ports(1)
    directory.mkdir(exist_ok=True)
    (directory / "zoo.cfg").write_text(
        f"tickTime=200\nmaxClientCnxns=0\nmaxSessionTimeout={longest_lease_ms}\n"
        f"clientPortAddress={address}\nclientPort={port}\ndataDir={directory / 'data'}\n"
    )
    names = {"forceSync": "no", "admin.enableServer": "false", "4lw.commands.whitelist": "srvr"}
    options = [f"-Dzookeeper.{name}={value}" for name, value in names.items()]
    main = ["-cp", str(ZOOKEEPER_JAR), "org.apache.zookeeper.server.quorum.QuorumPeerMain"]
    asks = f"exec 3<>/dev/tcp/{address}/{port} && echo srvr >&3 && grep -q Mode: <&3"

    def serves() -> bool:
        # It may take a connection before it answers anybody.
        ask = ["timeout", "5", *within, "bash", "-c", asks]
        asked = subprocess.run(ask, check=False, stderr=subprocess.DEVNULL)
        return asked.returncode == 0

    command = [*within, "java", *QUICK_START, *options, *main, str(directory / "zoo.cfg")]
    with running(command, directory / "log"):
        wait_until(serves, f"ZooKeeper serves; {INSTALL}")
        yield f"{address}:{port}"


@contextlib.contextmanager
def hdfs(directory: Path, address: str = LOOPBACK, within: Sequence[str] = ()) -> Iterator[str]:
    """Runs a NameNode and a DataNode; gives ``hdfs://host:port``."""
    ports = free_ports(5)
    configure(directory, address, ports)
    java = [*within, *hadoop(directory)]
    name_node, data_node = (f"org.apache.hadoop.hdfs.server.{n}" for n in ("namenode.NameNode", "datanode.DataNode"))
    formatted = subprocess.run([*java, name_node, "-format", "-force"], check=False, capture_output=True, text=True)
    assert formatted.returncode == 0, f"{formatted.stderr}\n{INSTALL}"
    log = directory / "namenode.log"
    with running([*java, name_node], log), running([*java, data_node], directory / "datanode.log"):
        wait_until(lambda: "Adding a new node" in log.read_text(), "HDFS serves")
        yield f"hdfs://{address}:{ports[0]}"


def hadoop(directory: Path) -> list[str]:
    """The words before the name of one of Hadoop's programs. Its jars are fetched if they are not there."""
    jars = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp" / "hadoop-2.7.3-jars"
    subprocess.run([sys.executable, str(ROOT / "crates/servers/src/hadoop_jars.py"), str(jars)], check=True)
    opened = ["java.base/java.lang", "java.base/java.net", "java.base/java.nio", "java.base/sun.nio.ch"]
    opened += ["java.base/java.util", "java.security.jgss/sun.security.krb5"]
    access = [f"--add-opens={package}=ALL-UNNAMED" for package in opened]
    access += ["--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED"]
    scratch = f"-Djava.io.tmpdir={directory}"
    return ["java", *QUICK_START, *access, scratch, "-cp", f"{directory}/conf:{jars}/*"]


def configure(directory: Path, address: str, ports: Sequence[int]) -> None:
    """Writes what the servers read."""
    # They refuse to start without their web pages, which the jars lack.
    for pages in ("hdfs", "datanode"):
        (directory / "conf/webapps" / pages / "WEB-INF").mkdir(parents=True)
        (directory / "conf/webapps" / pages / "WEB-INF/web.xml").write_text("<web-app/>")
    (directory / "conf/log4j.properties").write_text(LOG4J)
    core = {"fs.defaultFS": f"hdfs://{address}:{ports[0]}", "hadoop.tmp.dir": str(directory / "data")}
    settings = {
        "dfs.replication": "1",
        "dfs.webhdfs.enabled": "false",
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.namenode.http-address": f"{address}:{ports[1]}",
        "dfs.datanode.address": f"{address}:{ports[2]}",
        "dfs.datanode.http.address": f"{address}:{ports[3]}",
        "dfs.datanode.ipc.address": f"{address}:{ports[4]}",
    }
    (directory / "conf/core-site.xml").write_text(as_xml(core))
    (directory / "conf/hdfs-site.xml").write_text(as_xml(settings))


def as_xml(settings: Mapping[str, str]) -> str:
    """Settings as Hadoop reads them."""
    properties = (f"<property><name>{key}</name><value>{value}</value></property>" for key, value in settings.items())
    return f"<configuration>{''.join(properties)}</configuration>"
