"""The dependence test: its error rate, what it detects, and its algebra."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from laws import PERMUTATION, generator, normal
from torch import Tensor

from lcm.learn.dependence import _held_out, dependence
from lcm.learn.readout import critical_value
from lcm.noise import LaplaceNoise, Noise, NormalNoise, SkewedNoise, UniformNoise

RESPONSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": lambda cause, noise: 0.3 * cause + noise,
    "quadratic": lambda cause, noise: 0.3 * cause.square() + noise,
    "scale": lambda cause, noise: torch.exp(0.4 * cause) * noise,
}
LAWS: list[Callable[[int], Noise]] = [NormalNoise, LaplaceNoise, SkewedNoise, UniformNoise]


def others(n: int) -> Tensor:
    return ~torch.eye(n, dtype=torch.bool)


@pytest.mark.parametrize("rows", [150, 500])
def test_independent_columns_give_evidence_no_more_often_than_stated(rows: int) -> None:
    level, trials, n = 0.05, 150, 3
    cut, errors = critical_value(level, n * (n - 1)), 0
    for trial in range(trials):
        source = generator(trial)
        responses, predictors = (LAWS[trial % len(LAWS)](n).sample(rows, source) for _ in range(2))
        found = dependence(responses, predictors, torch.ones(rows, n), others(n))
        errors += bool((found.strongest() > cut).any())
    # Three standard deviations of the count above its bound.
    assert errors <= trials * level + 3 * (trials * level * (1 - level)) ** 0.5


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("seed", range(3))
def test_dependence_is_detected(name: str, seed: int) -> None:
    predictors, noise = normal(3000, 3, seed=seed), normal(3000, 3, seed=100 + seed)
    responses = noise.clone()
    responses[:, 2] = RESPONSES[name](predictors[:, 0], noise[:, 2])
    found = dependence(responses, predictors, torch.ones(3000, 3), others(3))
    accepted = found.strongest() > critical_value(0.01, 6)
    assert accepted.nonzero().tolist() == [[0, 2]]
    statistic = found.spread if name == "scale" else found.mean
    assert statistic[0, 2] > critical_value(0.01, 6)


def test_a_cause_that_another_explains_is_none() -> None:
    predictors = normal(3000, 3)
    predictors[:, 1] += predictors[:, 0]
    responses = normal(3000, 3, seed=5)
    responses[:, 2] += predictors[:, 1]
    found = dependence(responses, predictors, torch.ones(3000, 3), others(3)).strongest()
    assert found[1, 2] > critical_value(0.01, 6) > found[0, 2]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=16, max_size=16))
def test_only_candidates_have_evidence(entries: list[bool]) -> None:
    candidates = torch.tensor(entries).view(4, 4)
    found = dependence(normal(200, 4), normal(200, 4, seed=5), torch.ones(200, 4), candidates)
    for statistic in found:
        assert torch.equal(statistic != 0.0, candidates)


def test_evidence_needs_ten_rows_a_regressor() -> None:
    responses, predictors = normal(100, 3), normal(100, 3, seed=5)
    # Two candidates and a constant.
    for rows, expected in ((29, False), (30, True)):
        weights = torch.zeros(100, 3)
        weights[:rows, 1] = 1.0
        found = dependence(responses, predictors, weights, others(3)).strongest() != 0.0
        assert found[:, 1].tolist() == [expected, False, expected]
        assert not found[:, [0, 2]].any()


def test_rows_that_are_probably_no_target_do_not_count() -> None:
    responses, predictors = normal(400, 3), normal(400, 3, seed=5)
    weights = torch.rand(400, 3, generator=generator())
    found = dependence(responses, predictors, weights, others(3))
    # Their values do not matter, and neither does how probable the others are.
    responses[weights <= 0.5] = 1e3
    again = dependence(responses, predictors, (weights > 0.5).float(), others(3))
    assert torch.equal(found.mean, again.mean) and torch.equal(found.spread, again.spread)


def test_relabelled_variables_give_relabelled_evidence() -> None:
    responses, predictors = normal(500, 4), normal(500, 4, seed=5)
    weights = (torch.rand(500, 4, generator=generator()) < 0.7).float()
    candidates = torch.tensor([[0, 1, 1, 0], [1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]], dtype=torch.bool)
    found = dependence(responses, predictors, weights, candidates)
    order = list(PERMUTATION)
    moved = [part[:, order] for part in (responses, predictors, weights)]
    relabelled = dependence(*moved, candidates[order][:, order])
    for before, after in zip(found, relabelled, strict=True):
        torch.testing.assert_close(after, before[order][:, order], rtol=1e-8, atol=1e-8)


def test_units_do_not_matter() -> None:
    responses, predictors = normal(500, 3).double(), normal(500, 3, seed=5).double()
    found = dependence(responses, predictors, torch.ones(500, 3), others(3))
    moved = dependence(-3.0 * responses + 1.0, 0.1 * predictors - 7.0, torch.ones(500, 3), others(3))
    torch.testing.assert_close(moved.strongest(), found.strongest())


@pytest.mark.parametrize("degrees", [1, 3])
def test_leaving_a_block_out_in_closed_form_is_a_refit_without_it(degrees: int) -> None:
    m, k, folds = 103, 3, 5
    features = normal(m, k, degrees).double()
    target = normal(m, seed=5).double() + features[:, 1, 0]
    residual, saved = _held_out(features, target)
    fold = torch.arange(m) % folds

    def refit(kept: list[int]) -> Tensor:
        """Held-out residuals of a ridge regression, each fold on its own."""
        design = torch.cat([features[:, kept].flatten(1), torch.ones(m, 1, dtype=torch.float64)], 1)
        errors = torch.empty_like(target)
        for f in range(folds):
            rows = design[fold != f]
            gram = rows.T @ rows + 1e-6 * m * torch.eye(design.shape[1], dtype=torch.float64)
            errors[fold == f] = target[fold == f] - design[fold == f] @ torch.linalg.solve(
                gram, rows.T @ target[fold != f]
            )
        return errors

    torch.testing.assert_close(residual, refit([0, 1, 2]))
    for j in range(k):
        kept = [i for i in range(k) if i != j]
        torch.testing.assert_close(saved[:, j], refit(kept).square() - residual.square())
