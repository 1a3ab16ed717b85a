"""Clusters in containers: `LocalCluster(backend="compose")` on this machine's Docker engine, and `docker kill`."""

import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import slow_jobs
from helpers import EXAMPLES, reference, wait_until
from nbclient import NotebookClient

from mapreduce import Auth, AuthenticationError, ClusterError, InvalidArgumentError, LocalCluster
from mapreduce.cluster._containers import Containers

ROOT = EXAMPLES.parent
INSTALL = "these tests need Docker, and to be root: apt-get install -y docker.io docker-compose debootstrap"
# A quarter of a minute of work.
DATA = slow_jobs.DATA * 5

pytestmark = pytest.mark.timeout(600)


def docker(*words):
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.split()


NAMES = ["--filter", "name=mapreduce-"]


def networks():
    return docker("network", "ls", "--format", "{{.Name}}", *NAMES)


def of_docker():
    """All that Docker has of clusters, and its volumes."""
    return docker("ps", "--all", "--format", "{{.Names}}", *NAMES) + networks() + docker("volume", "ls", "--quiet")


def is_stuck(network):
    """Whether Docker refuses to remove a network that nobody is in: at times it counts wrong (moby/moby#42119)."""
    if docker("network", "inspect", "--format", "{{len .Containers}}", network) != ["0"]:
        return False
    removed = subprocess.run(["docker", "network", "rm", network], check=False, capture_output=True, text=True)
    return "has active endpoints" in removed.stderr


@pytest.fixture(scope="module", autouse=True)
def images():
    """The images of this build; public ones that can't be had are stood in for."""
    for command in ([ROOT / "python/tests/containers/base_images.sh"], ["make", "--directory", ROOT, "images"]):
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        assert made.returncode == 0, f"{made.stdout}{made.stderr}\n{INSTALL}"


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = of_docker()
    yield
    after = of_docker()
    stuck = [name for name in networks() if name not in before and is_stuck(name)]
    assert [name for name in after if name not in stuck] == before


def test_the_perfect_storm_in_containers_with_the_notebook_unmodified(home, monkeypatch):
    monkeypatch.setenv("MAPREDUCE_BACKEND", "compose")
    notebook = nbformat.read(EXAMPLES / "fault_tolerance.ipynb", as_version=4)
    storm = next(n for n, cell in enumerate(notebook.cells) if "cluster.kill(" in cell.source)
    look = "import subprocess; print(subprocess.run(['docker', 'ps', '-a'], capture_output=True, text=True).stdout)"
    notebook.cells.insert(storm + 1, nbformat.v4.new_code_cell(look))
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs if output.output_type == "stream")
    # 4 workers and the owner.
    assert text.count("Exited (137)") == 5
    assert "the result is right" in text
    assert "ran again: 0" in text


@pytest.fixture
def place(nothing_is_left, tmp_path):
    """A directory for clusters, and its kind of them; whatever happens in the test, they are gone after it."""
    directory = tmp_path / "cluster"
    yield {"backend": "compose", "directory": directory}
    if (directory / "compose.env").exists():
        Containers(directory, temporary=False).finish(shutdown=True, cleanup=True)


