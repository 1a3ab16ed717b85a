"""What is finished survives power cuts on a real file system. See ``power_cuts.py``."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import seeds

SCRIPT = Path(__file__).with_name("power_cuts.py")


@pytest.fixture(scope="module", autouse=True)
def file_systems(tmp_path_factory):
    """Skips all of this where nobody may mount a file, as in many containers; only root may."""
    image, place = (tmp_path_factory.mktemp("mount") / name for name in ("image", "disk"))
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    make = f"mkfs.ext4 -q {image} && mount -o loop {image} {place}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", make], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"needs file systems in files: to be root, mkfs.ext4 and loop devices: {done.stderr.strip()}")


@pytest.mark.parametrize("seed", seeds(3))
def test_a_job_on_a_machine_that_loses_its_power(seed, environment, tmp_path):
    print(f"MAPREDUCE_SEED={seed}")
    command = ["unshare", "--mount", sys.executable, str(SCRIPT), str(tmp_path), str(seed)]
    # A home of its own: who is killed leaves an entry there.
    own = environment | {"MAPREDUCE_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stdout + done.stderr
