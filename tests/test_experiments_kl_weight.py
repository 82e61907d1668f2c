"""The experiment on the two divergences of ilcm-vae runs at a tiny size, measures both, and does nothing twice."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from test_experiments import TINY, reproduce, results

import lcm.data.encode
import lcm.run.runs

pytestmark = pytest.mark.usefixtures("cheap_scores")


def test_both_divergences_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = [*TINY, "--model-seeds", "1", "--data-seeds", "1", "--out", str(tmp_path)]
    reproduce("kl_weight", *argv)
    content = results(tmp_path)
    assert [row["divergence"] for row in content["summary"]] == ["correct", "published"]
    assert content["settings"]["steps"] == "4"
    cells = content["cells"]
    assert [cell["divergence"] for cell in cells] == ["correct", "published"]
    assert all(0.0 <= cell["entropy"] <= math.log(5) and math.isfinite(cell["bound"]) for cell in cells)
    assert cells[0]["config_sha256"] != cells[1]["config_sha256"]
    assert cells[0]["data_sha256"] == cells[1]["data_sha256"]

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a finished cell was run again")

    monkeypatch.setattr(lcm.run.runs, "fit_run", refuse)
    monkeypatch.setattr(lcm.data.encode, "encode_pairs", refuse)
    reproduce("kl_weight", *argv)
    assert results(tmp_path) == content
