"""Docker and Docker Compose, as programs that are run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from functools import cache

from mapreduce.errors import ClusterError


def docker(*words: str) -> str:
    """What ``docker`` prints.

    Raises:
        ClusterError: It is not there, or it failed; the message has its words.
    """
    if shutil.which("docker") is None:
        raise ClusterError("docker is not on PATH: install Docker, or use backend='processes'")
    return run(["docker", *words])


def run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command prints.

    Raises:
        ClusterError: It failed; the message has the last of its words.
    """
    ended = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if ended.returncode:
        said = "\n".join(ended.stderr.strip().splitlines()[-20:])
        raise ClusterError(f"`{' '.join(command)}` failed with exit code {ended.returncode}: {said}")
    return ended.stdout


@cache
def compose() -> tuple[str, ...]:
    """What a command of Docker Compose begins with: ``docker compose``, or ``docker-compose`` where that is missing.

    Raises:
        ClusterError: Neither is there.
    """
    try:
        docker("compose", "version")
    except ClusterError:
        if shutil.which("docker-compose") is None:
            raise ClusterError(
                "neither `docker compose` nor `docker-compose` is there: install Docker Compose"
            ) from None
        return ("docker-compose",)
    return ("docker", "compose")


def is_image(name: str) -> bool:
    """Whether Docker has this image."""
    return bool(docker("image", "ls", "--quiet", name))


def exit_codes(containers: list[str]) -> dict[str, int | None]:
    """By container, its exit code; None while it runs."""
    if not containers:
        return {}
    lines = docker("inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", *containers).splitlines()
    states = (line.split() for line in lines)
    return {
        container: None if running == "true" else int(code)
        for container, (running, code) in zip(containers, states, strict=True)
    }


def by_age(containers: list[str]) -> list[str]:
    """The same containers, the oldest first."""
    if not containers:
        return []
    made = docker("inspect", "--format", "{{.Created}}", *containers).split()
    return [container for _, container in sorted(zip(made, containers, strict=True))]


def cut_off(network: str) -> list[str]:
    """Tries to disconnect every container from a network, those that are gone and still counted as well.

    Returns what was connected: why it still is, or its name.
    """
    shown = docker("network", "inspect", "--format", "{{range .Containers}}{{println .Name}}{{end}}", network)
    connected = shown.split()
    for n, container in enumerate(connected):
        try:
            docker("network", "disconnect", "--force", network, container)
        except ClusterError as error:  # it went meanwhile, or Docker can't
            connected[n] = str(error)
    return connected


def free_network(name: str) -> str:
    """The first three numbers of a network of 256 addresses that is in nobody's way on this machine.

    Docker knows which are; it is asked by making a network of that name, which is removed again.
    """
    docker("network", "create", name)
    try:
        subnet = docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", name)
    finally:
        docker("network", "rm", name)
    return subnet.rpartition(".")[0]
