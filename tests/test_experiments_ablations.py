"""The experiment on ablations: every arm on the same pairs, with its part taken out, and put back afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_experiments import TINY, reproduce, results

from experiments.ablations import ARMS, by_strength
from lcm.learn import prepared
from lcm.learn.training import optimiser
from lcm.readout.evidence import GraphEvidence
from lcm.run import fitting

pytestmark = pytest.mark.usefixtures("cheap_scores")
NATURES = ("skewed-strong-3", "arm")
PATCHED = {"_linear_start": prepared, "_InEigenbases": optimiser, "graph_at": GraphEvidence, "coordinates": fitting}


def test_every_arm_takes_out_its_part_and_puts_it_back(tmp_path: Path) -> None:
    before = [getattr(home, name) for name, home in PATCHED.items()]
    reproduce("ablations", *TINY, "--data-seeds", "1", "--natures", *NATURES, "--out", str(tmp_path))
    assert [getattr(home, name) for name, home in PATCHED.items()] == before
    cells = results(tmp_path)["cells"]
    assert [(cell["arm"], cell["nature"]) for cell in cells] == [
        (name, nature) for name, arm in ARMS.items() for nature in arm.natures if nature in NATURES
    ]
    for nature in NATURES:
        own = {cell["arm"]: cell for cell in cells if cell["nature"] == nature}
        assert len({cell["data_sha256"] for cell in own.values()}) == 1
        default = own.pop("default")
        other = {name for name, cell in own.items() if cell["implicit_nll"] != default["implicit_nll"]}
        # few steps end before rounds do, and edges are read after the encoder
        assert other == set(own) - {"one-round", "strong-edges"}


def test_edges_by_strength_follow_the_order() -> None:
    class Evidence:
        edge_strength = np.array([[0.0, 0.5, 0.02], [0.5, 0.0, 0.001], [0.5, 0.5, 0.0]])
        order = (2, 0, 1)

    found = by_strength(Evidence(), 0.05)  # type: ignore[arg-type]
    assert [tuple(edge) for edge in np.argwhere(found.adjacency)] == [(0, 1), (2, 0), (2, 1)]
