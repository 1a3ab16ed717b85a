"""Fixtures: a home of their own for the tests, clusters, and the check that nothing is left behind."""

import os
import sys
import tempfile

import pytest
from helpers import EXAMPLES, processes_of, wait_until

from mapreduce import Auth, LocalCluster

sys.path.insert(0, str(EXAMPLES))


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """Users and temporary files of the whole test run live here; at its end no process may, and no file."""
    home = tmp_path_factory.mktemp("home")
    temporary = tmp_path_factory.mktemp("tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAPREDUCE_HOME", str(home))
        patch.setenv("TMPDIR", str(temporary))
        patch.setattr(tempfile, "tempdir", None)
        yield home
        wait_until(lambda: not processes_of(home), "no process of the tests is left")
        assert [path.name for path in temporary.iterdir() if "mapreduce" in path.name] == []


@pytest.fixture(scope="session")
def auth(home):
    return Auth("admin", "admin")


@pytest.fixture(scope="module")
def cluster(auth):
    """One cluster a test module, for tests that harm nobody."""
    with LocalCluster(auth=auth, n_workers=3, n_masters=2) as cluster:
        yield cluster


@pytest.fixture
def new_cluster(auth):
    """Makes clusters for one test alone, and shuts them down after it."""
    clusters = []

    def make(**options):
        cluster = LocalCluster(auth=auth, **{"n_workers": 2, "n_masters": 1, **options})
        clusters.append(cluster)
        return cluster

    yield make
    for cluster in clusters:
        cluster.shutdown_cluster(cleanup=True)


@pytest.fixture
def environment(home):
    """For subprocesses: the home of the tests."""
    return dict(os.environ)
