"""A cluster in containers of this machine: what ``LocalCluster(backend="compose")`` stands on.

The directory of such a cluster::

    compose.env      what compose.yaml is told
    zookeeper.auth   name and password for ZooKeeper
    password         the password of the account by which this person's jobs are submitted
    master/          what masters know, made by ``mapreduce cluster init`` in a container
    worker/          what workers know: the same without what only masters may have
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import mapreduce
from mapreduce import _native
from mapreduce.authentication.auth import Auth
from mapreduce.cluster import _docker
from mapreduce.errors import ClusterError, InvalidArgumentError, NoMasterError

_COMPOSE_FILE = Path(__file__).with_name("compose.yaml")
_SETTINGS = "compose.env"
_SERVICES = ("master", "worker")
_PATIENCE_S = 60.0
"""How long what was started may take to be a part of the cluster; its stores serve by then."""
_POLL_S = 0.1
_ENDING_S = 5
"""How long a worker may take to end, beyond the grace that its tasks have."""


def image() -> str:
    """The image of masters and workers that fits this process: of its version, and of its Python's."""
    python = "{}.{}".format(*sys.version_info)
    return os.environ.get("MAPREDUCE_IMAGE") or f"mapreduce:{mapreduce.__version__}-python{python}"


class Containers:
    """A cluster that runs. Its methods are those of :class:`mapreduce._native.Cluster`."""

    def __init__(self, directory: Path, *, temporary: bool) -> None:
        self.directory = directory
        self._temporary = temporary
        self._settings = _read_settings(directory)
        self._connection: _native.Connection | None = None
        self._heir: subprocess.Popen[bytes] | None = None
        self._process = os.getpid()

    @classmethod
    def start(
        cls,
        place: str | None,
        auth: Auth,
        *,
        n_workers: int,
        n_masters: int,
        slots_per_worker: int,
        lease_ms: int,
        grace_ms: int,
        memory_bytes_max: int | None,
        keep_alive: bool,
    ) -> Containers:
        """Starts a cluster, and returns when its masters and workers are registered."""
        _native.login(*auth._login())
        if not _docker.is_image(image()):
            raise ClusterError(
                f"docker has no image {image()}: build it by `make images` in the sources of this package"
            )
        directory = Path(tempfile.mkdtemp(prefix="mapreduce-") if place is None else place).resolve()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / _SETTINGS).exists():
            _make_settings(directory, auth.username)
        cluster = cls(directory, temporary=place is None)
        cluster._check_owner(auth)
        if None in _docker.exit_codes(cluster._containers(*_SERVICES)).values():
            raise ClusterError(f"a cluster runs in {directory} already: attach to it, or give another directory")
        memory = "" if memory_bytes_max is None else f" --memory-bytes-max {memory_bytes_max}"
        # What an earlier cluster in this directory was made of stays; what describes processes is this one's.
        cluster._settings |= {
            "MAPREDUCE_IMAGE": image(),
            "MAPREDUCE_LEASE_MS": str(lease_ms),
            "MAPREDUCE_GRACE_MS": str(grace_ms),
            "MAPREDUCE_STOP_GRACE_PERIOD": f"{grace_ms // 1000 + _ENDING_S}s",
            "MAPREDUCE_SLOTS": str(slots_per_worker),
            "MAPREDUCE_WORKER_OPTIONS": f"--machine-slots {max(n_workers, 1) * slots_per_worker}{memory}",
        }
        _write_settings(directory, cluster._settings)
        try:
            if not keep_alive:
                cluster._appoint_heir()
            # Those of a machine that lost its power, say.
            cluster._compose("rm", "--force", "-v", *_SERVICES)
            cluster._up("--scale", f"master={n_masters}", "--scale", f"worker={n_workers}")
            cluster._wait_for_members(*_SERVICES)
        except BaseException:
            cluster.finish(shutdown=True, cleanup=False)
            raise
        return cluster

    @classmethod
    def attach(cls, place: str, auth: Auth) -> Containers:
        """The cluster that runs in this directory."""
        _native.login(*auth._login())
        cluster = cls(Path(place).resolve(), temporary=False)
        cluster._check_owner(auth)
        cluster._connect()
        return cluster

    def client(self) -> _native.Client:
        """Looks into the cluster and submits its jobs."""
        return self._connect().client()

    def scale(self, n_workers: int | None, n_masters: int | None) -> None:
        """Starts or ends containers until there are as many as named; what is not named stays."""
        wanted = zip(_SERVICES, (n_masters, n_workers), strict=True)
        named = {service: n for service, n in wanted if n is not None}
        if not named:
            return
        # The dead ones would be counted, and started again.
        self._compose("rm", "--force", "-v", *named)
        for service, n in named.items():
            # Compose would leave the volumes.
            if surplus := _docker.by_age(self._containers(service))[n:]:
                grace_s = int(self._settings["MAPREDUCE_GRACE_MS"]) // 1000 + _ENDING_S
                _docker.docker("stop", "--time", str(grace_s), *surplus)
                _docker.docker("rm", "--volumes", *surplus)
        scales = [word for service, n in named.items() for word in ("--scale", f"{service}={n}")]
        self._up("--no-deps", *scales, *named)
        self._wait_for_members(*named)

    def kill(self, ids: list[str]) -> None:
        """Kills the containers of these masters and workers; an unknown id is an error, and then nobody is killed."""
        hosts = self._hosts(*_SERVICES)
        for one in ids:
            if one not in hosts:
                raise InvalidArgumentError(f"no living master or worker has the id {one}; living: {', '.join(hosts)}")
        containers = [hosts[one] for one in ids]
        if containers:
            _docker.docker("kill", *containers)
            _docker.docker("wait", *containers)

    def finish(self, *, shutdown: bool, cleanup: bool) -> None:
        """Ends the connection and, if asked to, the cluster; with `cleanup`, all that it kept."""
        if os.getpid() != self._process:
            return  # What a fork does with its copy is nobody's end.
        if self._connection is not None:
            self._connection.finish(shutdown=False, cleanup=False)
        if not shutdown:
            return
        if not (self.directory / _SETTINGS).exists():
            pass  # Another process has cleaned up.
        elif cleanup or self._temporary:
            self._compose("kill")
            self._down()
            _remove(self.directory, whole=self._temporary)
        else:
            self._compose("kill", *_SERVICES)
            self._compose("rm", "--force", "-v", *_SERVICES, "init")
            self._compose("stop")
        if self._heir is not None:
            # A line says that there is nothing left to do.
            self._heir.communicate(b"\n")

    def _down(self) -> None:
        network = f"{self._project}_cluster"
        for pause_s in [0.5, 1, 2, 4, None]:
            try:
                self._compose("down", "--volumes", "--remove-orphans")
                return
            except ClusterError as error:
                if "has active endpoints" not in str(error):
                    raise
                # Somebody's own container is in the network, or Docker takes one for connected that is gone.
                connected = _docker.cut_off(network)
                if pause_s is not None:
                    time.sleep(pause_s)
                elif connected:
                    raise ClusterError(f"still in the network {network}: {', '.join(connected)}: {error}") from error
        # It counts wrong at times (moby/moby#42119), and then nothing else helps. All the rest is gone.
        warnings.warn(
            f"Docker keeps the network {network}, which nobody is in, for a container that is gone: "
            f"run `docker network rm {network}` when its daemon was restarted",
            RuntimeWarning,
            stacklevel=2,
        )

    def _up(self, *words: str) -> None:
        try:
            self._compose("up", "--detach", "--no-recreate", *words)
        except ClusterError as error:
            # Compose tells which container ended, and not what that said.
            codes = _docker.exit_codes(self._containers())
            if ended := {container: code for container, code in codes.items() if code}:
                raise ClusterError(f"{_shown(ended)}: {_logs(*ended)}") from error
            raise

    def _compose(self, *words: str) -> str:
        files = ["--file", str(_COMPOSE_FILE), "--env-file", str(self.directory / _SETTINGS)]
        # All paths are absolute; what it takes for the project's directory does not matter, but must be there.
        project = ["--project-name", self._project, "--project-directory", str(self.directory)]
        return _docker.run([*_docker.compose(), *files, *project, *words], {**os.environ, **self._settings})

    @property
    def _project(self) -> str:
        return f"mapreduce-{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]}"

    def _check_owner(self, auth: Auth) -> None:
        """The cluster has one account, whose password nobody knows but its directory."""
        owner = self._settings["MAPREDUCE_ADMIN"]
        if auth.username != owner:
            raise InvalidArgumentError(f"the cluster in {self.directory} is {owner}'s: give auth of that user")

    def _connect(self) -> _native.Connection:
        if self._connection is None:
            net = self._settings["MAPREDUCE_NET"]
            servers = ",".join(f"{net}.{number}:2181" for number in (11, 12, 13))
            url = f"zookeeper://{servers}/mapreduce?auth={self.directory / 'zookeeper.auth'}"
            password = (self.directory / "password").read_text()
            self._connection = _native.Connection.open(url, self._settings["MAPREDUCE_ADMIN"], password)
        return self._connection

    def _containers(self, *services: str) -> list[str]:
        """The ids of these services' containers, or of all, the dead ones too."""
        return self._compose("ps", "--all", "--quiet", *services).split()

    def _hosts(self, *services: str) -> dict[str, str]:
        """By id of a master or worker that is alive, its host's name: the first 12 digits of its container's id."""
        snapshot = json.loads(self.client().snapshot())
        members = [member for service in services for member in snapshot[f"{service}s"]]
        return {member["incarnation"]: member["host"] for member in members}

    def _wait_for_members(self, *services: str) -> None:
        """Returns when the masters, the workers, or both are those whose containers there are."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            containers = self._containers(*services)
            ended = {one: code for one, code in _docker.exit_codes(containers).items() if code is not None}
            if ended:
                raise ClusterError(f"{_shown(ended)} instead of being a part of the cluster: {_logs(*ended)}")
            hosts: set[str] = set()
            with contextlib.suppress(NoMasterError):
                hosts = set(self._hosts(*services).values())
            if hosts == {container[:12] for container in containers}:
                return
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"after {_PATIENCE_S:.0f} s the containers {', '.join(c[:12] for c in containers)} were running, "
                    f"and {', '.join(hosts) or 'none'} a part of the cluster: {_logs(*containers)}"
                )
            time.sleep(_POLL_S)

    def _appoint_heir(self) -> None:
        """Starts a process that ends the cluster when this one is dead, however it died."""
        kind = "temporary" if self._temporary else "kept"
        self._heir = subprocess.Popen(
            [sys.executable, "-m", "mapreduce.cluster._containers", str(self.directory), kind],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )


def _make_settings(directory: Path, username: str) -> None:
    for name, secret in (("zookeeper.auth", f"mapreduce:{secrets.token_hex(16)}"), ("password", secrets.token_hex(16))):
        with open(directory / name, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(secret)
    net = _docker.free_network(f"mapreduce-{secrets.token_hex(6)}")
    settings = {
        "MAPREDUCE_ADMIN": username,
        "MAPREDUCE_DIRECTORY": str(directory),
        "MAPREDUCE_IMAGE": image(),
        "MAPREDUCE_NET": net,
        "MAPREDUCE_USER": f"{os.getuid()}:{os.getgid()}",
    }
    _write_settings(directory, settings)


def _write_settings(directory: Path, settings: dict[str, str]) -> None:
    new = directory / f"{_SETTINGS}.new"
    new.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    new.replace(directory / _SETTINGS)


def _read_settings(directory: Path) -> dict[str, str]:
    path = directory / _SETTINGS
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise ClusterError(f"there is no cluster in containers in {directory}: it has no {_SETTINGS}") from None
    settings = dict(line.split("=", 1) for line in lines if "=" in line)
    needed = ("ADMIN", "DIRECTORY", "IMAGE", "NET", "USER")
    if missing := {f"MAPREDUCE_{name}" for name in needed} - settings.keys():
        raise ClusterError(f"{path} does not say {min(missing)}: restore it, or remove the directory")
    return settings


def _remove(directory: Path, *, whole: bool) -> None:
    if whole:
        shutil.rmtree(directory)
        return
    for name in ("master", "worker"):
        shutil.rmtree(directory / name, ignore_errors=True)
    # The settings last: as long as they are there, this can be done again.
    for name in ("zookeeper.auth", "password", _SETTINGS):
        (directory / name).unlink(missing_ok=True)


def _shown(ended: dict[str, int]) -> str:
    return ", ".join(f"container {container[:12]} ended with exit code {code}" for container, code in ended.items())


def _logs(*containers: str) -> str:
    tails = []
    for container in containers:
        command = ["docker", "logs", "--tail", "5", container]
        tail = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        tails.append(f"{container[:12]}: {tail.stdout.strip()}")
    return "\n".join(tails)


def _inherit() -> None:
    """Waits for the death of the process that started this one, and ends its cluster."""
    cluster = Containers(Path(sys.argv[1]), temporary=sys.argv[2] == "temporary")
    if not sys.stdin.buffer.readline():
        cluster.finish(shutdown=True, cleanup=False)


if __name__ == "__main__":
    _inherit()
