"""The experiment on geometry, end to end at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

import lcm.run.fitting
from experiments import _geometry_parts
from lcm.app.commands.reproduce import run_experiment

pytestmark = pytest.mark.usefixtures("laid_out")

ROOT = Path(__file__).parent.parent
TINY = ["--quick", "--pairs", "300", "--steps", "2", "--geodesics", "2"]


def reproduce(out: Path, *argv: str) -> None:
    run_experiment(ROOT, ROOT / "experiments" / "geometry.py", [*TINY, *argv, "--out", str(out)])


def parts(out: Path) -> dict[str, list[dict[str, Any]]]:
    content: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return content["parts"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("geometry")
    reproduce(folder)
    return folder


def test_every_model_is_measured_and_drawn(out: Path) -> None:
    content = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [(row["model"], row["cells"]) for row in content["summary"]] == [("nature", 1), ("LCM", 2), ("VAE", 2)]
    nature = content["cells"][0]
    assert nature["mcc"] == pytest.approx(1.0)
    assert nature["reconstruction"] < 1e-5
    assert nature["fit_seconds"] is None
    for cell in content["cells"]:
        assert 0 < cell["length_ratio_least"] <= cell["length_ratio"] <= 1.0 + 1e-6
        assert cell["magnification_spread"] > 0
    # decoders of latent causal models are exact, whatever was learned
    assert all(cell["reconstruction"] < 1e-4 for cell in content["cells"] if cell["model"] == "LCM")
    assert "| nature | 1 |" in (out / "results.md").read_text(encoding="utf-8")
    assert imread(out / "figures" / "magnification.png").shape[1] > 1500


def test_exponential_maps_and_distances_are_those_of_the_manifolds(out: Path) -> None:
    for record in parts(out)["manifolds"]:
        assert record["exp_log_error"] < 1e-12
        assert record["midpoint_error"] < 1e-12
        assert 1.0 <= record["largest_ratio"] <= record["bound"] + 1e-12
        assert record["pulled_back_error"] is None or record["pulled_back_error"] < 1e-3
    assert sum(record["pulled_back_error"] is not None for record in parts(out)["manifolds"]) == 3


def test_groups_act_and_maps_are_equivariant_where_theory_says_so(out: Path) -> None:
    for record in parts(out)["actions"]:
        assert max(record["identity"], record["composition"], record["inverse"]) < 1e-3
    for record in parts(out)["equivariance"]:
        assert (record["rms"] < 1e-10) if record["holds"] else (record["rms"] > 0.1)


def test_variables_on_a_circle_are_encoded_and_follow_an_intervention(out: Path) -> None:
    for record in parts(out)["circle"]:
        assert max(record["encoding_error"], record["noise_error"]) < 1e-12
        assert record["mean_after"] == pytest.approx(record["mean_expected"], abs=0.05)
        assert abs(record["mean_before"] - record["mean_expected"]) > 0.5


def test_every_part_has_a_table_and_a_figure(out: Path) -> None:
    text = (out / "results.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        f"## {part.title}" for part in _geometry_parts.PARTS.values()
    ]
    for name in ("manifolds", "groups", "circle"):
        assert imread(out / "figures" / f"{name}.png").shape[1] > 1500


def test_what_is_finished_is_not_done_again_and_other_parts_keep_their_results(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a finished model was fitted again")

    monkeypatch.setattr(lcm.run.fitting, "fit_pairs", refuse)
    before = {name: (out / name).read_bytes() for name in ("results.json", "results.md")}
    for names in (["decoders"], ["circle", "actions"]):
        reproduce(out, "--parts", *names)
        assert {name: (out / name).read_bytes() for name in before} == before
        assert f"Results: {out}" in capsys.readouterr().out


def test_cells_of_other_settings_are_refused(out: Path) -> None:
    with pytest.raises(ValueError, match=r"nature0\.json: Expected geodesics = 3; got 2\. Choose another --out"):
        reproduce(out, "--geodesics", "3")
