"""Unpaired environments: exact moments give the exact unmixing, and the experiment runs from end to end."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments import _unpaired_fits
from experiments._unpaired import (
    Differences,
    Unpaired,
    contrastive_differences,
    fit_unpaired,
    fourier_differences,
    gaussian_differences,
    recover_unmixing,
)
from experiments._unpaired_fits import Request, draw_nature, environments, run_cell
from experiments.unpaired import main
from lcm.base.files import read_json
from lcm.data.nature.build import torch_generator
from lcm.data.sample import sample_data

pytestmark = pytest.mark.usefixtures("cheap_scores")

Array = NDArray[np.float64]
NO_WAVES = fourier_differences(np.zeros((1, 0)))


class Linear:
    """A random linear causal model of n variables in a random order, its mixing and exact covariances of x."""

    def __init__(self, n: int, seed: int) -> None:
        draw = np.random.default_rng(seed)
        order = draw.permutation(n)
        early = np.argsort(order)[:, None] < np.argsort(order)[None, :]
        edges = early & (draw.random((n, n)) < 0.7)
        self.weights = np.where(edges, draw.choice([-1.0, 1.0], (n, n)) * draw.uniform(0.5, 1.5, (n, n)), 0.0)
        self.variances, self.imposed = draw.uniform(0.5, 2.0, n), draw.uniform(3.0, 6.0, n)
        self.mixing = draw.normal(size=(n, n))
        self.n = n
        self.covariances = np.stack([self.covariance(None), *(self.covariance(m) for m in range(n))])

    def covariance(self, target: int | None) -> Array:
        weights, variances = self.weights.copy(), self.variances.copy()
        if target is not None:
            weights[:, target], variances[target] = 0.0, self.imposed[target]
        solved = self.mixing @ np.linalg.inv(np.eye(self.n) - weights.T)
        found: Array = solved @ np.diag(variances) @ solved.T
        return found

    def tables(self, rows: int, seed: int = 0) -> list[Array]:
        """Normal tables whose sample covariances are exactly those of the model."""
        draw, found = np.random.default_rng(seed), []
        for covariance in self.covariances:
            table = draw.normal(size=(rows, self.n))
            table -= table.mean(0)
            table = table @ np.linalg.inv(np.linalg.cholesky(np.cov(table.T))).T
            found.append(table @ np.linalg.cholesky(covariance).T)
        return found


def assert_diagonal(matrix: Array) -> None:
    np.testing.assert_allclose(matrix - np.diag(np.diag(matrix)), 0.0, atol=1e-6)
    assert np.abs(np.diag(matrix)).min() > 1e-3


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_exact_moments_give_the_rows_of_the_unmixing_and_a_causal_order(n: int, seed: int) -> None:
    model = Linear(n, seed)
    precisions = np.linalg.inv(model.covariances)
    changes = precisions[1:] - precisions[0]
    unmixing, order = recover_unmixing(changes @ model.covariances[0] @ changes, model.covariances)
    assert_diagonal(unmixing @ model.mixing)
    place = np.argsort(order)
    assert (place[:, None] < place[None, :])[model.weights != 0.0].all()
    np.testing.assert_allclose(np.diag(unmixing @ model.covariances[0] @ unmixing.T), 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_slopes_are_minus_the_weights_over_the_variance_of_the_noise(seed: int) -> None:
    model = Linear(4, seed)
    observations, *tables = model.tables(400)
    found = fit_unpaired(observations, tables, gaussian_differences)
    assert_diagonal(found.unmixing @ model.mixing)
    # in units of standard deviations, and with the signs of the rows
    scale = 1.0 / np.diag(found.unmixing @ model.mixing)
    expected = -model.weights / model.variances * scale[:, None] * scale[None, :]
    off = ~np.eye(4, dtype=bool)
    tested = np.argsort(found.order)[:, None] < np.argsort(found.order)[None, :]
    # biased covariances of the score, unbiased ones of the tables
    np.testing.assert_allclose(found.slopes[tested], (expected * 400 / 399)[tested], rtol=1e-6, atol=1e-6)
    assert (found.p_values[off & ~tested] == 1.0).all()


def test_edges_of_enough_rows_are_the_true_ones() -> None:
    model = Linear(4, 1)
    observations, *tables = model.tables(20_000)
    found = fit_unpaired(observations, tables, gaussian_differences)
    np.testing.assert_array_equal(found.adjacency(0.01), model.weights != 0.0)


def test_only_edges_along_the_order_are_tested_and_the_rate_counts() -> None:
    p_values = np.array([[1.0, 0.01, 0.04], [1.0, 1.0, 0.9], [0.0, 0.0, 1.0]])
    found = Unpaired(np.eye(3), (0, 1, 2), np.zeros((3, 3)), p_values)
    assert np.argwhere(found.adjacency(0.1)).tolist() == [[0, 1], [0, 2]]
    assert np.argwhere(found.adjacency(0.05)).tolist() == [[0, 1]]
    assert not Unpaired(np.eye(1), (0,), np.zeros((1, 1)), np.ones((1, 1))).adjacency(0.5).any()


def test_without_edges_few_are_found() -> None:
    """400 tests at 5 % each, by the jackknife."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(400):
        tables = [draw.normal(size=(200, 2)) * scale for scale in ([1.0, 1.0], [2.0, 1.0], [1.0, 2.0])]
        p_values = fit_unpaired(tables[0], tables[1:], gaussian_differences).p_values
        found.append(p_values[p_values < 1.0].min() < 0.05)
    assert 0.01 < np.mean(found) < 0.09


