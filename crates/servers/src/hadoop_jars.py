"""Puts the server jars of Apache Hadoop 2.7.3 into a directory, which is the argument.

PyPI has them: pyspark 2.4.8 brings them along. Nothing is installed outside of temporary directories.
"""

import fcntl
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

# What it has beside Hadoop and what Hadoop needs.
OTHERS = re.compile(
    "spark-|scala|mesos|hive|datanucleus|kubernetes|breeze|spire|parquet|arrow|orc-|derby|calcite|janino"
)


def main(directory: Path) -> None:
    """Makes `directory` if it is not there, whole or not at all. Of many at once one does, and the others wait."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not directory.exists():
            fetch(directory)


def fetch(directory: Path) -> None:
    """Has PyPI's package built, and takes from it what is needed."""
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        environment, wheels, jars = (Path(scratch) / name for name in ("venv", "wheels", "jars"))
        venv.create(environment, with_pip=True)
        pip = [environment / "bin/python", "-m", "pip", "-q", "--disable-pip-version-check"]
        # Its build needs a setuptools of its time.
        subprocess.run([*pip, "install", "wheel", "setuptools<70"], check=True)
        wheel = ["wheel", "--no-deps", "--no-build-isolation", "pyspark==2.4.8", "-w", wheels]
        subprocess.run([*pip, *wheel], check=True)
        jars.mkdir()
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as archive:
            for name in archive.namelist():
                jar = Path(name)
                if jar.suffix == ".jar" and jar.parent.name == "jars" and not OTHERS.match(jar.name):
                    (jars / jar.name).write_bytes(archive.read(name))
        jars.rename(directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
