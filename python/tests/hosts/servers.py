"""A real ZooKeeper and a real HDFS, each on a host of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from helpers import wait_until

from hosts.network import Network

ROOT = Path(__file__).resolve().parents[3]
ZOOKEEPER_JAR = Path("/usr/share/java/zookeeper.jar")
INSTALL = "these tests need real servers: apt-get install -y --no-install-recommends zookeeper openjdk-17-jre-headless"
QUICK_START = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
LOG4J = """log4j.rootLogger=INFO,A
log4j.appender.A=org.apache.log4j.ConsoleAppender
log4j.appender.A.layout=org.apache.log4j.PatternLayout
log4j.appender.A.layout.ConversionPattern=%d %p %c: %m%n
"""


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """Runs a server until the end of the block."""
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def zookeeper(network: Network, host: str, directory: Path) -> Iterator[str]:
    """Runs ZooKeeper on a new host; gives the URL for a cluster."""
    assert ZOOKEEPER_JAR.exists(), f"{ZOOKEEPER_JAR} is not there; {INSTALL}"
    address, port = network.add(host), 2181
    directory.mkdir()
    # Nobody may use it without a password, unless it is on loopback.
    auth = directory / "auth"
    auth.touch(mode=0o600)
    auth.write_text("cluster:a password\n")
    (directory / "zoo.cfg").write_text(
        f"tickTime=200\nclientPortAddress={address}\nclientPort={port}\ndataDir={directory / 'data'}\n"
    )
    options = ["-Dzookeeper.admin.enableServer=false", "-Dzookeeper.4lw.commands.whitelist=srvr"]
    main = ["-cp", str(ZOOKEEPER_JAR), "org.apache.zookeeper.server.quorum.QuorumPeerMain"]
    java = [*network.within(host), "java", *QUICK_START, *options, *main, str(directory / "zoo.cfg")]
    asks = f"exec 3<>/dev/tcp/{address}/{port} && echo srvr >&3 && grep -q Mode: <&3"

    def serves() -> bool:
        asked = [*network.within(host), "bash", "-c", asks]
        return subprocess.run(asked, check=False, stderr=subprocess.DEVNULL).returncode == 0

    with running(java, directory / "log"):
        wait_until(serves, f"ZooKeeper serves; {INSTALL}")
        yield f"zookeeper://{address}:{port}/cluster?auth={auth}"


@contextlib.contextmanager
def hdfs(network: Network, host: str, directory: Path) -> Iterator[str]:
    """Runs a NameNode and a DataNode on a new host; gives the URL for a cluster."""
    address, port = network.add(host), 9000
    configure(directory, address, port)
    java = [*network.within(host), *hadoop(directory)]
    format_it = [*java, "org.apache.hadoop.hdfs.server.namenode.NameNode", "-format", "-force"]
    done = subprocess.run(format_it, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr}\n{INSTALL}"
    with contextlib.ExitStack() as servers:
        for name in ("namenode.NameNode", "datanode.DataNode"):
            log = directory / f"{name}.log"
            servers.enter_context(running([*java, f"org.apache.hadoop.hdfs.server.{name}"], log))
        log = directory / "namenode.NameNode.log"
        wait_until(lambda: "Adding a new node" in log.read_text(), "HDFS serves")
        yield f"hdfs://{address}:{port}/cluster"


def hadoop(directory: Path) -> list[str]:
    """The words before the name of one of Hadoop's programs. Its jars are fetched if they are not there."""
    jars = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp" / "hadoop-2.7.3-jars"
    if not jars.exists():
        script = ROOT / "crates/storage/tests/support/hadoop_jars.py"
        subprocess.run([sys.executable, str(script), str(jars)], check=True)
    opened = ["java.base/java.lang", "java.base/java.net", "java.base/java.nio", "java.base/sun.nio.ch"]
    opened += ["java.base/java.util", "java.security.jgss/sun.security.krb5"]
    access = [f"--add-opens={package}=ALL-UNNAMED" for package in opened]
    access += ["--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED"]
    return ["java", *QUICK_START, *access, "-cp", f"{directory}/conf:{jars}/*"]


def configure(directory: Path, address: str, port: int) -> None:
    """Writes what the servers read."""
    # They refuse to start without their web pages, which the jars lack.
    for pages in ("hdfs", "datanode"):
        (directory / "conf/webapps" / pages / "WEB-INF").mkdir(parents=True)
        (directory / "conf/webapps" / pages / "WEB-INF/web.xml").write_text("<web-app/>")
    (directory / "conf/log4j.properties").write_text(LOG4J)
    core = {"fs.defaultFS": f"hdfs://{address}:{port}", "hadoop.tmp.dir": str(directory / "data")}
    settings = {
        "dfs.replication": "1",
        "dfs.webhdfs.enabled": "false",
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.namenode.http-address": f"{address}:{port + 1}",
        "dfs.datanode.address": f"{address}:{port + 2}",
        "dfs.datanode.http.address": f"{address}:{port + 3}",
        "dfs.datanode.ipc.address": f"{address}:{port + 4}",
    }
    (directory / "conf/core-site.xml").write_text(as_xml(core))
    (directory / "conf/hdfs-site.xml").write_text(as_xml(settings))


def as_xml(settings: Mapping[str, str]) -> str:
    """Settings as Hadoop reads them."""
    properties = (f"<property><name>{key}</name><value>{value}</value></property>" for key, value in settings.items())
    return f"<configuration>{''.join(properties)}</configuration>"