def test_score_matching_without_waves_is_the_normal_estimate() -> None:
    observations, *tables = Linear(3, 0).tables(300)
    points = observations[:50]
    no_waves = fourier_differences(np.zeros((3, 0)))
    expected = gaussian_differences(observations, tables, points)
    np.testing.assert_allclose(no_waves(observations, tables, points), expected, rtol=1e-6, atol=1e-8)


def test_waves_bring_the_score_nearer_where_x_is_not_normal() -> None:
    draw = np.random.default_rng(0)
    normal = draw.normal(size=(20_000, 1))
    modes = draw.choice([-1.5, 1.5], (20_000, 1)) + draw.normal(size=(20_000, 1))
    points = np.linspace(-3.0, 3.0, 40)[:, None]
    # of the half-half mixture of N(±1.5, 1), minus that of N(0, 1)
    true = 1.5 * np.tanh(1.5 * points)
    waves = fourier_differences(np.array([[0.3, 0.6, 1.0, 1.5]]))(normal, [modes], points)[0]
    plain = NO_WAVES(normal, [modes], points)[0]
    assert np.abs(waves - true).max() < 0.35 < 0.55 < np.abs(plain - true).max()


def test_log_odds_have_the_gradient_of_the_score_difference() -> None:
    observations, *tables = Linear(2, 3).tables(40_000)
    points = observations[:200]
    expected = gaussian_differences(observations, tables, points)
    found = contrastive_differences(observations, tables, points)
    assert np.abs(found - expected).mean() < 0.05 * np.abs(expected).mean()


