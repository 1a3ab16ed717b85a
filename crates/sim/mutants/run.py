"""Makes every deliberate mistake of mutants.toml in a copy of the sources, one at a time, and looks which test notices.

Prints a table in Markdown. Ends with an error if a mistake was noticed by nobody.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[3]
# Not optimised: it is built once more for every mistake.
CARGO = ["cargo", "--config", "profile.dev.package.mapreduce-sim.opt-level=0"]
SIMULATION = [*CARGO, "run", "--quiet", "--package", "mapreduce-sim", "--"]
TRIALS = {
    "kill points": [*SIMULATION, "kill-points"],
    "300 seeds": [*SIMULATION, "seeds", "300"],
    "tests": [
        "cargo",
        "test",
        "--quiet",
        "-p",
        "mapreduce-master",
        "-p",
        "mapreduce-worker",
        "-p",
        "mapreduce-executor",
    ],
    "tests of the stores": ["cargo", "test", "--quiet", "-p", "mapreduce-storage", "-p", "mapreduce-coordination"],
    "power cuts": ["make", "power-cuts"],
}
"""What is tried, in this order, until something notices."""
PATIENCE_S = 900


def main() -> None:
    """Reads the command line, and tries every mistake."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="those whose names hold this")
    only = parser.parse_args().only
    mutants = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text())["mutant"]
    for mutant in mutants:
        if (ROOT / mutant["file"]).read_text().count(mutant["old"]) != 1:
            sys.exit(f"{mutant['name']}: {mutant['file']} does not hold what is to be replaced once")
    unnoticed = []
    print("| mistake | noticed by | which says |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "sources"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
        for name, command in TRIALS.items():
            done = run(copy, command)
            if done is None or done.returncode != 0:
                sys.exit(f"{name} fails without a mistake, so it would notice nothing:\n{done and done.stdout}")
        for mutant in mutants:
            if only in mutant["name"]:
                by, what = notice(copy, mutant)
                print(f"| {mutant['name']} | {by} | {what} |", flush=True)
                unnoticed += [mutant["name"]] if by == "nobody" else []
    if unnoticed:
        sys.exit(f"{len(unnoticed)} noticed by nobody: {', '.join(unnoticed)}")


def notice(copy: Path, mutant: dict[str, str]) -> tuple[str, str]:
    """Who notices the mistake, and what is said of it."""
    path = copy / mutant["file"]
    right = path.read_text()
    path.write_text(right.replace(mutant["old"], mutant["new"]))
    try:
        built = run(copy, [*CARGO, "build", "--quiet", "--package", "mapreduce-sim"])
        if built is None or built.returncode != 0:
            sys.exit(f"{mutant['name']} does not compile:\n{built.stderr if built else 'it takes too long'}")
        for name, command in TRIALS.items():
            done = run(copy, command)
            if done is None:
                return name, "it does not end"
            if done.returncode != 0:
                return name, first_words(done.stdout + done.stderr)
    finally:
        path.write_text(right)
    return "nobody", ""


def run(copy: Path, command: list[str]) -> subprocess.CompletedProcess[str] | None:
    """None: it took too long."""
    try:
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return None


def first_words(output: str) -> str:
    """The violation that the simulation names most often, or the test that failed first."""
    violations = [re.sub(r"(?<![I\d])\d+", "N", said) for said in re.findall(r"violation: (.*)", output)]
    if violations:
        most = max(set(violations), key=violations.count)
        return most[:120].replace("|", "/")
    failed = re.search(
        r"test (\S+) \.\.\. FAILED|^    (\S+::\S+)$|thread '([^']+)' .*panicked|^E +(\w+Error.*)", output, re.MULTILINE
    )
    return next((group for group in failed.groups() if group), "") if failed else output.strip()[-120:]


if __name__ == "__main__":
    main()
