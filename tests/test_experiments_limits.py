"""The experiment on limits at a tiny size: every row is measured, judged, told and drawn, and nothing is done twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments._plot_limits import aligned_to, draw_found, draw_latent_space, draw_strip, draw_torus_pairs
from lcm.app.commands.reproduce import run_experiment
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.storage import load_model
from lcm.peer.disentanglement.vae import BetaVAE

pytestmark = pytest.mark.usefixtures("cheap_scores")

ROOT = Path(__file__).parent.parent
TINY = ["--quick", "--pairs", "400", "--steps", "3", "--quiet"]
NAMES = ["observations", "control", "no-support", "never-atomic", "independent", "shifted", "soft", "torus"]


def reproduce(*argv: str) -> None:
    run_experiment(ROOT, ROOT / "experiments" / "limits.py", list(argv))


def results(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return content


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".png"]
    return {str(path): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("limits")
    reproduce(*TINY, "--out", str(out))
    return out


def test_every_limit_has_a_row_a_criterion_and_a_verdict(limits: Path) -> None:
    content = results(limits)
    assert [row["row"] for row in content["summary"]] == NAMES
    for row in content["summary"]:
        assert row["cells"] == row["as_predicted"]["of"] == 1
        assert row["prediction"] and row["criterion"]
    assert {cell["row"] for cell in content["cells"]} == set(NAMES)
    assert sum(cell["as_predicted"] for cell in content["cells"]) == sum(
        row["as_predicted"]["true"] for row in content["summary"]
    )
    for cell in content["cells"]:
        assert ("doubts" in cell) is (cell["row"] != "torus")
    assert content["settings"]["pairs"] == 400 and content["settings"]["steps"] == 3
    text = (limits / "results.md").read_text(encoding="utf-8")
    assert "| panel | what is broken |" in text and "| undetectable; doubts in " in text
    assert (limits / "figures" / "limits.png").stat().st_size > 10_000


def test_models_of_observations_can_be_compared(limits: Path) -> None:
    folder = limits / "models" / "observations-seed0"
    for index in range(4):
        assert isinstance(load_model(folder / f"vae{index}.safetensors"), BetaVAE)
        assert isinstance(load_model(folder / f"lcm{index}.safetensors"), LatentCausalModel)
    assert (folder / "test.safetensors").exists()


def test_a_finished_cell_is_not_run_again(limits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a finished cell was run again")

    before = contents(limits)
    for name in ("fit_to", "fit_pairs", "mmd_test"):
        monkeypatch.setattr(sys.modules["experiments._limits_rows"], name, refuse)
    reproduce(*TINY, "--out", str(limits))
    assert contents(limits) == before


def test_other_settings_in_the_same_folder_are_an_error(limits: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected pairs = 401; got 400. Choose another --out, or delete it"):
        reproduce(*TINY, "--pairs", "401", "--out", str(limits))


def test_some_rows_alone(limits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce(*TINY[:-1], "--rows", "torus", "--seeds", "2", "--out", str(tmp_path))
    assert [(cell["row"], cell["seed"]) for cell in results(tmp_path)["cells"]] == [("torus", 0), ("torus", 1)]
    assert "torus, seed 1: " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        reproduce("--rows", "sphere", "--out", str(tmp_path))
    assert "--rows: Expected some of observations, control" in capsys.readouterr().err


def rows_by_name(limits: Path) -> Mapping[str, Any]:
    assert limits.exists()
    return {row.name: row for row in sys.modules["experiments._limits_rows"].ROWS}


def test_criteria_can_fail_and_hold(limits: Path) -> None:
    rows = rows_by_name(limits)
    good: dict[str, dict[str, Any]] = {
        "observations": {"elbo_spread": 0.01, "vae_agreeing": 3, "lcm_agreeing": 6, "model_pairs": 6, "detected": True},
        "control": {"z_mcc": 0.999, "shd": 0, "doubts": []},
        "no-support": {"reached_r2": 0.99, "block_r2": 0.99, "single_r2": 0.7},
        "never-atomic": {"block_r2": 0.99, "single_r2": 0.7},
        "independent": {"noise_mcc": 0.8},
        "shifted": {"noise_mcc": 0.999, "learned_edges": 0, "gap": 0.01, "twin_difference": 1e-12},
        "soft": {"noise_mcc": 0.999, "least_z_r2": 0.5},
        "torus": {"difference": 1e-12, "same_graph": False, "p_value": 0.5, "control_p_value": 0.005},
    }
    bad: dict[str, dict[str, Any]] = {
        "observations": {"elbo_spread": 0.1, "vae_agreeing": 4, "lcm_agreeing": 5},
        "control": {"z_mcc": 0.9, "shd": 1, "doubts": ["The fit: bad."]},
        "no-support": {"reached_r2": 0.9, "block_r2": 0.9, "single_r2": 0.99},
        "never-atomic": {"block_r2": 0.9, "single_r2": 0.99},
        "independent": {"noise_mcc": 0.95},
        "shifted": {"noise_mcc": 0.9, "learned_edges": 1, "gap": 0.1, "twin_difference": 1e-3},
        "soft": {"noise_mcc": 0.9, "least_z_r2": 0.99},
        "torus": {"difference": 1e-3, "same_graph": True, "p_value": 0.001, "control_p_value": 0.5},
    }
    for name, row in rows.items():
        assert row.judged(good[name])["as_predicted"] is True
        for key, value in bad[name].items():
            assert row.judged({**good[name], key: value})["as_predicted"] is False, (name, key)


def test_an_assumption_is_detected_where_a_doubt_names_it(limits: Path) -> None:
    row = rows_by_name(limits)["no-support"]
    record = {"reached_r2": 1.0, "block_r2": 1.0, "single_r2": 0.5}
    named = {**record, "doubts": ["Interventions on every variable: almost never on z0, z1."]}
    assert row.judged(named)["detected"] is True
    assert row.judged({**record, "doubts": ["The graph: edges may be missing."]})["detected"] is False
    assert rows_by_name(limits)["control"].judged({"z_mcc": 1.0, "shd": 0, "doubts": []})["detected"] is None


def test_latent_spaces_are_aligned_by_relabelling_and_reversal_alone() -> None:
    reference = np.random.default_rng(0).standard_normal((500, 3))
    moved = 4.0 - 3.0 * reference[:, [2, 0, 1]]
    aligned = aligned_to(reference, moved)
    assert np.allclose(aligned, (reference - reference.mean(0)) / reference.std(0))
    turned = reference @ np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    assert not np.allclose(aligned_to(reference, turned), aligned, atol=0.1)
    with pytest.raises(ValueError, match=r"Expected two tables of one shape; got \(500, 3\) and \(500, 2\)"):
        aligned_to(reference, moved[:, :2])


def test_panels_draw_what_they_are_given() -> None:
    axes = Figure().subplots(1, 4)
    generator = np.random.default_rng(0)
    draw_latent_space(axes[0], generator.standard_normal((50, 2)), generator.standard_normal(50), "space")
    assert len(axes[0].collections[0].get_offsets()) == 50
    draw_found(axes[1], np.eye(3), [(1, 2)])
    assert [text.get_text() for text in axes[1].texts].count("1.00") == 3
    assert axes[1].patches[0].get_width() == 2
    draw_strip(axes[2], {"first": [0.1, 0.3], "second": [1.0]})
    assert [label.get_text() for label in axes[2].get_yticklabels()] == ["first", "second"]
    targets = np.array([[True, False], [False, True], [False, False]])
    draw_torus_pairs(axes[3], np.zeros((3, 2)), np.ones((3, 2)), targets)
    # each line and its copies on the neighbouring squares
    assert [len(lines.get_segments()) for lines in axes[3].collections[:2]] == [9, 9]
