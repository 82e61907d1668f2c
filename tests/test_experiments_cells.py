"""Cells are computed once, and a record of other settings is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments._cells import run_once


def test_a_cell_is_computed_once_and_read_afterwards(tmp_path: Path) -> None:
    calls = []

    def compute() -> dict[str, float]:
        calls.append(1)
        return {"score": 0.5}

    path = tmp_path / "cells" / "one.json"
    first = run_once(path, {"seed": 1, "sizes": [1, 2]}, compute)
    assert first == {"seed": 1, "sizes": [1, 2], "score": 0.5}
    assert run_once(path, {"seed": 1, "sizes": [1, 2]}, compute) == first
    assert len(calls) == 1


def test_a_record_of_other_settings_is_an_error(tmp_path: Path) -> None:
    run_once(tmp_path / "one.json", {"seed": 1}, dict)
    with pytest.raises(ValueError, match=r"one\.json: Expected seed = 2; got 1\. Choose another --out"):
        run_once(tmp_path / "one.json", {"seed": 2}, dict)
    with pytest.raises(ValueError, match="Expected steps = 5; got None"):
        run_once(tmp_path / "one.json", {"seed": 1, "steps": 5}, dict)


def test_nothing_is_left_of_a_cell_that_failed(tmp_path: Path) -> None:
    def fail() -> dict[str, float]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run_once(tmp_path / "one.json", {}, fail)
    assert not any(tmp_path.iterdir())
