"""The calibration experiment: its natures, its statistics, and a small run from end to end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments._calibration_fits import LEVELS, nature_config  # noqa: E402
from experiments._calibration_report import coverage, error_rates  # noqa: E402
from experiments.calibration import main  # noqa: E402
from lcm.base.files import read_json  # noqa: E402


def record(declared: int, false: int, true: int) -> dict[str, Any]:
    rows = [{"level": q, "declared": declared, "false": false, "true": true, "shd": false} for q in LEVELS]
    return {"edges": rows, "strengths": [{"truth": 0.5, "strength": 0.4, "low": 0.3, "high": 0.3 + 0.1 * declared}]}


def test_rates_are_means_over_natures_and_power_is_pooled() -> None:
    found = error_rates([record(4, 1, 6), record(0, 0, 2)], "edges")
    assert [row["level"] for row in found] == list(LEVELS)
    assert found[0]["fdr"] == pytest.approx(0.125) and found[0]["pooled"] == 0.25
    assert found[0]["power"] == pytest.approx(3 / 8) and found[0]["mean_shd"] == 0.5
    for key in ("fdr", "pooled", "power"):
        low, high = found[0][f"{key}_interval"]
        assert 0.0 <= low <= found[0][key] <= high <= 1.0


def test_coverage_is_the_share_of_intervals_that_hold_the_truth() -> None:
    found = coverage([record(3, 0, 3), record(1, 0, 1)])
    assert found["edges"] == 2 and found["coverage"] == 0.5 and found["median_width"] == pytest.approx(0.2)


def test_natures_are_of_every_kind_and_equal_for_equal_seeds() -> None:
    drawn = [nature_config("linear", seed) for seed in range(60)]
    assert {config.mechanism.kind for config, _ in drawn} == {"linear", "additive", "location-scale"}
    assert {config.noise.kind for config, _ in drawn} == {"normal", "laplace", "skewed"}
    assert {config.n for config, _ in drawn} == {3, 4} and {pairs for _, pairs in drawn} == {2_000, 5_000, 10_000}
    assert drawn[3] == nature_config("linear", 3)
    assert nature_config("nonlinear", 0)[0].decoder.kind == "flow"


def test_a_run_is_written_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--natures", "2", "--nonlinear", "1", "--steps", "3", "--out", str(tmp_path)]
    main(argv)
    said = capsys.readouterr().out
    assert "[linear 2/2]" in said and "False discoveries" in said
    content = read_json(tmp_path / "results.json")
    assert len(content["cells"]) == 3 and len(content["error_rates"]) == 2 * 2 * len(LEVELS)
    assert "| nonlinear | ancestors | 0.1 |" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "calibration.png").stat().st_size > 10_000
    for cell in content["cells"]:
        assert np.sum(cell["confidence"]["number"]) == 4_000
        assert np.sum(cell["reliability"]["number"]) == 4_000 * (cell["n"] + 1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    main([*argv, "--quiet"])
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    assert capsys.readouterr().out == ""
