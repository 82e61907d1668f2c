"""Refits to halves of the pairs: intervals that cover, alignment, files, and queries beyond the data."""

from __future__ import annotations

import shutil
import warnings
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from small import sampled

import lcm
from lcm.app.cli import main
from lcm.base.files import read_tensors, write_tensors
from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import ChainConfig
from lcm.data.pair_files import save_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism import Isomorphism
from lcm.model.elementwise import AffineMap
from lcm.model.noise import NormalNoise
from lcm.model.sensor_noise import SensorNoise
from lcm.report import draw_refits
from lcm.run.config import FitConfig
from lcm.run.fitting import fit_pairs
from lcm.run.refits import Refits, refit_interval
from lcm.run.refitting import _aligned, load_refits, save_refits
from lcm.run.result import FitResult
from lcm.run.runs import fit_run
from lcm.run.support import beyond_data

NATURE = build_nature(NatureConfig(3, ChainConfig()), 0)
DATA = sampled(NATURE, 1_000)
CONFIG = FitConfig(model="linear", n=3)
DO = lcm.Do({0: 0.5})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refits")
    save_pairs(folder / "pairs.npz", DATA)
    fit_run(lcm.load_pairs(folder / "pairs.npz"), folder / "run", CONFIG, progress=False)
    assert main(["refit", str(folder / "run"), str(folder / "pairs.npz"), "--halves", "4"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def refitted(run: Path) -> FitResult:
    return lcm.load(run)


def aligned(isomorphism: Isomorphism) -> FitResult:
    """The nature as a fit, and two refits that are isomorphic to it."""
    fitted = fit_pairs(DATA, replace(CONFIG, mechanisms=replace(CONFIG.mechanisms, steps=2)))
    image, order = isomorphism.apply(NATURE), np.argsort(isomorphism.permutation)
    strength = NATURE.graph.adjacency * np.arange(9.0).reshape(3, 3)
    found = replace(fitted.found, graph=NATURE.graph, edge_strength=strength)
    refits = _aligned(NATURE, [image, NATURE], [strength[np.ix_(order, order)], strength], DATA)
    return replace(fitted, model=NATURE, found=found, refits=refits)


def test_isomorphic_refits_give_one_answer_without_error() -> None:
    maps = AffineMap(3, torch.tensor([1.0, -2.0, 0.5]), torch.tensor([2.0, -0.5, 3.0]))
    found = aligned(Isomorphism((2, 0, 1), maps, AffineMap(3)))
    x = DATA.x[:100]
    answer = found.counterfactual(x, lcm.Do({0: 0.5, 2: -0.3}), interval=0.9)
    np.testing.assert_allclose(answer.estimate, NATURE.counterfactual(x, lcm.Do({0: 0.5, 2: -0.3})))
    assert np.abs(answer.high - answer.low).max() < 0.01 and found.standard_error(x).max() < 0.01
    np.testing.assert_array_equal(found.edge_interval(), np.stack(2 * [found.edge_strength], -1))


@pytest.mark.parametrize("optimisation", [0.0, 0.13, 1.0])
def test_the_interval_of_an_average_covers_as_often_as_it_says(optimisation: float) -> None:
    # of known law: averages of normal draws, of which refits see random halves, and an error of each optimisation
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1_500):
        values, errors = rng.standard_normal(60), optimisation * rng.standard_normal(9)
        halves = np.array([[values[rng.permutation(60)[:30]].mean() + errors[k]] for k in range(8)])
        low, high, _ = refit_interval(np.array([values.mean() + errors[8]]), halves, 0.9)
        covered.append(low[0] <= 0.0 <= high[0])
    # four standard errors of 1,500 draws
    assert abs(np.mean(covered) - 0.9) < 0.031


def test_answers_have_intervals_and_variables_have_errors(refitted: FitResult) -> None:
    x = DATA.x[:50]
    narrow, wide = (refitted.counterfactual(x, DO, interval=level) for level in (0.5, 0.95))
    np.testing.assert_array_equal(narrow.estimate, refitted.counterfactual(x, DO))
    assert (wide.low <= narrow.low).all() and (narrow.low <= narrow.estimate).all() and (wide.high >= narrow.high).all()
    # setting a variable without effects changes its own noise alone, which a linear fit finds exactly
    errors = [refitted.counterfactual(x, lcm.Do({i: 0.5}), interval=0.9).error.max() for i in range(3)]
    assert 1e-3 < max(errors) < 0.5 * DATA.x.std()
    assert refitted.standard_error(x).shape == (50, 3)
    intervals, adjacency = refitted.edge_interval(0.9), refitted.graph.adjacency
    assert (intervals[..., 0] >= 0).all() and (intervals[adjacency][:, 0] < intervals[adjacency][:, 1]).all()
    centres, widths = refitted.refits.band(refitted.model, DATA.x)
    assert centres.shape == widths.shape == (3, 20) and (np.diff(centres) > 0).all() and (widths >= 0).all()


def test_the_error_of_an_extreme_observation_is_no_larger_than_it_is(refitted: FitResult) -> None:
    # a map between variables rests on few rows at its ends, and must not explode beyond them
    far = 3.0 * DATA.x[np.abs(DATA.x).max(1).argsort()[-5:]]
    assert refitted.standard_error(far).max() < np.abs(refitted.encode(far)).max()


def test_a_saved_result_keeps_its_refits(refitted: FitResult, tmp_path: Path) -> None:
    fitted = fit_pairs(DATA, replace(CONFIG, mechanisms=replace(CONFIG.mechanisms, steps=2)))
    lcm.save(replace(fitted, refits=refitted.refits), tmp_path / "run")
    np.testing.assert_array_equal(lcm.load(tmp_path / "run").refits.images, refitted.refits.images)


def test_a_result_that_was_read_is_saved_as_a_copy_of_its_run(run: Path, refitted: FitResult, tmp_path: Path) -> None:
    lcm.save(refitted, tmp_path / "copy")
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    assert sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*.*")) == names
    again = lcm.load(tmp_path / "copy")
    assert again.graph == refitted.graph and again.certificate == refitted.certificate
    np.testing.assert_array_equal(
        again.counterfactual(DATA.x[:5], DO, interval=0.9).low,
        refitted.counterfactual(DATA.x[:5], DO, interval=0.9).low,
    )
    with pytest.raises(ValueError, match=r"Expected another folder than the one the result was read from; got the"):
        lcm.save(refitted, run, overwrite=True)
    with pytest.raises(ValueError, match=r"got a finished run \(use overwrite=True or another folder\)"):
        lcm.save(again, run)
    with pytest.raises(ValueError, match=r"Expected a result that holds its data or was read from a folder"):
        lcm.save(replace(refitted, folder=None), tmp_path / "none")


def test_observations_beyond_the_data_of_the_fit_are_a_note(refitted: FitResult) -> None:
    assert not any("outside the data" in note for note in refitted.certify(DATA).notes)
    x, x_tilde = DATA.x.copy(), DATA.x_tilde.copy()
    x[:40], x_tilde[:40] = 5.0 * x[:40], 5.0 * x_tilde[:40]
    notes = refitted.certify(x, x_tilde).notes
    assert any("observations have z" in note and "all rows and answers extrapolate there" in note for note in notes)


def test_intervals_have_the_kind_of_the_observations(refitted: FitResult) -> None:
    given = torch.from_numpy(DATA.x[:5])
    answer = refitted.counterfactual(given, DO, interval=0.9)
    assert all(isinstance(part, torch.Tensor) and part.shape == (5, 3) for part in answer)


def test_refits_come_back_and_are_replaced_as_a_whole(refitted: FitResult, run: Path) -> None:
    again = load_refits(run)
    np.testing.assert_array_equal(
        again.counterfactuals(DATA.x[:5], DO), refitted.refits.counterfactuals(DATA.x[:5], DO)
    )
    few = [part[:2] for part in (again.models, again.permutations, again.strengths)]
    two = Refits(*few, again.positions, again.images[:2])
    save_refits(run, two)
    assert sorted(path.name for path in (run / "refits").iterdir()) == [
        "0.safetensors",
        "1.safetensors",
        "maps.safetensors",
    ]
    save_refits(run, again)


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        ({"strengths": np.zeros((4, 2, 2))}, r"maps.safetensors: Expected maps of refits of one shape; got"),
        ({"positions": np.zeros((2, 3))}, r"maps.safetensors: Expected maps of refits of one shape; got"),
        ({"positions": np.full((105, 3), np.nan)}, r"maps.safetensors: Expected finite maps; got others"),
        ({"permutations": np.zeros((4, 3), np.int64)}, r"Expected refits of 3 variables, each once; got others"),
    ],
)
def test_broken_refits_are_refused(
    spoiled: dict[str, np.ndarray], message: str, run: Path, tmp_path: Path, refitted: FitResult
) -> None:
    arrays, _ = read_tensors(run / "refits" / "maps.safetensors")
    (tmp_path / "refits").mkdir()
    for k in range(4):
        refitted.refits.models[k].save(tmp_path / "refits" / f"{k}.safetensors")
    write_tensors(tmp_path / "refits" / "maps.safetensors", {**arrays, **spoiled})
    with pytest.raises(ValueError, match=message):
        load_refits(tmp_path)


