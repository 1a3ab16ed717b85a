"""A client's own modules, where its files are not."""

import os
import subprocess
import sys

import pytest

from mapreduce import _modules

CLIENT = """
import sys
sys.path.insert(0, "own")
import plain, package, spaces.inner
import pytest
from mapreduce import _code
from mapreduce._inputs import MappedInput
{do}
"""


@pytest.fixture
def own(tmp_path):
    """Modules of a client, of every kind."""
    own = tmp_path / "own"
    files = {
        "plain.py": "import package.inner\nfrom spaces import inner\n"
        "def f(x): return package.inner.g(x) + inner.h(x)\n",
        "package/__init__.py": "from .inner import g\n",
        "package/inner.py": "def g(x):\n    from package import late\n    return late.add(x)\n",
        "package/late.py": "def add(x): return 1 // x\n",
        "package/broken.py": b"\xff\xfe = \n",
        "spaces/inner.py": "# coding: latin-1\nNAME = 'caf\xe9'\ndef h(x): return len(NAME)\n".encode("latin-1"),
    }
    for name, text in files.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return own


def python(directory, script):
    return subprocess.run([sys.executable, "-c", script], cwd=directory, check=False, capture_output=True, text=True)


def dump(own, code, elsewhere):
    do = f"""
import inspect
inputs = [MappedInput([], plain.f, False)]
open({str(code)!r}, "wb").write(_code.dump(inputs, plain.f, elsewhere={elsewhere})[0])
"""
    done = python(own.parent, CLIENT.format(do=do))
    assert done.returncode == 0, done.stderr


LOAD = """
import traceback
from mapreduce import _code
function = _code.load(open({code!r}, "rb").read(), None).reduce
print(function(1))
try:
    function(0)
except ZeroDivisionError:
    traceback.print_exc()
"""


def test_a_job_for_elsewhere_brings_the_modules_that_nobody_installed(own, tmp_path):
    code = tmp_path / "code"
    dump(own, code, elsewhere=True)
    os.rename(own, tmp_path / "gone")
    done = python(tmp_path, LOAD.format(code=str(code)))
    assert done.stdout == "5\n"
    # The traceback shows the client's file, and its line.
    assert f'File "{own}/package/late.py", line 1, in add' in done.stderr
    assert "return 1 // x" in done.stderr


def test_a_job_for_this_machine_finds_its_modules_by_the_path(own, tmp_path):
    code = tmp_path / "code"
    dump(own, code, elsewhere=False)
    assert python(tmp_path, LOAD.format(code=str(code))).stdout == "5\n"
    os.rename(own, tmp_path / "gone")
    assert "No module named" in python(tmp_path, LOAD.format(code=str(code))).stderr


def test_nothing_that_is_installed_travels():
    names = _modules.collect()
    assert __name__ in names
    assert not [name for name in names if name.partition(".")[0] in ("json", "pytest", "mapreduce", "__main__")]
