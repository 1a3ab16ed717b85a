"""Where the program `mapreduce` is: masters, workers and the command line."""

from __future__ import annotations

import os
import sys
import sysconfig

from mapreduce.errors import ClusterError


def find_program() -> str:
    """The program's path: beside this interpreter's scripts, in the user's scripts, or on PATH.

    Raises:
        ClusterError: It is in none of these places.
    """
    directories = [
        sysconfig.get_path("scripts"),
        os.path.dirname(sys.executable),
        sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")),
    ]
    for directory in directories:
        program = os.path.join(directory, "mapreduce")
        if os.access(program, os.X_OK):
            return program
    import shutil

    found = shutil.which("mapreduce")
    if found is None:
        raise ClusterError(
            f"the program mapreduce, which is installed with this package, is not in {' or '.join(directories)} "
            "nor on PATH: install the package again"
        )
    return found
