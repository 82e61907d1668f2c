"""Experiments run end to end at a tiny size, say what they did, and do nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lcm.isomorphism
import lcm.run.runs
from experiments._experiment_data import draw_data, given_data
from lcm.app.commands.reproduce import run_experiment
from lcm.app.sweep.table import read_results
from lcm.data.pair_files import save_pairs
from lcm.data.pairs import PairData
from lcm.run.config import FitConfig

ROOT = Path(__file__).parent.parent
TINY = ["--pairs", "500", "--steps", "4", "--quiet"]
FIT_FIGURES = {"variables.png", "graphs.png", "training.png", "pairs.png"}
pytestmark = pytest.mark.usefixtures("cheap_scores")


def reproduce(name: str, *argv: str) -> None:
    run_experiment(ROOT, ROOT / "experiments" / f"{name}.py", list(argv))


def results(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return content


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def toy2d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy2d")
    reproduce("toy2d", *TINY, "--model-seeds", "2", "--out", str(out))
    return out


@pytest.fixture(scope="module")
def scaling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("scaling")
    reproduce("scaling", *TINY, "--n", "2", "3", "--model-seeds", "1", "--data-seeds", "2", "--out", str(out))
    return out


@pytest.fixture
def no_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a finished fit was fitted again")

    monkeypatch.setattr(lcm.run.runs, "fit_run", refuse)


def test_agreement_compares_every_fit_with_the_first_and_does_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [*TINY, "--n", "2", "--model-seeds", "3", "--data-seeds", "1", "--out", str(tmp_path)]
    reproduce("agreement", *argv)
    content = results(tmp_path)
    assert [record["model_seeds"] for record in content["cells"]] == [[0, 1], [0, 2]]
    assert all(record["seconds"] > 0 and len(record["r2"]) == 2 for record in content["cells"])
    monkeypatch.setattr(lcm.isomorphism, "find_isomorphism", None)
    reproduce("agreement", *argv)
    assert results(tmp_path) == content
    with pytest.raises(SystemExit):
        reproduce("agreement", *TINY, "--model-seeds", "1", "--out", str(tmp_path))
    assert "--model-seeds: Expected at least 2, to compare; got 1" in capsys.readouterr().err


def test_toy2d_has_a_cell_for_every_seed_and_one_row(toy2d: Path) -> None:
    content = results(toy2d)
    (row,) = content["summary"]
    assert (row["n"], row["cells"]) == (2, 2)
    assert [cell["model_seed"] for cell in content["cells"]] == [0, 1]
    assert {cell["data_seed"] for cell in content["cells"]} == {0}
    assert all(cell["true_edges"] == [[0, 1]] and cell["n_pairs"] == 500 for cell in content["cells"])
    assert content["cells"][0]["explicit_nll"] != content["cells"][1]["explicit_nll"]
    assert row["mcc"]["min"] == min(cell["mcc"] for cell in content["cells"])
    assert {path.name for path in (toy2d / "figures").iterdir()} == FIT_FIGURES


def test_an_experiment_is_a_sweep_whose_cells_lcm_table_reads(scaling: Path) -> None:
    found, cells = read_results(scaling), results(scaling)["cells"]
    assert found.varied() == ["data.n"]
    assert [row["data.n"] for row in found.finished] == [2, 2, 3, 3]
    assert [row["mcc"] for row in found.finished] == [cell["mcc"] for cell in cells]


def test_a_cell_that_fails_is_an_error_and_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lcm.run.runs.fit_run

    def failing(data: PairData, out: Path, config: FitConfig, **rest: Any) -> Any:
        if config.seed == 0:
            raise FloatingPointError("the likelihood became nan")
        return whole(data, out, config, **rest)

    argv = [*TINY, "--model-seeds", "2", "--out", str(tmp_path)]
    with monkeypatch.context() as patched, pytest.raises(ValueError, match=r"seed0-model0: .*: the likelihood became"):
        patched.setattr(lcm.run.runs, "fit_run", failing)
        reproduce("toy2d", *argv)
    assert [row["status"] for row in read_results(tmp_path).rows] == ["failed", "finished"]
    assert not (tmp_path / "results.json").exists()
    reproduce("toy2d", *argv)
    assert len(results(tmp_path)["cells"]) == 2


def test_a_table_says_how_it_was_made(toy2d: Path) -> None:
    settings = results(toy2d)["settings"]
    assert settings["steps"] == "4, not the defaults of a fit"
    assert settings["pairs to fit on"] == "500"
    assert settings["model seeds"] == "0, 1"
    assert "| n | cells | MCC |" in (toy2d / "results.md").read_text(encoding="utf-8")


def test_a_finished_experiment_is_not_run_again(toy2d: Path, no_fits: None) -> None:
    before = contents(toy2d)
    reproduce("toy2d", *TINY, "--model-seeds", "2", "--out", str(toy2d))
    assert contents(toy2d) == before


def test_a_fit_that_was_not_scored_is_scored_but_not_fitted_again(toy2d: Path, no_fits: None) -> None:
    cell = toy2d / "cells" / "seed0-model1.json"
    before = cell.read_bytes()
    cell.unlink()
    reproduce("toy2d", *TINY, "--model-seeds", "2", "--out", str(toy2d))
    assert cell.read_bytes() == before


@pytest.mark.parametrize("cell_is_there", [True, False])
def test_results_of_other_settings_are_not_passed_off(toy2d: Path, cell_is_there: bool, no_fits: None) -> None:
    cell = toy2d / "cells" / "seed0-model0.json"
    kept = cell.read_bytes()
    if not cell_is_there:
        cell.unlink()
    with pytest.raises(ValueError, match=r"seed0-model0.*: Expected the data and settings of the cell seed0-m"):
        reproduce("toy2d", "--pairs", "500", "--steps", "5", "--quiet", "--out", str(toy2d))
    cell.write_bytes(kept)


def test_data_of_other_settings_are_not_passed_off(toy2d: Path) -> None:
    with pytest.raises(ValueError, match=r"seed0: Expected the data of these settings; got others\."):
        reproduce("toy2d", "--pairs", "501", "--steps", "4", "--quiet", "--out", str(toy2d))


def test_scaling_has_a_row_for_every_n(scaling: Path) -> None:
    content = results(scaling)
    assert [(row["n"], row["cells"]) for row in content["summary"]] == [(2, 2), (3, 2)]
    assert [(cell["n"], cell["data_seed"]) for cell in content["cells"]] == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert len({cell["data_sha256"] for cell in content["cells"]}) == 4
    drawn = {f"n{n}-{figure}" for n in (2, 3) for figure in FIT_FIGURES}
    assert {path.name for path in (scaling / "figures").iterdir()} == drawn | {"scaling.png"}


def test_scaling_fits_files_that_exist_already(scaling: Path, tmp_path: Path) -> None:
    folders = [scaling / "data" / name for name in ("n2-seed1", "n3-seed0")]
    files = []
    for folder in folders:
        train, test = (tmp_path / f"{folder.name}_{split}.safetensors" for split in ("train", "test"))
        train.write_bytes((folder / "train.safetensors").read_bytes())
        test.write_bytes((folder / "test.safetensors").read_bytes())
        files += ["--data", str(train), str(test)]
    out = tmp_path / "out"
    reproduce("scaling", *files, "--model-seeds", "1", "--steps", "4", "--quiet", "--out", str(out))
    content = results(out)
    assert [(row["n"], row["data"]) for row in content["summary"]] == [(2, "n2-seed1"), (3, "n3-seed0")]
    again, first = content["cells"][0], results(scaling)["cells"][1]
    assert {**again, "data": "", "fit_seconds": 0} == {**first, "data": "", "fit_seconds": 0}


def test_the_demo_says_what_was_recovered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce("demo", "--pairs", "500", "--steps", "4", "--out", str(tmp_path))
    text = capsys.readouterr().out
    for name in ("toy2d", "scaling"):
        cell = results(tmp_path / name)["cells"][0]
        assert f"{cell['mcc']:.4f}" in text
        assert str(tmp_path / name / "figures") in text
    assert "true graph             z0 → z1\n" in text
    assert len(text.splitlines()) < 66
    assert max(map(len, text.replace(str(tmp_path), "").splitlines())) <= 120
    named = {word for word in text.split() if word.endswith(".png")}
    assert named == {path.name for path in tmp_path.glob("*/figures/*.png")} - {"scaling.png"}


def test_progress_and_the_table_are_printed_unless_quiet(toy2d: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (toy2d / "cells" / "seed0-model1.json").unlink()
    reproduce("toy2d", "--pairs", "500", "--steps", "4", "--model-seeds", "2", "--out", str(toy2d))
    printed = capsys.readouterr()
    assert "[2/2] seed0-model1: MCC 0." in printed.err
    assert f"Results: {toy2d}" in printed.out
    reproduce("toy2d", *TINY, "--model-seeds", "2", "--out", str(toy2d))
    assert capsys.readouterr().out == ""


def test_data_are_those_of_generate(tmp_path: Path, scaling: Path) -> None:
    config = ROOT / "paper_configs" / "scaling.yaml"
    data = draw_data(config, "n3-seed1", 1, 500, tmp_path, n=3)
    folder = scaling / "data" / "n3-seed1"
    assert (data.name, data.train) == ("n3-seed1", tmp_path / "data/n3-seed1/train.safetensors")
    assert data.values == {"data.n": 3, "data.seed": 1}
    assert data.train.read_bytes() == (folder / "train.safetensors").read_bytes()


def test_data_without_truth_are_refused(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((20, 2))
    save_pairs(tmp_path / "pairs.safetensors", PairData.from_arrays(x, x + 1))
    with pytest.raises(ValueError, match=r"pairs\.safetensors: Expected the truth to score against.*; got no z\."):
        given_data(tmp_path / "pairs.safetensors", tmp_path / "pairs.safetensors")


def test_a_seed_that_is_not_known_is_none(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, targets = random.standard_normal((20, 2)), np.zeros((20, 2), dtype=bool)
    data = PairData.from_arrays(x, x + 1, z=x, targets=targets, adjacency=np.zeros((2, 2), dtype=np.uint8))
    save_pairs(tmp_path / "own_train.safetensors", data)
    found = given_data(tmp_path / "own_train.safetensors", tmp_path / "own_train.safetensors")
    assert (found.name, found.values) == ("own", {"data.n": 2, "data.seed": None})


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_counts_are_positive_integers(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        reproduce("toy2d", "--model-seeds", value)
    assert f"Expected an integer of at least 1; got '{value}'" in capsys.readouterr().err


def test_paper_has_a_cell_for_every_model_and_draws_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [*TINY, "--part", "scaling", "--n", "2", "3", "--models", "flow", "linear", "elcm-vae"]
    argv += ["--model-seeds", "2", "--data-seeds", "1", "--out", str(tmp_path)]
    reproduce("paper", *argv)
    content = results(tmp_path / "scaling")
    # two model seeds for the two models that are fitted at every n, one for the peer
    assert [(row["n"], row["model"], row["cells"]) for row in content["summary"]] == [
        (n, model, cells) for n in (2, 3) for model, cells in (("flow", 2), ("linear", 2), ("elcm-vae", 1))
    ]
    assert (tmp_path / "scaling" / "figures" / "scaling.png").is_file()
    monkeypatch.setattr(lcm.run.runs, "fit_run", None)
    reproduce("paper", *argv)
    assert results(tmp_path / "scaling") == content


def test_paper_varies_what_its_parts_say(tmp_path: Path) -> None:
    argv = [*TINY, "--models", "linear", "--data-seeds", "1", "--out", str(tmp_path)]
    reproduce("paper", *argv, "--part", "samples", "noise", "wrong-n", "wrong-targets", "--pairs", "1000")
    varied = {name: results(tmp_path / name)["cells"] for name in ("samples", "noise", "wrong-n", "wrong-targets")}
    assert [cell["n_pairs"] for cell in varied["samples"]] == [1000]
    assert [cell["noise"] for cell in varied["noise"]] == [0.0, 0.003, 0.01, 0.03, 0.1]
    assert [cell["n_variables"] for cell in varied["wrong-n"]] == [3, 4, 5, 6]
    assert [cell["fitted"] for cell in varied["wrong-targets"]].count("atomic-or-empty") == 3


def test_paper_fits_files_that_are_given(tmp_path: Path, toy2d: Path) -> None:
    files = [str(toy2d / "data" / "seed0" / f"{split}.safetensors") for split in ("train", "test")]
    argv = [*TINY, "--part", "reference", "--data", *files, "--models", "linear", "--model-seeds", "1"]
    reproduce("paper", *argv, "--out", str(tmp_path))
    assert [cell["data"] for cell in results(tmp_path / "reference")["cells"]] == ["train"]


def test_paper_asks_for_the_files_of_its_first_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--models", "elcm-vae", "--out", str(tmp_path)]
    with pytest.raises(ValueError, match="--data: Expected TRAIN TEST for the part reference; got none"):
        reproduce("paper", *argv, "--part", "reference")
    reproduce("paper", *argv, "--part", "wrong-n")
    assert "wrong-n: left out, none of the models takes part" in capsys.readouterr().out
