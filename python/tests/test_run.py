"""``mapreduce run``: jobs of shell commands and of Python functions, from the command line."""

import os
import subprocess
import textwrap

import pytest
from helpers import reference

from mapreduce._program import find_program

LINES = ["to be or not to be", "that is the question", "", "é to\tbe"]
WORDS = r"""awk '{ for (i = 1; i <= NF; i++) print $i "\t" 1 }'"""
COUNT = r"""awk -F '\t' 'NR > 1 && $1 != last { print last "\t" n; n = 0 }
    { last = $1; n += $2 } END { print last "\t" n }'"""


def words(data):
    return [(word, 1) for line in data for word in line.split()]


EXPECTED = [f"{word}\t{n}" for word, n in reference(LINES, words, sum)]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(LINES) + "\n")
    return str(path)


@pytest.fixture
def run(environment, tmp_path):
    def run(*arguments):
        command = [find_program(), "run", *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_commands_are_a_job(run, text):
    done = run("--mapper", WORDS, "--reducer", COUNT, "--partitions", "1", "--input", text)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == EXPECTED


def test_commands_write_files(run, text, tmp_path):
    arguments = ["--mapper", WORDS, "--reducer", COUNT, "--input", text, "--output", "out", "--partitions", "2"]
    assert run(*arguments).returncode == 0
    parts = ["part-00000.txt", "part-00001.txt"]
    assert sorted(os.listdir(tmp_path / "out")) == ["_SUCCESS", *parts]
    assert sorted(line for part in parts for line in (tmp_path / "out" / part).read_text().splitlines()) == EXPECTED
    again = run(*arguments)
    assert again.returncode == 1
    assert "exists and is not empty" in again.stderr


def test_a_command_that_fails_is_told_with_what_it_said(run, text):
    done = run("--mapper", "echo too bad >&2; exit 3", "--reducer", "cat", "--input", text)
    assert done.returncode == 1
    assert "exit status: 3" in done.stderr
    assert "too bad" in done.stderr


def test_a_command_need_not_read_everything(run, text):
    done = run("--mapper", "head -n 1", "--reducer", "head -n 1", "--partitions", "1", "--input", text)
    assert (done.stdout, done.stderr) == ("to be or not to be\n", "")


def test_python_functions_are_a_job(run, text, tmp_path):
    (tmp_path / "job.py").write_text(
        textwrap.dedent(
            """
            import helper

            def words(data):
                return [(word, helper.one()) for line in data for word in line.split()]

            def count(values):
                return sum(values)
            """
        )
    )
    (tmp_path / "helper.py").write_text("def one():\n    return 1\n")
    done = run("job.py:words", "job.py:count", "--combine", "job.py:count", "--input", text)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == EXPECTED
    wrong = run("job.py:words", "job.py:absent", "--input", text)
    assert (wrong.returncode, wrong.stderr) == (1, "mapreduce: there is no function absent in job.py\n")


def test_what_is_missing_is_told(run, text):
    assert "--reducer" in run("--mapper", "cat", "--input", text).stderr
    assert "give --mapper and --reducer, or two functions" in run("--input", text).stderr
    missing = run("--mapper", "cat", "--reducer", "cat", "--input", "absent.txt")
    assert (missing.returncode, "absent.txt" in missing.stderr) == (1, True)
