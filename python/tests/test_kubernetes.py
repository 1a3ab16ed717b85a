"""The manifests in deploy/kubernetes: each object is one that Kubernetes takes, and what containers run is run here, in
directories that are laid out as a kubelet lays out volumes. No Kubernetes is needed, and none is tested.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import servers
import yaml
from by_hand import ByHand
from helpers import wait_until

from mapreduce import Auth, ClusterError, connect
from mapreduce._program import find_program

MANIFESTS = Path(__file__).parents[2] / "deploy" / "kubernetes"
DIRECTORIES = ["base", "init", "example", "example/init"]
PASSWORD = "correct horse"


def rendered(name):
    """The objects of a directory, as `kubectl apply --kustomize` would send them."""
    assert shutil.which("kubectl"), "these tests need kubectl 1.21 or later, such as Debian 13's kubernetes-client"
    done = subprocess.run(["kubectl", "kustomize", MANIFESTS / name], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stderr}\nis kubectl older than 1.21?"
    return list(yaml.safe_load_all(done.stdout))


def check(thing):
    kubernetes_validate.validate(thing, kubernetes_validate.latest_version(), strict=True)


def templates(name):
    """What pods are made from, by the name of the object that makes them."""
    things = (thing for thing in rendered(name) if "template" in thing.get("spec", {}))
    return {thing["metadata"]["name"]: thing["spec"]["template"] for thing in things}


def containers(pod):
    return [*pod.get("initContainers", []), *pod["containers"]]


def secret_of(pod, name):
    (volume,) = (volume for volume in pod["volumes"] if volume["name"] == name)
    return volume["secret"]


@pytest.mark.parametrize("name", DIRECTORIES)
def test_kubernetes_takes_every_object(name):
    things = rendered(name)
    for thing in things:
        check(thing)
    things[-1]["spec"]["nonsense"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="nonsense"):
        check(things[-1])


@pytest.mark.parametrize("name", DIRECTORIES)
def test_objects_refer_to_each_other(name):
    things = rendered(name)
    for thing in things:
        if "matchLabels" in thing.get("spec", {}).get("selector", {}):
            wanted = thing["spec"]["selector"]["matchLabels"].items()
            labels = [template["metadata"]["labels"].items() for template in templates(name).values()]
            assert sum(wanted <= has for has in labels) == 1, f"{thing['metadata']['name']} selects one kind of pod"
    for template in templates(name).values():
        pod = template["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        mounted = {mount["name"] for container in containers(pod) for mount in container["volumeMounts"]}
        assert mounted == volumes


@pytest.mark.parametrize("name", DIRECTORIES)
def test_pods_are_allowed_what_they_need_and_no_more(name):
    """The profile "restricted" of the Pod Security Standards, no token for the API, and a root file system to read."""
    for template in templates(name).values():
        pod = template["spec"]
        assert not pod["automountServiceAccountToken"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_only_masters_get_the_key_that_makes_masters():
    pods = {name: template["spec"] for name, template in templates("base").items()}
    assert "items" not in secret_of(pods["mapreduce-masters"], "directory")
    for_workers = {item["key"] for item in secret_of(pods["mapreduce-workers"], "directory")["items"]}
    assert for_workers == {"stores.json", "cluster.key", "ca.pem", "coordination.auth"}


def test_the_example_is_the_base_with_values_of_its_own():
    deployments = [thing for thing in rendered("example") if thing["kind"] == "Deployment"]
    replicas = {thing["metadata"]["name"]: thing["spec"]["replicas"] for thing in deployments}
    assert replicas == {"mapreduce-masters": 3, "mapreduce-workers": 20}
    for name in ("example", "example/init"):
        assert {thing["metadata"]["namespace"] for thing in rendered(name)} == {"mapreduce"}
        images = {c["image"] for template in templates(name).values() for c in containers(template["spec"])}
        assert images == {"example.org/mapreduce:0.1.0"}


@pytest.mark.parametrize("name", ["base", "example"])
def test_a_pod_has_longer_to_go_than_its_tasks(name):
    """By the time that a worker takes at most to hand back what has not finished: see FAREWELL in its source."""
    pod = templates(name)["mapreduce-workers"]["spec"]
    (container,) = pod["containers"]
    (grace,) = (word for word in words_of(container, {}, {}) if word.startswith("--grace-ms="))
    assert pod["terminationGracePeriodSeconds"] * 1000 >= int(grace.partition("=")[2]) + 2 * 2000


def words_of(container, given, places):
    """The command line that a kubelet makes of a container: with `given` values for what others decide, and
    with `places` on this machine for those in the container.
    """
    values = {}
    for variable in container.get("env", []):
        source = variable.get("valueFrom", {})
        values[variable["name"]] = variable.get("value") or given[next(iter(source.values())).get("key", "podIP")]
    words = [*container.get("command", []), *container.get("args", [])]
    for name, value in values.items():
        words = [word.replace(f"$({name})", value) for word in words]
    for place in sorted(places, key=len, reverse=True):
        words = [word.replace(place, str(places[place])) for word in words]
    assert not [word for word in words if "$(" in word]
    return words


def mount(files, place, secret):
    """Lays out a Secret as a kubelet does: what is seen are links to the newest version."""
    version = place / "..2026_11_27_02_36_00.1"
    version.mkdir(parents=True)
    items = secret.get("items") or [{"key": path.name, "path": path.name} for path in files.iterdir()]
    for item in items:
        path = version / item["path"]
        shutil.copyfile(files / item["key"], path)
        path.chmod(secret["defaultMode"])
        (place / item["path"]).symlink_to(Path("..data") / item["path"])
    (place / "..data").symlink_to(version.name)
    return place


def tree(place):
    return sorted((str(path), path.lstat().st_mtime_ns) for path in place.rglob("*"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with servers.zookeeper(tmp_path_factory.mktemp("zookeeper")) as server:
        yield server


def make_cluster(place, given, environment):
    """Runs what the Job of the example runs; gives the directory that it made, as somebody fetched it."""
    pod = templates("example/init")["mapreduce-init"]["spec"]
    (init,) = pod["initContainers"]
    (place / "login").mkdir()
    (place / "login" / "auth").write_text("ada:secret")
    login = mount(place / "login", place / "mounted-login", secret_of(pod, "login"))
    places = {"/etc/mapreduce-login": login, "/cluster": place / "memory"}
    words = [find_program(), *words_of(init, given, places)]
    subprocess.run(words, env={**environment, "MAPREDUCE_PASSWORD": given["password"]}, check=True)
    shutil.rmtree(login)
    shutil.move(place / "memory" / "directory", place / "fetched")
    return place / "fetched"


@pytest.mark.parametrize("name", ["base", "example"])
def test_a_cluster_runs_by_the_command_lines_and_volumes_of_the_pods(name, server, tmp_path, environment):
    coordination = f"zookeeper://{server}/{tmp_path.name}"
    given = {
        "coordination": coordination,
        "storage": f"file://{tmp_path}/storage",
        "password": PASSWORD,
        "podIP": "127.0.0.1",
    }
    fetched = make_cluster(tmp_path, given, environment)
    pods = {role: templates(name)[f"mapreduce-{role}s"]["spec"] for role in ("master", "worker")}
    mounted = {role: mount(fetched, tmp_path / role, secret_of(pod, "directory")) for role, pod in pods.items()}
    shutil.rmtree(fetched)
    before = {role: tree(place) for role, place in mounted.items()}
    with ByHand(tmp_path, environment) as by_hand:

        def run(role):
            (container,) = pods[role]["containers"]
            # Others listen on this machine, and its Python is elsewhere; what is not read-only is the test's own.
            places = {"/etc/mapreduce": mounted[role], ":7070": ":0", "/usr/local/bin/python": sys.executable}
            words = words_of(container, given, places)
            return by_hand.start(words[0], *(word for word in words[1:] if not word.startswith("--scratch=")))

        running = [run("master"), run("worker")]
        url = f"{coordination}?auth={mounted['worker']}/coordination.auth"
        with wait_until(lambda: connected(url), "the master serves") as cluster:
            counted = cluster.mapreduce(range(9), lambda data: [(number % 3, 1) for number in data], sum).result()
            assert sorted(counted) == [(0, 3), (1, 3), (2, 3)]
            (master,) = cluster.local_monitoring.state().masters
        (container,) = pods["master"]["containers"]
        probe = container["readinessProbe"]["exec"]["command"]
        assert probe[0] == "mapreduce"
        places = {"/etc/mapreduce": mounted["master"], "127.0.0.1:7070": master.address}
        probe = [find_program(), *words_of({"command": probe[1:]}, {}, places)]
        assert subprocess.run(probe, env=environment, check=False).returncode == 0
        for process in reversed(running):
            process.popen.terminate()
            process.check_goes()
        assert subprocess.run(probe, env=environment, check=False, stderr=subprocess.DEVNULL).returncode == 1
    assert {role: tree(place) for role, place in mounted.items()} == before, "nothing is written beside the Secret"


def connected(url):
    try:
        return connect(url, Auth("admin", PASSWORD, users=url))
    except ClusterError:
        return None
