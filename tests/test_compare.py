"""`lcm compare`, and the agreement of restarts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from command_line import called, refused
from small import SHORT, fit_in, small_data, thick_nature

from lcm.base.files import read_json
from lcm.data.pair_files import save_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism import find
from lcm.learn.restarts import Restart, compare_restarts
from lcm.model.graph import Graph
from lcm.model.storage import save_model
from lcm.report import draw_comparison
from lcm.run.report import agreement_text, fit_report, fit_text
from lcm.run.result import FitResult
from lcm.run.runs import load_run

MORE_STEPS = replace(
    SHORT,
    noise_encoder=replace(SHORT.noise_encoder, bins=8, steps=205, marginal_steps=205),
    mechanisms=replace(SHORT.mechanisms, steps=100),
)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two fits of the linear nature with other seeds, on more pairs than they need."""
    folder = tmp_path_factory.mktemp("runs")
    from lcm.run.runs import fit_run

    for seed in (0, 1):
        fit_run(
            small_data("linear", 4000), folder / str(seed), replace(MORE_STEPS, seed=seed), device="cpu", progress=False
        )
    return folder / "0", folder / "1"


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> FitResult:
    """A fit without restarts."""
    return fit_in(tmp_path_factory.mktemp("single") / "run")


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "test.safetensors"
    data = small_data("linear", 2000, seed=0)
    save_pairs(path, PairData(data.x, data.x_tilde))
    return path


