"""The plan experiment: its natures, its statistics, and a small run from end to end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from experiments import _plan_rounds  # noqa: E402
from experiments._plan_report import grouped, promise, ratios, row  # noqa: E402
from experiments._plan_rounds import ARMS, EDGES, PILOTS, WEAKEST, draw_case  # noqa: E402
from experiments.plan import main  # noqa: E402
from lcm.base.files import read_json  # noqa: E402
from lcm.data.nature.build import torch_generator  # noqa: E402
from lcm.readout.edges import edge_strengths  # noqa: E402

pytestmark = pytest.mark.usefixtures("cheap_scores")


def record(plan: int, uniform: int, shd: int = 0) -> dict[str, Any]:
    """A nature that each arm decides after so many further pairs; the last graph of the plan has this distance."""

    def rounds(further: int, last: int) -> list[dict[str, Any]]:
        first = {"further": 0, "undecided": 3, "shd": 1, "needed": 10.0, "ratio": 0.5, "counts": [1]}
        return [first, {**first, "further": further, "undecided": 0, "shd": last}]

    settings = {"seed": 1, "most": 5_000, "pilot_pairs": 10, "growth": 0.1, "least": 0.1}
    nature = {"pilot": "rare", "edges": "weak", "n": 3, "true_edges": 1, "weakest": 0.2, "rarest": 0.03}
    return {**settings, **nature, "arms": {"plan": rounds(plan, shd), **{a: rounds(uniform, 0) for a in ARMS[1:]}}}


def test_six_seeds_are_of_the_six_kinds_and_equal_for_equal_seeds() -> None:
    cases = [draw_case(seed) for seed in range(6)]
    assert {(case.pilot, case.edges) for case in cases} == {(pilot, kind) for pilot in PILOTS for kind in EDGES}
    for case in cases:
        assert case.shares.sum() == pytest.approx(1.0) and len(case.shares) == case.nature.n
        rare = case.shares < 0.055
        assert rare.any() == (case.pilot == "rare") or case.pilot == "uneven"
        assert (np.ptp(case.shares) == 0.0) == (case.pilot == "even")
        strength = edge_strengths(case.nature.scm, case.nature.scm.sample(20_000, torch_generator(7, "strengths")))
        assert strength[case.nature.graph.adjacency].min() > 0.95 * WEAKEST
    np.testing.assert_array_equal(draw_case(5).shares, cases[5].shares)


def test_a_nature_counts_until_all_is_decided_and_true() -> None:
    assert row(record(300, 500))["plan"] == 300 and row(record(300, 500))["plan reached"]
    wrong = row(record(300, 500, shd=1))
    assert wrong["plan"] == 5_000 and not wrong["plan reached"] and wrong["plan right"] is False
    assert wrong["uniform"] == 500 and wrong["uniform right"] is True and wrong["plan true"] == 5_000


def test_the_ratio_is_a_geometric_mean_over_natures_that_measured_something() -> None:
    rows = [row(record(200, 400)), row(record(200, 100)), row(record(400, 400)), row(record(0, 0))]
    found = ratios(rows)
    assert found["natures"] == 4 and found["by the pilot"] == 1
    assert found["over uniform"] == pytest.approx(1.0) and found["of sums"] == pytest.approx(800 / 900)
    low, high = found["over uniform interval"]
    assert 0.49 < low < 1.0 < high < 2.01
    assert (found["fewer"], found["more"]) == (1, 1)
    assert ratios([row(record(0, 0))])["over uniform"] is None


def test_groups_hold_the_natures_of_their_kind() -> None:
    found = {group["natures of"]: group["natures"] for group in grouped([row(record(1, 2))] * 3)}
    assert found == {"all": 3, "pilot rare": 3, "weak edges": 3, "predicted below 0.6": 3}


def test_a_promise_is_kept_by_edges_that_are_decided_rightly() -> None:
    edges = [
        {"true": True, "decided": True, "found": True},
        {"true": True, "decided": False, "found": False},
        {"true": False, "decided": True, "found": False},
        {"true": False, "decided": True, "found": True},
    ]

    def arms(whole: bool, pairs: int, of: list[dict[str, bool]]) -> dict[str, Any]:
        other = {"further": 2 * pairs, "whole": True, "of": of}
        return {"arms": {"plan": {"further": pairs, "whole": whole, "of": of}, "equal": other}}

    records = [arms(False, 100, edges), arms(True, 300, []), arms(True, 0, [])]
    found = promise(records, "plan")
    assert (found["natures"], found["undecided"]) == (3, 4)
    assert found["edges"] == 0.5 and found["graphs"] == pytest.approx(2 / 3) and found["pairs"] == 1.0
    assert promise(records, "equal")["graphs"] == 1.0 and promise(records, "equal")["pairs"] == pytest.approx(0.5)


def test_a_run_is_written_and_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["--natures", "2", "--first", "2", "--pairs", "100", "--out", str(tmp_path)]
    main(argv)
    said = capsys.readouterr().out
    assert "[2/2] seed 3, further pairs: plan " in said and "pilot rare" in said
    content = read_json(tmp_path / "results.json")
    assert [nature["seed"] for nature in content["natures"]] == [2, 3]
    for cell in content["cells"]:
        for rounds in cell["arms"].values():
            counts = np.array([each["counts"] for each in rounds])
            assert counts[0].sum() == 1_500 and (np.diff(counts, axis=0) >= 0).all()
            assert [each["further"] for each in rounds] == (counts.sum(1) - 1_500).tolist() and len(rounds) == 2
        uniform, levelled = (np.array(cell["arms"][arm][-1]["counts"]) for arm in ARMS[1:])
        assert np.ptp(uniform - cell["arms"]["uniform"][0]["counts"]) <= 2
        assert levelled.min() >= uniform.min()
    for cell in content["cells_at_once"]:
        plan, as_many, as_needed = cell["arms"].values()
        # at most 100 of each target
        assert plan["of"] and 0 < plan["further"] <= as_many["further"] <= as_needed["further"] <= 100 * cell["n"]
    assert [row["undecided"] for row in content["at_once"]] == [
        sum(len(cell["arms"]["plan"]["of"]) for cell in content["cells_at_once"])
    ] * 3
    assert "| pilot rare | 1 |" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "plan.png").stat().st_size > 10_000
    monkeypatch.setattr(_plan_rounds, "fit_pairs", None)
    main([*argv, "--quiet"])
    assert capsys.readouterr().out == "" and read_json(tmp_path / "results.json") == content
