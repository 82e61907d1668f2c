"""Figures are written whole, without a warning, and show what they should."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import FancyArrowPatch

import lcm.report
from experiments._plot_calibration import draw_calibration
from experiments._plot_scores import draw_scores
from lcm.metric.intervention import Reliability
from lcm.model.graph import Graph
from lcm.readout.evidence import GraphEvidence
from lcm.readout.pair_plan import PairPlan, PlanCurve
from lcm.report import (
    draw_evidence,
    draw_graph,
    draw_pairs,
    draw_plan,
    draw_training,
    draw_two_graphs,
    draw_variables,
)
from lcm.report.graph import draw_one_graph, graph_labels
from lcm.report.style import literal

pytestmark = pytest.mark.usefixtures("laid_out")

RANDOM = np.random.default_rng(0)
SIZES = (1, 2, 4, 11)


def dag(n: int) -> np.ndarray:
    return np.triu(np.random.default_rng(n).random((n, n)) < 0.4, k=1)


def table(n: int, rows: int = 200) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((rows, n))


def records(restarts: int = 2) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for restart in range(restarts):
        for stage in ("noise encoder", "mechanisms"):
            for step in range(5):
                line = {"restart": restart, "stage": stage, "step": step, "seconds": 0.1 * len(lines) + 0.1}
                line |= {"log_likelihood": -1.0 / (step + 1), "validation_log_likelihood": -1.1 / (step + 1)}
                lines.append(line | ({"thickness": [0.5**step, 0.4**step]} if stage == "noise encoder" else {}))
    return lines


def cells() -> list[dict[str, object]]:
    """Six fits; one score is missing everywhere, another once."""
    scores = zip((2, 2, 4, 4, 8, 8), (1.0, 0.99, 0.9, 1.0, None, 0.7), (0, 0, 1, 2, 3, 9), strict=True)
    return [{"n": n, "mcc": mcc, "shd": shd, "auroc": None} for n, mcc, shd in scores]


def evidence(n: int) -> GraphEvidence:
    """Edges along 0, 1, … at random, some of them weak."""
    source = np.random.default_rng(n)
    p_value = np.where(np.triu(np.ones((n, n)), 1) > 0, source.uniform(size=(n, n)) ** 8, 1.0)
    strength = np.where(p_value < 1.0, source.uniform(size=(n, n)), 0.0)
    return GraphEvidence(p_value, p_value, strength, 0.1 * strength, tuple(range(n)))


def rates() -> list[dict[str, object]]:
    levels = [
        (mixing, relation, q) for mixing in ("linear", "other") for relation in ("edges", "ancestors") for q in (1, 5)
    ]
    shares = {"fdr": 0.01, "fdr_interval": [0.0, 0.03], "power": 0.5, "power_interval": [0.4, 0.6]}
    return [{"mixing": mixing, "relation": relation, "level": q / 100, **shares} for mixing, relation, q in levels]


def plan_of(n: int) -> PairPlan:
    """A plan in which every variable but the first needs more pairs."""
    steps, needed = tuple(100.0 * k for k in range(9)), tuple(100.0 * i for i in range(n))
    curve = PlanCurve("z0 → z1", tuple(k / 8 for k in range(9)), tuple(k / 16 for k in range(9)))
    pairs, names = tuple(map(int, needed)), tuple(f"z{i}" for i in range(n))
    asked = {"false_discovery_rate": 0.05, "power": 0.9, "width": 0.2, "least": 0.1}
    ends = {"uniform_total": 900.0, "curve_kind": "power", "aim": 0.9, "names": names, "related": ("",) * n}
    return PairPlan(
        "graph", None, (), (50.0,) * n, needed, pairs, edges=(), steps=steps, curves=(curve,), **ends, **asked
    )


CURVE = Reliability(np.array([50, 0, 8]), np.array([5.0, 0.0, 7.0]), np.array([4, 0, 8]))

FIGURES: dict[str, Callable[[Path], None]] = {
    **{f"graphs {n}": lambda path, n=n: draw_two_graphs(path, dag(n), dag(n), dag(n) * 0.7) for n in SIZES},  # type: ignore[misc]
    "graphs without strengths": lambda path: draw_two_graphs(path, dag(5), dag(5)),
    "reversed edge": lambda path: draw_two_graphs(path, [[0, 1], [0, 0]], [[0, 0], [1, 0]], np.eye(2)[::-1]),
    "cyclic learned graph": lambda path: draw_two_graphs(path, dag(3), 1 - np.eye(3), np.ones((3, 3))),
    **{f"evidence {n}": lambda path, n=n: draw_evidence(path, evidence(n), evidence(n).graph_at(0.1)) for n in SIZES},  # type: ignore[misc]
    "calibration": lambda path: draw_calibration(path, rates(), {"linear": CURVE, "other": CURVE}),
    **{f"plan {n}": lambda path, n=n: draw_plan(path, plan_of(n)) for n in SIZES},  # type: ignore[misc]
    "plan of widths": lambda path: draw_plan(path, replace(plan_of(3), curve_kind="width", aim=0.2)),
    "plan of nothing": lambda path: draw_plan(path, replace(plan_of(2), curves=(), needed=(0.0, 0.0), pairs=(0, 0))),
    "empty graphs": lambda path: draw_two_graphs(path, np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))),
    **{f"variables {n}": lambda path, n=n: draw_variables(path, table(n), -table(n)) for n in SIZES},  # type: ignore[misc]
    **{f"pairs {n}": lambda path, n=n: draw_pairs(path, table(n), table(n) + 0.5) for n in SIZES},  # type: ignore[misc]
    "pairs of images": lambda path: draw_pairs(path, *RANDOM.integers(0, 255, (2, 20, 4, 4, 3), dtype=np.uint8)),
    "unchanged pairs": lambda path: draw_pairs(path, table(3), table(3)),
    "scores": lambda path: draw_scores(path, cells(), "n", {"mcc": "MCC", "shd": "SHD", "auroc": "AUROC"}, ["mcc"]),
    "training": lambda path: draw_training(path, records()),
    "training, one restart": lambda path: draw_training(path, records(1)),
    "training, nothing recorded": lambda path: draw_training(path, []),
    "training, bare records": lambda path: draw_training(path, [{"log_likelihood": -1.0}, {"step": 4}, {}]),
    "training, gaps": lambda path: draw_training(
        path,
        [
            {"step": 0, "log_likelihood": None, "restart": None, "thickness": 0.5},
            {"step": 1, "log_likelihood": float("nan"), "validation_log_likelihood": float("-inf")},
            {"step": 2, "seconds": 3.0, "log_likelihood": -1e9, "thickness": None},
        ],
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_written(name: str, tmp_path: Path) -> None:
    FIGURES[name](tmp_path / "figure.png")
    image = imread(tmp_path / "figure.png")
    assert min(image.shape[:2]) > 300
    assert image[..., :3].std() > 0.01
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_the_suffix_chooses_the_format(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"figure.{suffix}"
    draw_two_graphs(path, dag(4), dag(4))
    start = {"svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["graphs 11", "variables 4", "variables 11", "pairs 4", "scores", "training"])
def test_nothing_is_cut_off_at_the_edges(name: str, tmp_path: Path) -> None:
    FIGURES[name](tmp_path / "figure.png")
    image = imread(tmp_path / "figure.png")[..., :3]
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert bool((border == 1.0).all())


def test_a_graph_has_an_arrow_for_each_edge_and_label() -> None:
    ax = Figure().subplots()
    adjacency = dag(5)
    returned = draw_graph(ax, adjacency, adjacency * 0.25, labels=list("abcde"), title="a title")
    assert returned is ax and ax.get_title() == "a title"
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == adjacency.sum()
    texts = [text.get_text() for text in ax.texts]
    assert sorted(texts) == sorted([*"abcde", *["0.25"] * int(adjacency.sum())])


def test_a_missing_edge_is_dashed_and_a_stronger_one_is_wider() -> None:
    ax = Figure().subplots()
    learned, truth = [[0, 1, 1], [0, 0, 0], [0, 0, 0]], [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    draw_graph(ax, learned, [[0, 2.0, 0.5], [0, 0, 0], [0, 0, 0]], true_adjacency=truth)
    right, wrong, missing = (patch for patch in ax.patches if isinstance(patch, FancyArrowPatch))
    assert right.get_linewidth() > wrong.get_linewidth() and right.get_edgecolor() != wrong.get_edgecolor()
    assert missing.get_linestyle() != "solid" and right.get_linestyle() == "solid"


def test_arrows_point_from_cause_to_effect() -> None:
    ax = Figure().subplots()
    draw_graph(ax, [[0, 0], [1, 0]])
    (arrow,) = (patch for patch in ax.patches if isinstance(patch, FancyArrowPatch))
    positions = {text.get_text(): text.get_position() for text in ax.texts}
    path = arrow.get_path().vertices
    assert np.linalg.norm(path[0] - positions["$z_{1}$"]) < np.linalg.norm(path[0] - positions["$z_{0}$"])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda path: draw_two_graphs(path, dag(3), dag(2)),
            "Expected a learned graph of 3 variables.*got 2",
        ),
        (
            lambda path: draw_two_graphs(path, np.ones((2, 3)), dag(2)),
            r"Expected a square \(n, n\) adjacency",
        ),
        (lambda path: draw_graph(Figure().subplots(), dag(3), labels=["a"]), "Expected 3 labels; got 1"),
        (
            lambda path: draw_variables(path, table(3), table(2)),
            r"Expected learned variables of shape \(200, 3\)",
        ),
        (lambda path: draw_pairs(path, table(3), table(2)), "Expected two or more pairs of one shape"),
        (
            lambda path: draw_scores(path, [], "n", {"mcc": "MCC"}),
            "Expected one or more records and panels; got 0 and 1",
        ),
    ],
)
def test_errors_say_what_was_expected(draw: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []


def test_figures_are_loaded_when_they_are_used_and_never_pyplot() -> None:
    code = (
        "import sys, lcm.report; print('matplotlib' in sys.modules, 'torch' in sys.modules);"
        "from lcm.report import *; print(draw_graph.__name__, 'matplotlib.pyplot' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["False", "False", "draw_graph", "False"]
    with pytest.raises(AttributeError, match=r"module 'lcm\.report' has no attribute 'draw_nothing'"):
        _ = lcm.report.draw_nothing


def test_evidence_of_another_number_of_variables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected a graph of 3 variables; got 2\."):
        draw_evidence(tmp_path / "figure.png", evidence(3), Graph.from_edges(2, []))


@pytest.mark.parametrize("name", ["price_$_open_$", "b$_c_d$", "$a$", "a" * 200])
def test_names_of_columns_are_no_formulas(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2))
    draw_pairs(tmp_path / "pairs.png", x, x + 0.5, columns=(name, "other"))
    labels = graph_labels(["z0", "z1"], [name, "other"])
    draw_one_graph(tmp_path / "graph.png", [[0, 1], [0, 0]], [[0.0, 0.5], [0.0, 0.0]], labels=labels)
    named = replace(plan_of(2), names=("z0", "z1"), related=(name, ""))
    draw_plan(tmp_path / "plan.png", named)
    assert len(list(tmp_path.glob("*.png"))) == 3
    assert literal("b$_c$") == r"b\$_c\$" and len(literal("a" * 200)) < 40


def test_columns_of_any_units_have_the_same_picture(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((60, 3)) @ np.random.default_rng(1).standard_normal((3, 3))
    units = np.array([1e-6, 1.0, 1e6])
    for name, scale in (("one", 1.0), ("other", units)):
        draw_pairs(tmp_path / f"{name}.png", scale * x + 5.0 * scale, scale * (x + 0.5) + 5.0 * scale)
    np.testing.assert_array_equal(imread(tmp_path / "one.png"), imread(tmp_path / "other.png"))
