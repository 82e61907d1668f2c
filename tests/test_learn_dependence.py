"""The ancestor tests: their p-values without dependence, what they detect, and their algebra."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from laws import PERMUTATION, generator, normal
from scipy.stats import chi2, kstest, ncf
from torch import Tensor

from lcm.model.noise import LaplaceNoise, Noise, NormalNoise, SkewedNoise, UniformNoise
from lcm.readout.dependence import (
    NEGLIGIBLE,
    Basis,
    Dependence,
    Regression,
    allowed_share,
    bearable_degree,
    concentration_of,
    independence_tests,
    standardise,
    tail,
    trace_share,
)

pytestmark = pytest.mark.usefixtures("float64")

RESPONSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": lambda cause, noise: 0.3 * cause + noise,
    "quadratic": lambda cause, noise: 0.3 * cause.square() + noise,
    "scale": lambda cause, noise: torch.exp(0.4 * cause) * noise,
}
UNRELATED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "independent": lambda cause, noise: noise,
    "misspecified": lambda cause, noise: torch.sin(3.0 * cause) + noise,
    "heteroscedastic": lambda cause, noise: torch.exp(0.8 * cause) * noise,
}
LAWS: list[Callable[[int], Noise]] = [NormalNoise, LaplaceNoise, SkewedNoise, UniformNoise]


def none(n: int) -> Tensor:
    return torch.zeros(n, n)


@pytest.mark.parametrize("name", UNRELATED)
@pytest.mark.parametrize("rows", [100, 500])
def test_p_values_are_uniform_without_dependence(name: str, rows: int) -> None:
    trials, n = 150, 3
    mean, spread = [], []
    for trial in range(trials):
        source = generator(trial)
        predictors, noise = (LAWS[trial % len(LAWS)](n).sample(rows, source) for _ in range(2))
        responses = noise.clone()
        responses[:, 0] = UNRELATED[name](predictors[:, 1], noise[:, 0])
        found = independence_tests(responses, predictors, torch.ones(rows, n), none(n))
        mean.append(float(found.mean[2, 0]))
        spread.append(float(found.spread[2, 0]))
    for p_values in (mean, spread):
        # Kolmogorov's bound on how far the p-values lie above the diagonal.
        assert kstest(p_values, "uniform", alternative="greater").pvalue > 1e-3
        assert np.mean(np.array(p_values) < 0.01) < 0.05


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("seed", range(3))
def test_dependence_is_detected(name: str, seed: int) -> None:
    predictors, noise = normal(1000, 3, seed=seed), normal(1000, 3, seed=100 + seed)
    responses = noise.clone()
    responses[:, 2] = RESPONSES[name](predictors[:, 0], noise[:, 2])
    found = independence_tests(responses, predictors, torch.ones(1000, 3), none(3))
    assert (found.p_value() < 1e-4).nonzero().tolist() == [[0, 2]]
    p_value = found.spread if name == "scale" else found.mean
    assert p_value[0, 2] < 1e-4
    assert found.statistic[0, 2] == found.statistic.max()


def test_negligible_dependence_counts_as_none() -> None:
    rows, effect = 200_000, 0.015
    predictors = normal(rows, 2)
    responses = normal(rows, 2, seed=5)
    responses[:, 1] += effect * predictors[:, 0]
    weights = torch.ones(rows, 2)
    assert independence_tests(responses, predictors, weights, none(2)).p_value()[0, 1] < 1e-6
    allowed = independence_tests(responses, predictors, weights, torch.full((2, 2), NEGLIGIBLE**2))
    assert allowed.p_value()[0, 1] > 0.05


def test_the_share_that_an_inexact_encoder_may_leave_is_measured() -> None:
    rows = 40_000
    noise = normal(rows, 3)
    target = torch.randint(3, (rows,), generator=generator())
    weights = torch.nn.functional.one_hot(target, 3).to(noise)
    exact = torch.where(weights > 0.5, normal(rows, 3, seed=7), noise)
    assert torch.equal(trace_share(noise, exact, weights), none(3))
    assert torch.equal(allowed_share(noise, exact, weights), torch.full((3, 3), NEGLIGIBLE**2))
    # an encoder that mixes some of variable 0 into variable 1, in both encodings
    mixed, mixed_tilde = noise.clone(), exact.clone()
    mixed[:, 1] += 0.2 * noise[:, 0]
    mixed_tilde[:, 1] += 0.2 * exact[:, 0]
    share = trace_share(mixed, mixed_tilde, weights)
    assert share[0, 1] == pytest.approx(0.04 / 1.04, rel=0.05)
    assert share[[0, 1, 1, 2, 2], [2, 0, 2, 0, 1]].max() == 0.0
    found = independence_tests(mixed_tilde, mixed, weights, allowed_share(mixed, mixed_tilde, weights))
    assert found.p_value()[0, 1] > 0.01
    assert independence_tests(mixed_tilde, mixed, weights, none(3)).p_value()[0, 1] < 1e-10


def test_a_response_has_nothing_to_say_of_itself() -> None:
    found = independence_tests(normal(200, 3), normal(200, 3, seed=5), torch.ones(200, 3), none(3))
    assert torch.equal(found.p_value().diagonal(), torch.ones(3))
    assert torch.equal(found.statistic.diagonal(), torch.zeros(3))


@pytest.mark.parametrize(("rows", "degree"), [(14, 0), (15, 1), (99, 1), (100, 2), (139, 2), (140, 3)])
def test_the_degree_is_what_the_rows_can_bear(rows: int, degree: int) -> None:
    assert bearable_degree(rows, 2) == degree
    assert bearable_degree(rows, 0) == 0
    weights = torch.zeros(150, 3)
    weights[:rows, 1] = 1.0
    found = independence_tests(normal(150, 3), normal(150, 3, seed=5), weights, none(3)).statistic > 0.0
    assert found[:, 1].tolist() == [degree > 0, False, degree > 0]
    assert not found[:, [0, 2]].any()


def test_rows_that_are_probably_no_target_do_not_count() -> None:
    responses, predictors = normal(400, 3), normal(400, 3, seed=5)
    weights = torch.rand(400, 3, generator=generator())
    found = independence_tests(responses, predictors, weights, none(3))
    # Their values do not matter, and neither does how probable the others are.
    responses[weights <= 0.5] = 1e3
    again = independence_tests(responses, predictors, (weights > 0.5).double(), none(3))
    assert torch.equal(found.mean, again.mean) and torch.equal(found.spread, again.spread)


def test_relabelled_variables_give_relabelled_p_values() -> None:
    responses, predictors = normal(500, 4), normal(500, 4, seed=5)
    weights = (torch.rand(500, 4, generator=generator()) < 0.7).double()
    slack = 0.001 * torch.rand(4, 4, generator=generator())
    found = independence_tests(responses, predictors, weights, slack)
    order = list(PERMUTATION)
    moved = [part[:, order] for part in (responses, predictors, weights)]
    relabelled = independence_tests(moved[0], moved[1], moved[2], slack[order][:, order])
    for before, after in zip(found, relabelled, strict=True):
        torch.testing.assert_close(after, before[order][:, order], rtol=1e-6, atol=1e-8)


def test_units_do_not_matter() -> None:
    responses, predictors = normal(500, 3), normal(500, 3, seed=5)
    found = independence_tests(responses, predictors, torch.ones(500, 3), none(3))
    moved = independence_tests(-3.0 * responses + 1.0, 0.1 * predictors - 7.0, torch.ones(500, 3), none(3))
    torch.testing.assert_close(moved.p_value(), found.p_value())


@pytest.mark.parametrize("degree", [1, 3])
def test_the_algebra_is_that_of_refits(degree: int) -> None:
    m, k = 103, 3
    predictors = normal(m, k)
    design = Basis(predictors, degree)(predictors)
    regression = Regression(design, degree)
    responses = normal(m, k, seed=5) + predictors
    coefficients, residual = regression.fit(responses)
    torch.testing.assert_close(coefficients, torch.linalg.lstsq(design, responses).solution, rtol=1e-5, atol=1e-6)
    variance = residual.square().sum(0) / regression.degrees_of_freedom
    statistic = regression.wald(coefficients, regression.covariance * variance.view(-1, 1, 1))
    influences = regression.influences(coefficients, residual)
    robust = torch.einsum("mkd,mke->kde", influences, influences)
    for j in range(k):
        kept = [c for c in range(design.shape[1]) if not j * degree <= c < (j + 1) * degree]
        others = design[:, kept]

        def without(values: Tensor, others: Tensor = others) -> Tensor:
            """What a regression on all other blocks leaves."""
            return values - others @ torch.linalg.lstsq(others, values).solution

        block = without(design[:, j * degree : (j + 1) * degree])
        torch.testing.assert_close(regression.unexplained()[:, j], block[:, 0], rtol=1e-5, atol=1e-5)
        restricted = without(responses[:, j : j + 1])
        gain = (restricted.square().sum() - residual[:, j].square().sum()) / variance[j]
        torch.testing.assert_close(statistic[j], gain, rtol=1e-4, atol=1e-6)
        # of equal variances without bias: what the regression on the others leaves of each row
        left = 1.0 - (others * torch.linalg.pinv(others).T).sum(1, keepdim=True)
        rows = (block @ torch.linalg.inv(block.T @ block)) * restricted / left.sqrt()
        torch.testing.assert_close(robust[j], rows.T @ rows, rtol=1e-4, atol=1e-9)


def test_the_basis_has_the_slopes_of_its_values() -> None:
    predictors = 2.0 * normal(50, 2) + 3.0
    basis = Basis(predictors, 3)
    points = predictors.clone().requires_grad_()
    values = basis(points)
    for column in range(6):
        (expected,) = torch.autograd.grad(values[:, column].sum(), points, retain_graph=True)
        torch.testing.assert_close(basis.slopes(predictors)[:, column // 3, column % 3], expected[:, column // 3])


@pytest.mark.parametrize("noncentrality", [1e-9, 2.0, 20.0])
def test_the_tail_is_that_of_the_noncentral_distribution(noncentrality: float) -> None:
    statistics = torch.tensor([1.0, 10.0, 40.0, 80.0])
    found = tail(statistics, 3, 500, torch.full((4,), noncentrality))
    expected = ncf.sf(statistics.numpy() / 3, 3, 500, noncentrality)
    kept = expected > 1e-8
    assert np.all(np.abs(np.log10(found.numpy()[kept] / expected[kept])) < 0.5)
    np.testing.assert_allclose(found.numpy(), expected, atol=0.02)


@pytest.mark.parametrize("spread", [0.0, 0.8])
def test_p_values_of_dependent_predictors_without_effect_have_their_size(spread: float) -> None:
    # few rows for a third degree, of equal or of unequal variance; two of three predictors have no effect
    noise, source = generator(0), []
    for _ in range(600):
        own = torch.randn(210, 3, generator=noise)
        predictors = own.cumsum(1)
        error = torch.randn(210, 1, generator=noise) * (spread * own[:, :1]).exp()
        responses = standardise(predictors[:, :1] + error).expand(-1, 3)
        regression = Regression(Basis(predictors, 3)(predictors), 3)
        coefficients, residuals = regression.fit(responses)
        influences = regression.influences(coefficients, residuals)
        covariance = torch.einsum("mkd,mke->kde", influences, influences)
        statistic, left = regression.wald(coefficients, covariance), regression.degrees_of_freedom
        source.append(tail(statistic, 3, left, torch.zeros(3), concentration_of(influences, covariance))[1:])
    found = torch.cat(source)
    # a standard error is 0.006; with the leverages of the whole regression, and no concentration, it is 0.025 to 0.032
    assert 0.037 < float((found < 0.05).double().mean()) < 0.06


def test_a_statistic_over_random_signs_has_the_moments_of_its_tail() -> None:
    # rows of unequal weight, as at the ends of a cubic
    influences = (normal(60, 1, 3) ** 3).double()
    covariance = torch.einsum("mkd,mke->kde", influences, influences)
    concentration = concentration_of(influences, covariance)
    signs = torch.sign(normal(20_000, 60, seed=2)).double()
    sums = signs @ influences[:, 0]
    statistic = (sums * torch.linalg.solve(covariance[0], sums.T).T).sum(1)
    assert float(statistic.mean()) == pytest.approx(3.0, abs=0.06)
    assert 0.2 < float(concentration) < 3.0
    assert float(statistic.var()) == pytest.approx(6.0 - 2.0 * float(concentration), rel=0.05)
    # of a scaled F distribution with many degrees of freedom: half of its variance is degree² / equivalent
    narrow, wide = (tail(torch.tensor([12.0]), 3, 10**6, torch.zeros(1), part) for part in (concentration, 0.0))
    left = 3.0 - float(concentration)
    assert float(narrow) == pytest.approx(float(chi2.sf(36.0 / left, 9.0 / left)), rel=1e-3)
    assert float(narrow) < float(wide)


def test_the_smaller_of_two_p_values_is_doubled() -> None:
    mean, spread = torch.tensor([[1.0, 0.03], [0.9, 1.0]]), torch.tensor([[1.0, 0.2], [0.04, 1.0]])
    found = Dependence(mean, spread, torch.zeros(2, 2)).p_value()
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.06], [0.08, 1.0]]))
    assert float(Dependence(mean[:1, :1], spread[:1, :1], torch.zeros(1, 1)).p_value()) == 1.0


def test_without_any_dependence_the_graphs_error_rate_is_that_of_the_p_values() -> None:
    # of 400 pairs of independent variables, a twentieth has a p-value below 0.05, and a tenth if it is not doubled
    found = [
        independence_tests(normal(500, 2, seed=seed), normal(500, 2, seed=1000 + seed), torch.ones(500, 2), none(2))
        for seed in range(200)
    ]
    p_values = torch.cat([each.p_value()[[0, 1], [1, 0]] for each in found])
    assert 0.02 <= float((p_values < 0.05).double().mean()) <= 0.08
