"""A store is tried when a cluster is made in it, through whatever door, and refused if it does not keep the rules."""

import os
import subprocess

import pytest
from helpers import wait_until
from lookalike import lookalike

from mapreduce import Auth, ClusterError, LocalCluster, connect
from mapreduce._program import find_program


@pytest.fixture
def key(tmp_path):
    (tmp_path / "s3").write_text("someone:secret")
    return tmp_path / "s3"


def by_hand(role, coordination, storage, tmp_path):
    (tmp_path / "key").write_text(os.urandom(32).hex())
    stores = ["--coordination", coordination, "--storage", storage]
    return [find_program(), role, *stores, "--cluster-key-file", str(tmp_path / "key")]


def test_a_store_that_creates_what_is_there_holds_no_cluster(auth, environment, key, tmp_path):
    environment["MAPREDUCE_PASSWORD"] = "correct horse"
    with lookalike(creates_exclusively=False) as store:
        coordination, storage = f"sqlite://{tmp_path}/coordination", store.url("mr", key)
        stores = ["--coordination", coordination, "--storage", storage]
        doors = [
            by_hand("master", coordination, storage, tmp_path),
            by_hand("worker", coordination, storage, tmp_path),
            [find_program(), "cluster", "init", str(tmp_path / "machine"), *stores],
        ]
        told = []
        for door in doors:
            done = subprocess.run(door, env=environment, check=False, capture_output=True, text=True)
            assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done
            told.append(done.stderr)
        with pytest.raises(ClusterError) as raised:
            LocalCluster(auth, n_workers=2, n_masters=2, directory=tmp_path / "local", storage=storage)
        told.append(str(raised.value))
        for words in told:
            assert "s3://bucket/mr" in words and "was tried, and no cluster is made in it" in words, words
            assert "of 64 contenders were told that they created it" in words, words
            assert "secret" not in words
        assert store.created != []
        assert store.objects == {}
    assert not (tmp_path / "machine").exists()
    with pytest.raises(ClusterError, match="no cluster at"):
        connect(coordination, auth)


def test_a_store_is_tried_once_however_many_start(new_cluster, auth, key, tmp_path):
    with lookalike(creates_exclusively=True) as store:
        directory, storage = tmp_path / "local", store.url("mr", key)
        with LocalCluster(auth, n_workers=3, n_masters=3, directory=directory, storage=storage):
            assert list(store.objects) == ["/bucket/mr/cluster"]
        with LocalCluster(auth, n_workers=1, n_masters=2, directory=directory):
            pass
        assert len([path for path in store.created if path.startswith("/bucket/mr/probe/")]) == 1


def test_who_is_killed_while_it_tries_leaves_nothing(key, environment, monkeypatch, tmp_path):
    # Who connects has the key in its environment.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with lookalike(creates_exclusively=True) as store:
        coordination, storage = f"sqlite://{tmp_path}/coordination", store.url("mr", key)
        command = by_hand("master", coordination, storage, tmp_path)
        store.may_try.clear()
        first = subprocess.Popen(command, env=environment)
        wait_until(store.is_tried.is_set, "it tries the store")
        first.kill()
        first.wait()
        store.may_try.set()
        wait_until(lambda: store.objects, "what it has asked for is done")
        second = subprocess.Popen(command, env=environment)
        try:
            admin = Auth("admin", "admin")
            wait_until(lambda: answers(coordination, admin), "another master has begun")
            assert list(store.objects) == ["/bucket/mr/cluster"]
        finally:
            second.kill()
            second.wait()


def answers(url, auth):
    try:
        connect(url, auth).close()
    except ClusterError:
        return False
    return True
