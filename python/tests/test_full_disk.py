"""A full disk is a fault of the machine: jobs wait, say why, and go on when there is room. See ``full_disk.py``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from full_disk import SCENARIOS


@pytest.mark.parametrize("scenario", [scenario.__name__ for scenario in SCENARIOS])
def test_a_job_on_a_disk_that_is_full_for_a_while(scenario, environment, tmp_path):
    # Mounts of its own need a user namespace, unless one is root.
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    command = [*unshare, sys.executable, str(Path(__file__).with_name("full_disk.py")), scenario, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
