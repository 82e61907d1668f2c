"""The experiment `theorem` at a tiny size: its parts, its tables, and nothing done twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.usefixtures("cheap_scores")

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from experiments import _theorem_fits as fits  # noqa: E402
from experiments import _theorem_images as images  # noqa: E402
from experiments import _theorem_power as neighbours  # noqa: E402
from experiments import theorem  # noqa: E402

TINY = theorem.Sizes(3, 100, 2, 1, (0.05, 0.8), (50, 1000), 2, ((2, 300),), (), 1)
ARGUMENTS = ["--quick", "--quiet", "--seeds", "2"]


@pytest.fixture(scope="module")
def tiny() -> Iterator[None]:
    """The quick version, smaller still."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theorem, "QUICK", TINY)
        patch.setattr(fits, "TEST_PAIRS", 200)
        yield


@pytest.fixture(scope="module")
def out(tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theorem")
    theorem.main([*ARGUMENTS, "--out", str(folder)])
    return folder


def results(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return content


def test_every_part_has_its_records(out: Path) -> None:
    content = results(out)
    assert [record["seed"] for record in content["images"]] == [0, 1, 2]
    assert {(record["kind"], record["strength"]) for record in content["neighbours"]} == {
        (kind, strength) for kind in neighbours.KINDS for strength in (0.05, 0.8)
    }
    assert [(record["n"], record["seed"]) for record in content["fits"]] == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert {path.name for path in (out / "figures").iterdir()} == {"densities.png", "power.png", "likelihood.png"}


def test_images_have_equal_densities(out: Path) -> None:
    content = results(out)
    for record in content["images"]:
        assert record["largest_difference"] < 1e-8
        assert record["median_difference"] <= record["largest_difference"]
        assert sum(record["histogram"]) == 100
        assert not record["likelihood_ratio_rejects"]
    summary = content["summary"]["images"]
    assert summary["largest_difference"] == max(record["largest_difference"] for record in content["images"])


def test_power_is_the_share_of_log_ratios_beyond_the_threshold(out: Path) -> None:
    for record in results(out)["neighbours"]:
        ratios = np.array(record["log_ratio"])
        assert ratios.shape == (2, 2)
        assert record["power"] == (ratios >= np.log(100.0)).mean(0).tolist()
        assert record["nats_a_pair"] == (ratios[:, -1] / 1000).tolist()
        compared = record["strength"] in neighbours.MMD_STRENGTHS and "decoder" not in record["kind"]
        assert np.shape(record["mmd_p_values"]) == ((1, 1) if compared else (0,))
    strong = [r for r in results(out)["neighbours"] if r["strength"] == 0.8]
    assert np.mean([record["power"][-1] for record in strong]) > 0.9


def test_fits_are_scored_beside_nature(out: Path) -> None:
    for record in results(out)["fits"]:
        assert record["gap"] > 0.0
        assert record["gap_standard_error"] > 0.0
        assert 0.0 < record["distance"] <= 1.0
        assert not record["isomorphic"] or (record["graphs_equal"] and record["least_r2"] >= 0.98)


def test_tables_say_what_was_found(out: Path) -> None:
    text = (out / "results.md").read_text(encoding="utf-8")
    assert "3 models and their images: log p differs by at most" in text
    assert "| edge removed, decoder kept | 0.8 |" in text
    assert "| n = 2, location-scale, flow | 2 steps, 300 pairs | 2 |" in text
    summary = results(out)["summary"]["one_edge"]
    assert f"rejects {summary['likelihood_ratio_rejections']} of {summary['neighbours']} (" in text
    assert summary["neighbours"] == 3 * 2


def test_a_finished_cell_is_not_run_again_and_tables_are_printed(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a finished cell was run again")

    for module, name in ((images, "_image"), (neighbours, "_cell"), (neighbours, "draw_natures"), (fits, "_fit")):
        monkeypatch.setattr(module, name, refuse)
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    theorem.main([*(part for part in ARGUMENTS if part != "--quiet"), "--out", str(out)])
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before
    text = capsys.readouterr().out
    assert "theorem: 3 models and their images" in text
    assert "neighbours by one edge" in text.lower()
    assert f"Results: {out}" in text


def test_a_missing_cell_is_run_again_with_the_same_result(out: Path) -> None:
    for name in ("power-edge-removed-decoder-kept-0.05.json", "images-000.json"):
        cell = out / "cells" / name
        before = cell.read_bytes()
        cell.unlink()
        theorem.run_parts(TINY, out, 2, quiet=True)
        assert cell.read_bytes() == before


def test_cells_of_other_sizes_are_not_passed_off(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theorem, "QUICK", replace(TINY, rows=101))
    with pytest.raises(ValueError, match=r"images-000\.json: Expected rows = 101; got 100\. Choose another --out"):
        theorem.main([*ARGUMENTS, "--out", str(out)])


def test_natures_are_the_first_seeds_in_which_every_change_is_possible() -> None:
    drawn = neighbours.draw_natures(12)
    seeds = [nature.seed for nature in drawn]
    assert seeds == sorted(set(seeds))
    assert {nature.model.decoder.kind for nature in drawn} == {"rotation", "chain"}
    assert {parameter.dtype for parameter in drawn[0].model.parameters()} == {torch.float64}
    for nature in drawn:
        edges = nature.model.scm.graph.edges()
        assert nature.edge in edges and nature.reversible in edges
        assert nature.gap not in edges and nature.gap[::-1] not in edges
        for change in neighbours.KINDS.values():
            change(nature, 0.4)


def test_random_natures_are_of_all_kinds() -> None:
    configs = [images.random_nature(seed)[0] for seed in range(40)]
    assert {config.n for config in configs} == {2, 3, 4, 5}
    assert {config.mechanism.kind for config in configs} == set(images.MECHANISMS)
    assert {config.decoder.kind for config in configs} == set(images.DECODERS)
    assert {config.noise.kind for config in configs} == set(images.NOISES)
    assert {config.thickness for config in configs} == {0.02}


def test_one_edge_neighbours_count_from_the_least_strength_on() -> None:
    from experiments._theorem_report import fit_summary, one_edge_summary

    def record(kind: str, strength: float, power: float) -> dict[str, Any]:
        sizes = {"sizes": [10, 20], "power": [0.0, power], "mmd_power": [0.0, 0.5], "natures": 10, "mmd_natures": 4}
        return {"kind": kind, "strength": strength, **sizes}

    cells = [record("edge removed", 0.1, 0.0), record("edge removed", 0.2, 0.9), record("edge added", 0.8, 1.0)]
    summary = one_edge_summary([*cells, record("target sets changed", 0.8, 0.0)])
    assert (summary["likelihood_ratio_rejections"], summary["neighbours"]) == (19, 20)
    assert (summary["mmd_rejections"], summary["mmd_neighbours"]) == (4, 8)
    assert (summary["least_power"], summary["pairs"]) == (0.9, 20)
    fits_seen = [{"gap": gap, "isomorphic": gap < 0.1, "distance": gap / 2} for gap in (0.01, 0.06, 0.5)]
    found = fit_summary(fits_seen)
    assert (found["near"], found["near_isomorphic"], found["near_largest_distance"]) == (1, 1, 0.005)
    assert (found["far"], found["far_isomorphic"], found["far_largest_distance"]) == (2, 1, 0.25)
    assert fit_summary(fits_seen[:1])["far_largest_distance"] is None


def test_help_lists_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        theorem.main(["--help"])
    assert "--seeds K" in capsys.readouterr().out
