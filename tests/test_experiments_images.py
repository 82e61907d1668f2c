"""The experiment on images, small: from scene to table, and everything that is finished is kept."""

from __future__ import annotations

import ctypes.util
import json
import os
from pathlib import Path

import pytest

from experiments._experiment import Plan, Size
from experiments.images import GRAPHS, PARTS, _scenes, main
from lcm.model.graph import Graph

pytestmark = pytest.mark.usefixtures("cheap_scores")

needs_graphics = pytest.mark.skipif(
    not any(ctypes.util.find_library(name) for name in ("EGL", "OSMesa")), reason="neither EGL nor OSMesa is installed"
)


@needs_graphics
@pytest.mark.slow
def test_the_quick_version_goes_from_scene_to_table(
    tmp_path: Path, figures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # drawn in this process: tests/test_data_images_render.py has several
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    argv = ["--quick", "--pairs", "300", "--steps", "40", "--quiet", "--out", str(tmp_path)]
    main(argv)
    (record,) = json.loads((tmp_path / "results.json").read_text())["cells"]
    assert (record["scene"], record["model"], record["n"], record["n_pairs"]) == ("circuit", "flow", 4, 300)
    assert record["dci_disentanglement"] is not None and record["rendering_seconds"] > 0
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    names = ("traversals", "counterfactuals", "samples", "targets", "variables", "graphs", "training")
    assert {f"circuit-flow-{name}.png" for name in names} | {"circuit-data.png"} <= drawn
    cell = next((tmp_path / "cells").iterdir())
    before = cell.stat().st_mtime_ns
    main(argv)
    assert cell.stat().st_mtime_ns == before


def test_the_graphs_over_three_variables_are_all_there_are() -> None:
    found = [Graph.from_edges(3, edges) for edges in GRAPHS.values()]
    assert len(found) == 6
    import networkx

    for first in range(6):
        for second in range(first):
            pair = (found[first].to_networkx(), found[second].to_networkx())
            assert not networkx.is_isomorphic(*pair)


@pytest.mark.parametrize("part", PARTS)
def test_seeds_of_circuit_and_of_all_other_parts(part: str, tmp_path: Path) -> None:
    plan = Plan(Size(model_seeds=1, data_seeds=2, pairs=1000), tmp_path, None, None, True, None)
    found = [(scene.name, scene.config.seed) for scene in _scenes(part, plan, 3, ("chain",))]
    assert [seed for _, seed in found] == ([0, 1, 2] if part == "circuit" else [0, 1])
    assert len({name for name, _ in found}) == 1