ESTIMATORS: dict[str, Differences] = {"normal": gaussian_differences, "contrastive": contrastive_differences}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_units_of_x_do_not_count(name: str) -> None:
    # whose moments are not exact, so that the order is no matter of rounding
    observations, *tables = (table[:400] for table in Linear(3, 2).tables(500))
    scale = np.array([1.0, 10.0, 0.1])
    first = fit_unpaired(observations, tables, ESTIMATORS[name])
    other = fit_unpaired(7.0 + observations * scale, [7.0 + table * scale for table in tables], ESTIMATORS[name])
    assert first.order == other.order
    np.testing.assert_allclose(np.abs(first.unmixing), np.abs(other.unmixing * scale), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(first.p_values, other.p_values, rtol=1e-3, atol=1e-9)


BAD: dict[str, tuple[list[tuple[int, ...]], int, str]] = {
    "one environment less": ([(20, 2), (20, 2)], 2, r"Expected observations \(N, n\) and n environments"),
    "another width": ([(20, 2), (20, 2), (20, 3)], 2, r"Expected observations \(N, n\) and n environments"),
    "one dimension": ([(20,), (20, 2)], 2, r"Expected observations \(N, n\) and n environments"),
    "one block": ([(20, 2)] * 3, 1, "Expected at least 2 blocks; got 1"),
    "few rows": ([(20, 2), (20, 2), (3, 2)], 2, "Expected at least 4 rows in every table"),
    "fewer rows than blocks": ([(20, 2), (20, 2), (9, 2)], 10, "Expected at least 10 rows in every table"),
}


@pytest.mark.parametrize("name", BAD)
def test_tables_that_do_not_fit_are_an_error(name: str) -> None:
    shapes, blocks, message = BAD[name]
    tables = [np.random.default_rng(0).normal(size=shape) for shape in shapes]
    with pytest.raises(ValueError, match=message):
        fit_unpaired(tables[0], tables[1:], gaussian_differences, blocks)


def test_environments_hold_what_is_after_an_intervention_on_their_own_target() -> None:
    nature = draw_nature("linear", 3, 0)
    before, after = (sample_data(nature, 200, torch_generator(0, name)) for name in ("before", "after"))
    observations, tables = environments(before, after)
    np.testing.assert_array_equal(observations, before.x)
    assert after.targets is not None
    for m, table in enumerate(tables):
        np.testing.assert_array_equal(table, after.x_tilde[after.targets[:, m] == 1])
    assert sum(map(len, tables)) == 200
    both = after.targets.copy()
    both[0] = True
    with pytest.raises(ValueError, match="Expected pairs with one target each; got others"):
        environments(before, _with_targets(after, both))


def _with_targets(data: Any, targets: Any) -> Any:
    return replace(data, targets=targets)


def test_imposed_values_have_the_law_of_their_kind() -> None:
    for kind, deviation in {"linear": 2.0, "location-scale": 2.0, "linear, same law": 1.0}.items():
        pairs = sample_data(draw_nature(kind, 3, 1), 20_000, torch_generator(0, "pairs"))
        assert pairs.z_tilde is not None and pairs.targets is not None
        assert pairs.z_tilde[pairs.targets.astype(bool)].std() == pytest.approx(deviation, rel=0.03)


def test_every_method_finds_the_variables_of_linear_natures(tmp_path: Path) -> None:
    for method in ("linear", "score, normal", "contrastive"):
        assert run_cell(tmp_path, Request("linear", 3, 2, 20_000, method))["mcc"] > 0.98, method


def test_too_few_pairs_are_recorded_as_refused(tmp_path: Path) -> None:
    record = run_cell(tmp_path, Request("linear", 5, 0, 500, "linear"))
    assert record["mcc"] is record["shd"] is None and re.search("at least 300 pairs", record["refused"])


@pytest.mark.usefixtures("laid_out")
def test_the_experiment_runs_and_does_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ["linear", "score, normal", "score, waves", "contrastive"]
    argv = ["--quick", "--quiet", "--pairs", "400", "--out", str(tmp_path), "--methods", *methods]
    main(argv)
    content = read_json(tmp_path / "results.json")
    assert {row["method"] for row in content["summary"]} == set(methods)
    assert {cell["observations"] for cell in content["cells"]} == {800}
    assert all(cell["fitted"] == (cell["mcc"] is not None) for cell in content["cells"])
    assert (tmp_path / "unpaired.png").stat().st_size > 10_000
    monkeypatch.setattr(_unpaired_fits, "sample_data", None)
    main(argv)
    assert read_json(tmp_path / "results.json") == content
