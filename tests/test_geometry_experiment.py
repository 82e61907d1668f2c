"""The experiment on decoders of two variables, end to end at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.image import imread

import lcm.run.fitting
from lcm.app.commands.reproduce import run_experiment

ROOT = Path(__file__).parent.parent
TINY = ["--quick", "--pairs", "300", "--steps", "2", "--geodesics", "2"]


def reproduce(out: Path, *argv: str) -> None:
    run_experiment(ROOT, ROOT / "experiments" / "geometry.py", [*TINY, *argv, "--out", str(out)])


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


def test_what_is_finished_is_not_done_again(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a finished model was fitted again")

    monkeypatch.setattr(lcm.run.fitting, "fit_pairs", refuse)
    before = (out / "results.json").read_bytes()
    reproduce(out)
    assert (out / "results.json").read_bytes() == before
    assert f"Results: {out}" in capsys.readouterr().out


def test_cells_of_other_settings_are_refused(out: Path) -> None:
    with pytest.raises(ValueError, match=r"nature0\.json: Expected geodesics = 3; got 2\. Choose another --out"):
        reproduce(out, "--geodesics", "3")
