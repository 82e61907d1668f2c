"""The experiment on false discoveries: its natures, its statistics, and a small run from end to end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments._false_discoveries_fits import DENSITIES, LEVELS, PAIRS, nature_config  # noqa: E402
from experiments._false_discoveries_report import null_rows, rate_rows  # noqa: E402
from experiments.false_discoveries import main  # noqa: E402
from lcm.base.files import read_json  # noqa: E402
from lcm.readout import dependence  # noqa: E402


def record(declared: int, false: int, true: int, pairs: int, null: list[float]) -> dict[str, Any]:
    rows = [{"level": q, "declared": declared, "false": false, "true": true} for q in LEVELS]
    return {"kind": "linear", "pairs": pairs, "density": 0.5, "rules": {"graph": rows}, "null": {"graph": {"a": null}}}


def test_rates_are_means_over_natures_in_every_group() -> None:
    found = rate_rows([record(4, 1, 6, 1_000, []), record(0, 0, 2, 1_000, []), record(2, 2, 0, 5_000, [])])
    by = {(row["by"], row["value"], row["level"]): row for row in found}
    assert by["all", "", 0.05]["fdr"] == pytest.approx((0.25 + 1.0) / 3)
    assert by["pairs", 1_000, 0.1]["fdr"] == pytest.approx(0.125) and by["pairs", 1_000, 0.1]["power"] == 3 / 8
    assert by["pairs", 5_000, 0.05]["fdr"] == 1.0 and by["density", 0.5, 0.05]["natures"] == 3
    # three edges are missed and one is false; two are missed
    assert by["pairs", 1_000, 0.05]["mean_shd"] == pytest.approx(0.5 * (4 + 2))


def test_null_p_values_are_counted_against_uniform_ones() -> None:
    spread = (np.arange(1_000) + 0.5) / 1_000
    rows = null_rows([record(0, 0, 0, 1_000, spread.tolist()), record(0, 0, 0, 5_000, [])])
    whole, first, second = rows
    assert whole["number"] == 1_000 and whole["0.05"] == pytest.approx(1.0) and first["0.01"] == pytest.approx(1.0)
    assert second["number"] == 0 and second["0.1"] is None


def test_natures_are_of_every_kind_and_equal_for_equal_seeds() -> None:
    drawn = [nature_config("linear", seed) for seed in range(120)]
    assert {config.n for config, _, _ in drawn} == set(range(2, 9)) and {pairs for _, pairs, _ in drawn} == set(PAIRS)
    assert {density for _, _, density in drawn} == set(DENSITIES)
    assert {config.mechanism.kind for config, _, _ in drawn} == {"linear"}
    curved = [nature_config("curved", seed)[0] for seed in range(40)]
    assert {config.mechanism.kind for config in curved} == {"additive", "location-scale"}
    assert drawn[3] == nature_config("linear", 3)


def test_a_run_is_written_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--natures", "2", "--curved", "1", "--steps", "3", "--first", "10", "--out", str(tmp_path)]
    main(argv)
    said = capsys.readouterr().out
    assert "[linear 2/2]" in said and "False discoveries" in said
    # the share that counts as none is changed for one fit alone
    assert dependence.NEGLIGIBLE == 0.02
    content = read_json(tmp_path / "results.json")
    assert [cell["seed"] for cell in content["cells"]] == [10, 11, 10]
    assert {row["rule"] for row in content["rates"]} == {"graph", "one stage", "nothing negligible"}
    assert (tmp_path / "false_discoveries.png").stat().st_size > 10_000
    main([*argv, "--quiet"])
    assert capsys.readouterr().out == "" and read_json(tmp_path / "results.json") == content
