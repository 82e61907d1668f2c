"""The experiment that compares methods of graph discovery runs at a tiny size, and does nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_experiments import TINY, reproduce, results

import lcm.peer.search
import lcm.run.runs

pytestmark = pytest.mark.usefixtures("cheap_scores")


def test_discovery_has_a_row_for_every_method_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["--n", "3", "--data-seeds", "2", "--representations", "truth", "dvae", "--methods", "tests", "dependence"]
    argv = [*TINY, *chosen, "--out", str(tmp_path)]
    reproduce("discovery", *argv)
    content = results(tmp_path)
    assert [row["method"] for row in content["summary"]] == ["tests", "dependence"]
    assert all(row["cells"] == 2 and row["shd_truth"]["max"] <= 2 for row in content["summary"])
    assert all(row["shd_dvae"] is not None for row in content["summary"])

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a finished cell was run again")

    monkeypatch.setattr(lcm.run.runs, "fit_run", refuse)
    monkeypatch.setattr(lcm.peer.search, "discover", refuse)
    reproduce("discovery", *argv)
    assert results(tmp_path) == content
    with pytest.raises(
        ValueError, match=r"Expected the data and settings of the cell .*; got others\. Choose another --out"
    ):
        reproduce("discovery", *argv, "--steps", "5")
