"""The deliberate mistakes of `make mutants` can still be made. Whether they are noticed takes it hours to see."""

from __future__ import annotations

from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="Python reads TOML from 3.11 on")

ROOT = Path(__file__).resolve().parents[2]


def test_what_each_mistake_replaces_stands_in_its_file_once() -> None:
    mutants = tomllib.loads((ROOT / "crates/sim/mutants/mutants.toml").read_text())["mutant"]
    wrong = [m["name"] for m in mutants if (ROOT / m["file"]).read_text().count(m["old"]) != 1]
    assert len(mutants) >= 25
    assert wrong == []
    assert len({m["name"] for m in mutants}) == len(mutants)
