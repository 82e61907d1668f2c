"""The experiments `certificate` and `intervals`: their cells, what the tables count, and draws that break one thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from experiments import certificate, intervals
from experiments._certificate_fits import plain_nature, sound_nature
from experiments._certificate_report import share, write
from experiments._violations import VIOLATIONS
from lcm.data.encode import encode_pairs
from lcm.data.nature.build import torch_generator

COMMON = {"model": "linear", "pairs": 2_000, "steps": None}


def test_cells_are_measured_once_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [
        {"part": "sound", "seed": 3},
        {"part": "violations", "violation": "several-targets", "strength": 0.3, "seed": 0},
        {"part": "power", "violation": "shift", "seed": 0},
    ]
    records = [certificate.measure(tmp_path, {**cell, **COMMON}) for cell in cells]
    assert "atomic" in records[1]["broken"] and "drift" in records[2]["broken"] and records[2]["stated"] > 0.0
    monkeypatch.setattr("experiments._certificate_fits.examine", lambda _: pytest.fail("measured again"))
    assert [certificate.measure(tmp_path, {**cell, **COMMON}) for cell in cells] == records
    text = write(tmp_path)
    assert "| two targets | share of pairs | 0.3 | 1 of 1: 1.00 (0.03–1.00) |" in text
    assert f"| noise shifted in all x̃ | drift | {records[2]['stated']:.3g}" in text
    stored = json.loads((tmp_path / "results.json").read_text())["records"]
    assert len(stored) == 3 and {"holds", "broken"} <= {record["rows"]["atomic"] for record in stored}


def test_a_share_has_the_interval_of_clopper_and_pearson() -> None:
    assert share(13, 20) == f"13 of 20: 0.65 ({beta.ppf(0.025, 13, 8):.2f}–{beta.ppf(0.975, 14, 7):.2f})"


def test_sound_natures_differ_in_what_a_user_may_have() -> None:
    drawn = [sound_nature(seed) for seed in range(40)]
    assert {nature.n for nature, _ in drawn} == {2, 3, 4, 5} and {pairs for _, pairs in drawn} == {2000, 10000, 30000}
    assert any(nature.d == 2 * nature.n for nature, _ in drawn)


@pytest.mark.parametrize("name", sorted(VIOLATIONS))
def test_a_draw_is_the_same_for_the_same_seed_and_breaks_no_more_than_it_says(name: str) -> None:
    violation, nature = VIOLATIONS[name], plain_nature(0, VIOLATIONS[name].columns)
    first, again = (violation.draw(nature, violation.strengths[0], 500, torch_generator(0, name)) for _ in range(2))
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.x_tilde, again.x_tilde)
    encoded = encode_pairs(nature, first)
    if name in ("soft", "partially-soft", "followed", "several-targets", "unsupported", "contaminated"):
        # x itself is that of the nature: its noise is standard normal
        assert abs(float(encoded.noise.mean())) < 0.1 and abs(float(encoded.noise.std()) - 1.0) < 0.1
    if name in ("soft", "partially-soft", "followed", "unsupported"):
        moved = ((encoded.noise_tilde - encoded.noise).abs() > 1e-3).sum(1)
        assert int(moved.max()) == 1


def test_intervals_are_measured_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--kinds", "linear", "--natures", "1", "--sizes", "600", "--halves", "4", "--out", str(tmp_path)]
    intervals.main(argv)
    (record,) = json.loads((tmp_path / "results.json").read_text())["records"]
    assert 0.0 <= record["coverage"] <= 1.0 and record["width"] > 0.0 and record["error"] > 0.0
    written = (tmp_path / "results.md").read_text()
    assert "| linear | 600 | 1 |" in written
    capsys.readouterr()
    intervals.main(argv)
    assert json.loads((tmp_path / "results.json").read_text())["records"] == [record]
