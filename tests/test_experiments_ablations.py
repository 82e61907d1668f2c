"""The experiment on ablations: every arm on the same pairs, with its part taken out, and put back afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_experiments import TINY, reproduce, results

from experiments import ablations
from experiments._experiment import Plan
from experiments.ablations import ARMS, by_strength, leading
from lcm.app.sweep.cells import Cell
from lcm.data.pairs import PairData
from lcm.learn import prepared
from lcm.learn.training import optimiser
from lcm.readout.evidence import GraphEvidence
from lcm.run import fitting

pytestmark = pytest.mark.usefixtures("cheap_scores")
PATCHED = {"_linear_start": prepared, "_InEigenbases": optimiser, "graph_at": GraphEvidence, "coordinates": fitting}
ORIGINAL = {name: getattr(home, name) for name, home in PATCHED.items()}


def replaced() -> set[str]:
    """The parts of the package that are not its own now."""
    return {name for name, home in PATCHED.items() if getattr(home, name) is not ORIGINAL[name]}


def test_every_arm_takes_out_its_part_and_puts_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[set[str], list[Cell]]] = []

    def fitted(cells: list[Cell], _: Plan) -> list[dict[str, Any]]:
        seen.append((replaced(), cells))
        return []

    monkeypatch.setattr(ablations, "fit_cells", fitted)
    monkeypatch.setattr(ablations, "report_cells", lambda *_: None)
    ablations.main(["--pairs", "500", "--data-seeds", "1", "--out", str(tmp_path)])
    assert replaced() == set()
    taken = {"no-warm-start": "_linear_start", "adam": "_InEigenbases", "strong-edges": "graph_at"}
    taken["leading-directions"] = "coordinates"
    default = {cell.values["nature"]: cell for cell in seen[0][1]}
    for (name, arm), (parts, cells) in zip(ARMS.items(), seen, strict=True):
        assert parts == ({taken[name]} if name in taken else set())
        assert [cell.values["nature"] for cell in cells] == list(arm.natures)
        assert all(cell.data.train == default[cell.values["nature"]].data.train for cell in cells)
        changed = [cell.config != default[cell.values["nature"]].config for cell in cells]
        assert changed == [bool(arm.noise_encoder)] * len(cells)
        # an arm takes something out, by its settings or by its code
        assert name == "default" or arm.noise_encoder or parts


def test_arms_are_fitted_and_scored(tmp_path: Path) -> None:
    argv = ["--data-seeds", "1", "--natures", "skewed-strong-3", "--arms", "default", "no-warm-start", "adam"]
    reproduce("ablations", *TINY, *argv, "--out", str(tmp_path))
    cells = results(tmp_path)["cells"]
    assert [cell["arm"] for cell in cells] == ["default", "no-warm-start", "adam"]
    assert len({cell["data_sha256"] for cell in cells}) == 1 and len({cell["implicit_nll"] for cell in cells}) == 3


def test_leading_directions_are_n_even_of_a_curved_sheet() -> None:
    x = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    assert leading(PairData(x, x[::-1]), 2, False, 0).n == 2


def test_edges_by_strength_follow_the_order() -> None:
    class Evidence:
        edge_strength = np.array([[0.0, 0.5, 0.02], [0.5, 0.0, 0.001], [0.5, 0.5, 0.0]])
        order = (2, 0, 1)

    found = by_strength(Evidence(), 0.05)  # type: ignore[arg-type]
    assert [tuple(edge) for edge in np.argwhere(found.adjacency)] == [(0, 1), (2, 0), (2, 1)]