def test_two_short_fits_agree_in_their_parts_and_not_in_their_likelihoods(
    two_runs: tuple[Path, Path], data_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "compared.json"
    said = called(capsys, "compare", *two_runs, data_path, "--json", out)
    assert "Verdict: NOT isomorphic" in said and f"figure: {out.with_suffix('.png')}" in said
    # what it means stands beside the verdict
    (at,) = (k for k, line in enumerate(said.splitlines()) if line.startswith("Verdict"))
    meaning = " ".join(said.splitlines()[at + 1 : at + 3])
    assert meaning.startswith("All parts correspond within their tolerances (variables by maps of R2 >= 0.")
    assert "graphs equal), but not the likelihoods" in meaning and "the same in both" in meaning
    numbers = read_json(out)
    assert (
        numbers["part_reasons"] == []
        and len(numbers["likelihood_reasons"]) > 0
        and min(numbers["r2"]) > 0.99
        and max(numbers["leakage"]) < 0.01
    )
    assert numbers["a"] == str(two_runs[0]) and numbers["graphs_equal"] is True
    assert out.with_suffix(".png").stat().st_size > 10_000


def test_the_figure_goes_into_the_first_run_or_where_it_is_wanted(
    two_runs: tuple[Path, Path], data_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "compare", *two_runs, data_path)
    assert (two_runs[0] / "figures" / "compared_with_1.png").is_file()
    page = tmp_path / "pages" / "compared.html"
    called(capsys, "compare", *two_runs, data_path, "--figure", tmp_path / "f.png", "--html", page, "--quiet")
    html = page.read_text(encoding="utf-8")
    assert "Verdict: " in html and 'src="data:image/webp' in html and "Tolerances: " in html
    assert (tmp_path / "f.png").is_file()
    model = two_runs[0] / "model.safetensors"
    said = called(capsys, "compare", model, model, data_path)
    assert "figure" not in said and "difference 0.0000" in said and "Verdict: isomorphic" in said


def test_bad_input_is_one_line(
    two_runs: tuple[Path, Path], data_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(thick_nature(3), tmp_path / "three.safetensors")
    message = refused(capsys, "compare", two_runs[0], tmp_path / "three.safetensors", data_path)
    assert "Expected two models of the same observations; got dimensions 2 (A) and 3 (B)." in message
    assert "Expected a run folder" in refused(capsys, "compare", tmp_path / "none", two_runs[1], data_path)
    assert "Expected a .html file" in refused(capsys, "compare", *two_runs, data_path, "--html", tmp_path / "f.htm")
    assert "Expected a .png file" in refused(capsys, "compare", *two_runs, data_path, "--figure", tmp_path / "f.txt")
    few = tmp_path / "few.safetensors"
    data = small_data("linear", 60)
    save_pairs(few, PairData(data.x, data.x_tilde))
    assert "Expected at least 100 pairs" in refused(capsys, "compare", *two_runs, few)


def test_restarts_are_compared_with_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_PROBES", 500)
    result = fit_in(tmp_path / "run", "linear", replace(MORE_STEPS, restarts=3))
    assert [restart.restart for restart in result.other_restarts] == [r for r in range(3) if r != result.restart]
    saved = load_run(tmp_path / "run").fit
    assert [restart["restart"] for restart in saved["other_restarts"]] == [
        restart.restart for restart in result.other_restarts
    ]
    assert saved["other_restarts"][0]["distance"] == result.other_restarts[0].distance and isinstance(
        saved["doubts"], list
    )
    assert "at equal thickness; " in (tmp_path / "run" / "report.md").read_text()


def test_a_model_beside_itself_and_beside_another(two_runs: tuple[Path, Path]) -> None:
    first, second = (load_run(folder).model for folder in two_runs)
    data = small_data("linear", 1000)
    (same,) = compare_restarts([first, first], 1, data, data)
    assert same == Restart(0, 0.0, 0.0, True, True, same.distance, ()) and same.as_likely and same.distance < 1e-6
    (other,) = compare_restarts([first, second], 0, data, data)
    assert other.restart == 1 and other.isomorphic


def test_a_restart_that_went_wrong_does_not_cost_the_others(two_runs: tuple[Path, Path]) -> None:
    first, broken = (load_run(folder).model for folder in two_runs)
    broken.scm.mechanism.get_parameter("bias").fill_(float("nan"))
    data = small_data("linear", 1000)
    (restart,) = compare_restarts([first, broken], 0, data, data)
    assert not restart.as_likely and not restart.isomorphic and "Expected finite encodings" in restart.reasons[0]


@pytest.mark.parametrize(
    ("other_restarts", "sentence"),
    [
        ((), ""),
        (((2.0, True),), "No other restart clearly reaches the likelihood of the best"),
        (
            ((0.0, True), (0.01, True)),
            "3 of 3 restarts reach the same likelihood and have the same variables and graph",
        ),
        (
            ((0.0, True), (9.0, False)),
            "2 of 3 restarts reach the same likelihood and have the same variables and graph",
        ),
        (((0.0, True), (0.0, False)), "1 of the 2 others agree with the best one. See the certificate."),
    ],
)
def test_the_agreement_is_one_sentence(
    other_restarts: tuple[tuple[float, bool], ...], sentence: str, single: FitResult
) -> None:
    reasons = ("The graphs differ: only in A z0 -> z1.",)
    found = tuple(
        Restart(index + 1, worse, 0.01, same, same, 0.1, () if same else reasons)
        for index, (worse, same) in enumerate(other_restarts)
    )
    result = replace(single, other_restarts=found)
    assert sentence in agreement_text(result)
    for text in (fit_report(result), fit_text(result)):
        assert sentence in text
        assert ("do not identify the model" in text) == any(worse < 1 and not same for worse, same in other_restarts)


@pytest.mark.usefixtures("laid_out")
def test_figures_of_many_variables_and_of_no_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "_PROBES", 500)
    from lcm.data.nature.build import build_nature
    from lcm.data.nature.config import NatureConfig
    from lcm.isomorphism import find_isomorphism
    from lcm.isomorphism.views import encoded_variables

    nature = build_nature(NatureConfig(13), 0)
    from small import sampled

    data = sampled(nature, 500)
    found = find_isomorphism(nature, nature, data)
    z = encoded_variables(nature, data)
    draw_comparison(tmp_path / "many.png", found, (z, z), (nature.scm.graph, nature.scm.graph))
    draw_comparison(tmp_path / "none.png", found, (z, z))
    assert (tmp_path / "none.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match=r"Expected two tables of 13 variables; got shapes \(500, 13\) and \(500, 3\)"):
        draw_comparison(tmp_path / "bad.png", found, (z, z[:, :3]), (Graph([[0]]), Graph([[0]])))
