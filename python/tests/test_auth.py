"""Users, what they may do, and where credentials must not be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mapreduce
from mapreduce import Auth, LocalCluster
from mapreduce._program import find_program


@pytest.fixture
def own_users(tmp_path, monkeypatch):
    """A new store of users, for this test alone."""
    monkeypatch.setenv("MAPREDUCE_HOME", str(tmp_path / "home"))
    return Auth("admin", "admin")


def test_the_default_admin(own_users):
    assert own_users.is_authenticated()
    assert own_users.role == "admin"
    with pytest.raises(mapreduce.PermissionDeniedError, match="admin"):
        own_users.delete_user("admin")
    assert own_users.is_authenticated()


def test_users_come_and_go(own_users):
    own_users.create_user("ada", "secret")
    ada = Auth("ada", "secret")
    assert ada.is_authenticated()
    assert ada.role == "user"
    assert not Auth("ada", "Secret").is_authenticated()
    with pytest.raises(mapreduce.InvalidArgumentError, match="ada"):
        own_users.create_user("ada", "another")
    own_users.delete_user("ada")
    assert not ada.is_authenticated()
    with pytest.raises(mapreduce.InvalidArgumentError, match="ada"):
        own_users.delete_user("ada")


def test_only_admins_manage_users(own_users):
    own_users.create_user("ada", "secret")
    ada = Auth("ada", "secret")
    for action in (lambda: ada.create_user("bob", "x"), lambda: ada.delete_user("ada")):
        with pytest.raises(mapreduce.PermissionDeniedError, match="admin"):
            action()
    own_users.create_user("grace", "secret", role="admin")
    Auth("grace", "secret").delete_user("ada")
    assert not ada.is_authenticated()
    with pytest.raises(mapreduce.PermissionDeniedError):
        Auth("grace", "secret").delete_user("admin")


def test_an_unknown_manager_manages_nothing(own_users):
    for stranger in (Auth("nobody", "x"), Auth("admin", "wrong")):
        with pytest.raises(mapreduce.AuthenticationError):
            stranger.create_user("bob", "x", role="admin")
    assert not Auth("bob", "x").is_authenticated()


@pytest.mark.parametrize("arguments", [("", "x"), ("bob", ""), (None, "x"), ("bob", 5)])
def test_bad_names_and_passwords(own_users, arguments):
    with pytest.raises(mapreduce.InvalidArgumentError):
        own_users.create_user(*arguments)
    with pytest.raises(mapreduce.InvalidArgumentError):
        Auth(*arguments)


def test_an_unknown_role(own_users):
    with pytest.raises(mapreduce.InvalidArgumentError, match="role"):
        own_users.create_user("bob", "x", role="root")


def test_passwords_are_kept_as_argon2id_and_shown_nowhere(own_users, tmp_path):
    own_users.create_user("ada", "correct horse")
    stored = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert b"argon2id" in stored
    assert b"correct horse" not in stored
    assert "correct horse" not in repr(Auth("ada", "correct horse"))


def test_masters_check_users_themselves_on_every_call(own_users):
    """A user who is deleted is refused by a cluster that let them in before."""
    own_users.create_user("ada", "secret")
    with LocalCluster(Auth("ada", "secret"), n_workers=1, n_masters=1) as cluster:
        assert cluster.mapreduce([1], lambda data: [(1, 1)], sum).result() == [(1, 1)]
        own_users.delete_user("ada")
        with pytest.raises(mapreduce.AuthenticationError, match="ada"):
            cluster.mapreduce([1], lambda data: [(1, 1)], sum)
        with pytest.raises(mapreduce.AuthenticationError):
            cluster.clear()
        own_users.create_user("ada", "another")
        with pytest.raises(mapreduce.AuthenticationError):
            cluster.clear()


def test_executors_have_no_credentials(own_users):
    """Nothing that user code can find in its own process, or in its command line, lets it log in anywhere."""
    own_users.create_user("ada", "correct horse")

    def map_func(data):
        for name in ("environ", "cmdline"):
            yield name, Path(f"/proc/self/{name}").read_bytes()
        yield "os.environ", repr(dict(os.environ)).encode()
        yield "sys.argv", repr(sys.argv).encode()
        for descriptor in os.listdir("/proc/self/fd"):
            if os.path.exists(f"/proc/self/fd/{descriptor}"):
                yield "files", os.readlink(f"/proc/self/fd/{descriptor}").encode()

    with LocalCluster(Auth("ada", "correct horse"), n_workers=1, n_masters=1) as cluster:
        key = (cluster.directory / "cluster.key").read_bytes().strip()
        found = dict(cluster.mapreduce([1], map_func, b"\n".join).result())
    assert set(found) >= {"environ", "cmdline", "files"}
    for text in found.values():
        assert b"correct horse" not in text
        assert key not in text
        assert b"cluster.key" not in text and b"coordination.db" not in text


def test_a_cluster_keeps_its_state_to_its_owner(cluster):
    assert cluster.directory.stat().st_mode & 0o077 == 0
    assert (cluster.directory / "cluster.key").stat().st_mode & 0o077 == 0


def test_command_lines_and_environments_of_processes_hold_no_secrets(own_users):
    own_users.create_user("ada", "correct horse")
    with LocalCluster(Auth("ada", "correct horse"), n_workers=1, n_masters=1) as cluster:
        key = (cluster.directory / "cluster.key").read_bytes().strip()
        state = cluster.local_monitoring.state()
        for process in state.masters + state.workers:
            for name in ("cmdline", "environ"):
                text = Path(f"/proc/{process.pid}/{name}").read_bytes()
                assert b"correct horse" not in text
                assert key not in text


def test_a_local_cluster_stays_on_loopback(own_users, environment, tmp_path):
    environment["MAPREDUCE_HOME"] = os.environ["MAPREDUCE_HOME"]
    own_users.change_password("correct horse")
    with LocalCluster(own_users, n_workers=0, n_masters=1, directory=tmp_path / "cluster") as cluster:
        command = [find_program(), "master", "--directory", str(cluster.directory), "--listen", "0.0.0.0:0"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode != 0
        assert "without a certificate" in done.stderr and "0.0.0.0" in done.stderr
        assert cluster.local_monitoring.get_registered_masters()[1] == 1
