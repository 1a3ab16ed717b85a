"""A full disk is a fault of the machine: jobs wait, say why, and go on when there is room. See ``full_disk.py``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from full_disk import SCENARIOS

# Mounts of its own need a user namespace, unless one is root.
UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


@pytest.fixture(scope="module", autouse=True)
def small_disks(tmp_path_factory):
    """Skips all of this where the kernel lets nobody mount disks, as in many containers."""
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(tmp_path_factory.mktemp("mount"))]
    done = subprocess.run([*UNSHARE, *mount], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"needs small disks: to be root with CAP_SYS_ADMIN, or user namespaces: {done.stderr.strip()}")


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
def test_a_job_on_a_disk_that_is_full_for_a_while(scenario, environment, tmp_path):
    command = [*UNSHARE, sys.executable, str(Path(__file__).with_name("full_disk.py")), scenario, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
