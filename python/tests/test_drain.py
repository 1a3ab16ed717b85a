"""Masters and workers that are told to go: what they leave undone goes on at once, and none of it has failed.

Coordination is a real ZooKeeper, where a process that dies is missed when its lease has run out. That is an hour here:
a test in which anything waits for it does not end.
"""

import signal
import sys

import pytest
import servers
from by_hand import ByHand
from helpers import job_of, living_owner, outcomes, wait_until

from mapreduce import Auth, ClusterError, connect

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with servers.zookeeper(tmp_path_factory.mktemp("zookeeper"), longest_lease_ms=HOUR_MS) as server:
        yield server


class Scene:
    """A cluster without masters and workers to begin with, and a job whose tasks wait at a gate."""

    def __init__(self, by_hand, place, url):
        self.gate, self.begun = place / "gate", place / "begun"
        self.begun.mkdir()
        (place / "key").write_text("a secret")
        self.by_hand, self.url = by_hand, url
        stores = [f"--coordination={url}", f"--storage=file://{place}/storage", f"--cluster-key-file={place}/key"]
        self.options = [*stores, f"--lease-ms={HOUR_MS}"]

    def master(self):
        return self.by_hand.start("master", *self.options)

    def worker(self, grace_ms):
        return self.by_hand.start("worker", *self.options, f"--python={sys.executable}", f"--grace-ms={grace_ms}")

    def client(self):
        def there():
            try:
                return connect(self.url, Auth("admin", "admin", users=self.url))
            except ClusterError:
                return None

        return wait_until(there, "a master serves")

    def submit(self, cluster, n_tasks, at_the_gate):
        """A job, some of whose tasks wait at the gate. It is over when one attempt has failed."""
        gate, begun = self.gate, self.begun

        def map_func(data):
            import time

            for number in data:
                (begun / str(number)).touch()
                while number in at_the_gate and not gate.exists():
                    time.sleep(0.005)
                yield number, 1

        return cluster.mapreduce(range(n_tasks), map_func, sum, split_records=1, n_partitions=1, max_attempts=1)

    def until_begun(self, n):
        wait_until(lambda: len(list(self.begun.iterdir())) == n, f"{n} tasks run")


@pytest.fixture
def scene(server, tmp_path, environment):
    with ByHand(tmp_path, environment) as by_hand:
        yield Scene(by_hand, tmp_path, f"zookeeper://{server}/{tmp_path.name}")


def history(cluster, future):
    return cluster.local_monitoring.history(future.job_id)


def workers_left(cluster):
    return cluster.local_monitoring.get_registered_workers()[1]


@pytest.mark.parametrize("how", ["the grace is over", "it is told again"])
def test_a_task_that_is_cut_off_runs_elsewhere_at_once_and_has_not_failed(scene, how):
    scene.master()
    with scene.client() as cluster:
        first = scene.worker(grace_ms=100 if how == "the grace is over" else HOUR_MS)
        future = scene.submit(cluster, n_tasks=1, at_the_gate=[0])
        scene.until_begun(1)
        first.tell_to_go()
        if how == "it is told again":
            assert (first.popen.poll(), outcomes(cluster, future)) == (None, ["running"])
            first.tell_to_go(by=signal.SIGINT)
        first.check_goes()
        assert workers_left(cluster) == 0
        scene.worker(grace_ms=0)
        wait_until(lambda: outcomes(cluster, future) == ["stopped", "running"], "it runs elsewhere")
        scene.gate.touch()
        assert future.result() == [(0, 1)]
        assert outcomes(cluster, future) == ["stopped", "committed", "committed"]
        assert job_of(cluster, future.job_id).n_failures == 0


def test_what_runs_may_finish_and_what_waits_behind_it_is_handed_back_at_once(scene):
    scene.master()
    with scene.client() as cluster:
        first = scene.worker(grace_ms=HOUR_MS)
        future = scene.submit(cluster, n_tasks=3, at_the_gate=[0, 2])
        scene.until_begun(1)
        wait_until(lambda: outcomes(cluster, future) == ["running"] * 2, "the second task waits behind the first")
        first.tell_to_go()
        scene.worker(grace_ms=HOUR_MS)
        # Were it not waiting to be launched, the third would be.
        wait_until(lambda: future.progress().map_done == 1, "the second task runs elsewhere")
        assert first.popen.poll() is None, "it still runs the first"
        scene.gate.touch()
        first.check_goes()
        assert future.result() == [(number, 1) for number in range(3)]
        attempts = history(cluster, future)
        on_first = {a.task: a.outcome for a in attempts if a.worker == attempts[0].worker}
        assert on_first == {"map/0": "committed", "map/1": "stopped"}
        assert sorted(a.task for a in attempts if a.outcome != "committed") == ["map/1"]
        assert job_of(cluster, future.job_id).n_failures == 0


def test_a_master_that_goes_gives_its_jobs_up_at_once(scene):
    masters = {master.popen.pid: master for master in (scene.master(), scene.master())}
    with scene.client() as cluster:
        wait_until(lambda: len(cluster.local_monitoring.state().masters) == 2, "both masters serve")
        scene.worker(grace_ms=0)
        future = scene.submit(cluster, n_tasks=6, at_the_gate=[0])
        scene.until_begun(1)
        (first,) = wait_until(lambda: living_owner(cluster, future.job_id), "a master owns the job")
        (pid,) = (master.pid for master in cluster.local_monitoring.state().masters if master.id == first)
        masters[pid].popen.terminate()
        masters[pid].check_goes()
        wait_until(lambda: living_owner(cluster, future.job_id) not in ([], [first]), "another one owns it")
        scene.gate.touch()
        assert future.result() == [(number, 1) for number in range(6)]
        attempts = history(cluster, future)
        assert {a.outcome for a in attempts} == {"committed"}, "what ran was adopted"
        assert len({a.task for a in attempts}) == len(attempts) == 7


def test_who_has_nothing_to_do_goes_at_once(scene):
    master = scene.master()
    with scene.client() as cluster:
        worker = scene.worker(grace_ms=HOUR_MS)
        wait_until(lambda: workers_left(cluster) == 1, "the worker has begun")
        worker.tell_to_go()
        worker.check_goes()
        assert workers_left(cluster) == 0
    master.popen.send_signal(signal.SIGINT)
    master.check_goes()