def test_a_cluster_is_scaled_killed_by_hand_ended_and_begun_again_where_it_was(auth, place, capsys):
    with LocalCluster(auth, n_workers=2, n_masters=1, keep_alive=True, **place) as cluster:
        first = cluster.mapreduce(DATA, slow_jobs.slow_map, slow_jobs.reduce_func, split_records=20)
        wait_until(lambda: first.progress().map_done >= 2, "two tasks are finished")
        with pytest.raises(ClusterError, match="already"):
            LocalCluster(auth, **place)

    # It is alive, others find it, and what is printed as a host is what Docker knows.
    with LocalCluster(auth, initialize=False, directory=place["directory"]) as cluster:
        cluster.local_monitoring.print_zoo()
        printed = capsys.readouterr().out
        (worker, other) = cluster.local_monitoring.state().workers
        assert worker.host in printed
        with pytest.raises(InvalidArgumentError, match="worker-000000000000"):
            cluster.kill(other.id, "worker-000000000000")
        docker("kill", worker.host)
        wait_until(
            lambda: cluster.local_monitoring.get_registered_workers()[0] == [other.id], "the killed one is missed"
        )
        cluster.scale(n_workers=3, n_masters=2)
        assert cluster.local_monitoring.get_registered_workers()[1] == 3
        assert cluster.local_monitoring.get_registered_masters()[1] == 2
        cluster.scale(n_workers=1)
        assert cluster.local_monitoring.get_registered_workers()[1] == 1
        job = cluster.local_monitoring.state().jobs[0]
        finished = {task.id for task in job.tasks if task.state == "committed"}
        cluster.shutdown_cluster()

    assert [name for name in of_docker() if "worker" in name or "master" in name] == []
    auth.create_user("eve", "secret")
    with pytest.raises(InvalidArgumentError, match="is admin's"):
        LocalCluster(Auth("eve", "secret"), **place)
    auth.delete_user("eve")
    with LocalCluster(auth, n_workers=1, n_masters=1, keep_alive=True, **place) as cluster:
        assert cluster.attach(first.job_id).progress().map_done >= 2
    # The machine loses its power.
    docker("kill", *docker("ps", "--quiet", "--filter", "name=mapreduce-"))
    with LocalCluster(auth, n_workers=2, n_masters=1, **place) as cluster:
        future = cluster.attach(first.job_id)
        assert future.result() == reference(DATA, slow_jobs.slow_map, slow_jobs.reduce_func)
        committed = [a.task for a in cluster.local_monitoring.history(first.job_id) if a.outcome == "committed"]
        assert finished and len(committed) == len(set(committed))
        # Somebody's own container in the cluster's network is not in the way.
        (network,) = docker("network", "ls", "--format", "{{.Name}}", "--filter", "name=mapreduce-")
        run = ["run", "--detach", "--rm", "--network", network, "--entrypoint", "sleep"]
        (guest,) = docker(*run, "zookeeper:3.8", "600")
        try:
            cluster.shutdown_cluster(cleanup=True)
        finally:
            docker("kill", guest)
    assert list(place["directory"].iterdir()) == []


def test_a_cluster_ends_with_a_client_that_is_killed(environment):
    script = """
        import sys, time
        from mapreduce import Auth, LocalCluster
        cluster = LocalCluster(Auth("admin", "admin"), n_workers=1, n_masters=1, backend="compose")
        print(cluster.directory, flush=True)
        time.sleep(600)
    """
    words = [sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as client:
        directory = Path(client.stdout.readline().strip())
        assert directory.exists() and any("worker" in name for name in of_docker())
        client.kill()
    # It goes last; that nothing else is left, `nothing_is_left` sees.
    wait_until(lambda: not directory.exists(), "all is gone")


def test_a_network_that_docker_keeps_does_not_keep_the_rest(tmp_path, monkeypatch):
    def refuse(*words):
        raise ClusterError(f"`docker-compose {words[0]}` failed: network {network} has active endpoints")

    settings = [f"MAPREDUCE_{name}=unused\n" for name in ("ADMIN", "DIRECTORY", "IMAGE", "NET", "USER")]
    (tmp_path / "compose.env").write_text("".join(settings))
    cluster = Containers(tmp_path, temporary=False)
    network = f"{cluster._project}_cluster"
    docker("network", "create", network)
    monkeypatch.setattr(cluster, "_compose", lambda *words: refuse(*words) if words[0] == "down" else "")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    try:
        with pytest.warns(RuntimeWarning, match=f"Docker keeps the network {network}.*`docker network rm"):
            cluster.finish(shutdown=True, cleanup=True)
        assert list(tmp_path.iterdir()) == []
    finally:
        docker("network", "rm", network)


def test_what_can_not_work_is_said_at_once(auth, monkeypatch, tmp_path):
    with pytest.raises(InvalidArgumentError, match="storage out"):
        LocalCluster(auth, backend="compose", directory=tmp_path, storage="hdfs://here:1/x")
    with pytest.raises(InvalidArgumentError, match="backend must be 'processes' or 'compose'"):
        LocalCluster(auth, backend="kubernetes")
    with pytest.raises(AuthenticationError):
        LocalCluster(Auth("admin", "wrong"), backend="compose")
    with monkeypatch.context() as patch:
        patch.setenv("MAPREDUCE_BACKEND", "swarm")
        with pytest.raises(InvalidArgumentError, match="MAPREDUCE_BACKEND must be"):
            LocalCluster(auth)
    with monkeypatch.context() as patch:
        patch.setenv("MAPREDUCE_IMAGE", "no-such-image:1")
        with pytest.raises(ClusterError, match="no image no-such-image:1: .*make images"):
            LocalCluster(auth, backend="compose")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(ClusterError, match="docker is not on PATH"):
            LocalCluster(auth, backend="compose")