def test_models_of_refits_are_read_only_for_an_answer_with_an_interval(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "refits" / "0.safetensors").write_bytes(b"no model")
    found = lcm.load(tmp_path / "run")
    assert found.counterfactual(DATA.x[:5], DO).shape == (5, 3) and found.edge_interval().shape == (3, 3, 2)
    with pytest.raises(ValueError, match=r"0\.safetensors: Expected"):
        found.counterfactual(DATA.x[:5], DO, interval=0.9)


def test_models_of_later_refits_are_not_mixed_with_earlier_maps(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    found, later = lcm.load(tmp_path / "run"), load_refits(run)
    save_refits(tmp_path / "run", replace(later, permutations=later.permutations[:, ::-1].copy()))
    with pytest.raises(ValueError, match=r"refits: Expected the refits of when the run was read; got later ones"):
        found.standard_error(DATA.x[:5])


def test_what_cannot_be_refitted_or_answered_is_refused(refitted: FitResult, run: Path) -> None:
    plain = replace(refitted, refits=None)
    with pytest.raises(ValueError, match=r"halves: Expected at least 4 refits; got 1\."):
        lcm.refit(refitted, DATA, halves=1)
    with pytest.raises(ValueError, match=r"pairs: Expected the pairs of the fit, as this result does not hold them"):
        lcm.refit(refitted)
    with pytest.raises(ValueError, match=r"Expected a result with refits; got one without"):
        plain.counterfactual(DATA.x, DO, interval=0.9)
    with pytest.raises(ValueError, match=r"Expected a result with refits; got one without"):
        plain.standard_error(DATA.x)
    with pytest.raises(ValueError, match=r"Expected a result with refits; got one without"):
        plain.edge_interval()
    with pytest.raises(ValueError, match=r"interval: Expected a level strictly between 0 and 1; got 90"):
        refitted.counterfactual(DATA.x, DO, interval=90)
    with pytest.raises(ValueError, match=r"interval: Expected numbers as values of the intervention"):
        refitted.refits.translated(lcm.Do({0: NormalNoise(1)}))
    with pytest.raises(ValueError, match=r"Expected intervention targets in 0\.\.2; got 3\."):
        refitted.refits.translated(lcm.Do({3: 0.0}))


def test_a_query_beyond_the_data_is_answered_with_a_warning(refitted: FitResult) -> None:
    low, high = refitted.support[1]
    inside, outside = lcm.Do({1: float(high)}), lcm.Do({1: float(high + 0.5 * (high - low))})
    assert beyond_data(refitted, DATA.x[:50], inside) == []
    with pytest.warns(UserWarning, match=r"z1 = .* lies outside the data .*, by 0.50 times their width"):
        refitted.counterfactual(DATA.x[:50], outside)
    with pytest.warns(UserWarning, match=r"z1 = .* lies outside the data .*, by 0.50 times their width"):
        refitted.sample(5, do=outside)
    with pytest.warns(UserWarning, match=r"1 observations have z\d outside the data of the fit"):
        refitted.counterfactual(np.concatenate([DATA.x[:1], 20 * DATA.x[1:2]]), inside)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replace(refitted, support=None).counterfactual(DATA.x[:50], outside)


def test_the_support_is_that_of_both_observations(refitted: FitResult) -> None:
    z = np.concatenate([refitted.encode(DATA.x), refitted.encode(DATA.x_tilde)])
    outside = (z < refitted.support[:, 0]) | (z > refitted.support[:, 1])
    assert (outside.mean(0) <= 2e-3).all() and (np.diff(refitted.support) > 0).all()


def test_commands_refit_and_write_intervals(
    run: Path, refitted: FitResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, out = run.parent / "pairs.npz", tmp_path / "answers.safetensors"
    asked = ["sample", str(run), "--from", str(pairs), "--n", "20", "--do", "0=0.5", "--interval", "0.9", "--out"]
    assert main([*asked, str(out)]) == main([*asked, str(tmp_path / "answers.csv")]) == 0
    written, metadata = read_tensors(out)
    expected = refitted.counterfactual(DATA.x[:20], DO, interval=0.9)
    np.testing.assert_allclose(written["x_tilde_low"], expected.low, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(written["x_tilde_high"], expected.high, rtol=1e-5, atol=1e-6)
    assert metadata["interval"] == "0.9" and (run / "figures" / "refits.png").stat().st_size > 5_000
    header = (tmp_path / "answers.csv").read_text().splitlines()[0].split(",")
    assert {"x0_tilde_low", "x2_tilde_high", "x1_tilde_error"} <= set(header)
    capsys.readouterr()
    assert main(["sample", str(run), "--n", "5", "--do", "0=99", "--out", str(tmp_path / "far.npz")]) == 0
    assert "Warning: z0 = 99 lies" in capsys.readouterr().err


@pytest.mark.usefixtures("laid_out")
def test_the_figure_of_refits_has_the_names_of_now(run: Path, refitted: FitResult, tmp_path: Path) -> None:
    source = tmp_path / "run"
    shutil.copytree(run, source)
    assert refitted.refits is not None
    figure = source / "figures" / "refits.png"
    stored = lcm.load(source).refits
    assert stored is not None and stored.drawn is not None and refitted.refits.drawn is not None
    np.testing.assert_array_equal(stored.drawn.half_widths, refitted.refits.drawn.half_widths)
    drawn = []
    for name in ("middle var", "other"):
        lcm.name_variables(source, {1: name})
        drawn.append(figure.read_bytes())
    assert drawn[0] != drawn[1]
    maps, _ = read_tensors(source / "refits" / "maps.safetensors")
    broken = {
        "Expected both ends of a band": {"half_widths": maps["half_widths"][:1]},
        "Expected a finite band": {"centres": np.full_like(maps["centres"], np.nan)},
    }
    for message, change in broken.items():
        write_tensors(source / "refits" / "maps.safetensors", {**maps, **change}, {"schema": "1"})
        with pytest.raises(ValueError, match=message):
            lcm.load(source)


def test_a_long_name_is_whole_below_a_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr("lcm.report.refits.save_figure", lambda figure, path: kept.append(figure))
    names = ["middle var", "a" * 40, "angle of the polariser at the far end it", "z3"]
    draw_refits(tmp_path / "a.png", np.sort(np.random.default_rng(0).normal(size=(4, 9))), np.ones((4, 9)), names)
    (figure,) = kept
    figure.draw_without_rendering()
    width = figure.bbox.width
    boxes = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert boxes[0].x0 >= 0 and boxes[-1].x1 <= width
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "RUN", "--n", "5", "--interval", "0.9"], "--interval: Expected --do with it; got none"),
        (["sample", "RUN", "--n", "5", "--do", "0=1", "--interval", "2"], "--interval: Expected a level strictly"),
        (
            ["sample", "MODEL", "--n", "5", "--do", "0=1", "--interval", "0.9"],
            "Expected a run with refits for --interval",
        ),
        (["refit", "RUN", "PAIRS", "--halves", "1"], "--halves: Expected at least 4 refits; got 1"),
        (["refit", "RUN", "OTHERS"], "Expected the pairs of the fit in"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_pairs(tmp_path / "others.npz", PairData(x=DATA.x[:500], x_tilde=DATA.x_tilde[:500]))
    named = {"RUN": run, "MODEL": run / "model.safetensors", "PAIRS": run.parent / "pairs.npz"}
    named["OTHERS"] = tmp_path / "others.npz"
    out = ["--out", str(tmp_path / "out.npz")] if arguments[0] == "sample" else []
    assert main([str(named.get(each, each)) for each in arguments] + out) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and message in errors[0]


@pytest.mark.parametrize("kind", ["array", "tensor", "float64"])
def test_an_answer_and_its_errors_are_of_one_dtype(kind: str, refitted: FitResult) -> None:
    x = {"array": DATA.x, "tensor": torch.from_numpy(DATA.x), "float64": DATA.x.astype(np.float64)}[kind][:5]
    answer = refitted.counterfactual(x, DO, interval=0.9)
    assert {part.dtype for part in answer} == {refitted.counterfactual(x, DO).dtype}
    assert refitted.standard_error(x).dtype == refitted.encode(x).dtype


def test_an_interval_says_that_it_leaves_sensor_noise_out(refitted: FitResult) -> None:
    noisy = replace(refitted, model=deepcopy(refitted.model))
    assert isinstance(noisy.model, lcm.LatentCausalModel)
    noisy.model.sensor_noise = SensorNoise(torch.full((3,), 0.1), torch.full((3,), 0.1))
    with pytest.warns(UserWarning, match="sensor noise, which the interval does not count"):
        noisy.counterfactual(DATA.x[:5], DO, interval=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noisy.counterfactual(DATA.x[:5], DO)
        refitted.counterfactual(DATA.x[:5], DO, interval=0.9)
