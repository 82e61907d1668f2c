"""The pair likelihood in noise space, against sums written out set by set."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import normal
from torch import Tensor

from lcm.model.intervention import TargetDistribution
from lcm.model.likelihood import (
    THICKNESS_FLOOR,
    Changes,
    PairTerms,
    joint_log_density,
    pair_log_density,
    stay_log_density,
    target_posterior,
)

pytestmark = pytest.mark.usefixtures("float64")


def random_terms(n: int, rows: int, scale: float = 3.0) -> PairTerms:
    return PairTerms(normal(rows), normal(rows, n, seed=2, scale=scale), normal(rows, n, seed=3, scale=scale))


def by_hand(terms: PairTerms, distribution: TargetDistribution) -> Tensor:
    """log p(x, x̃, I) (N, K), one set and one variable at a time."""
    columns = []
    for targets, probability in zip(distribution.as_lists(), distribution.probabilities, strict=True):
        total = terms.base + math.log(probability)
        for j in range(terms.stay.shape[1]):
            total = total + (terms.move[:, j] if j in targets else terms.stay[:, j])
        columns.append(total)
    return torch.stack(columns, 1)


def test_stay_density_is_a_normal_law_of_the_difference() -> None:
    difference, thickness = normal(20, 3), torch.tensor([0.1, 1.0, 2.5])
    expected = torch.distributions.Normal(torch.zeros(3), thickness).log_prob(difference)
    assert torch.allclose(stay_log_density(difference, thickness), expected)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 4), growth=st.floats(0.01, 5.0))
def test_a_thickness_that_grows_is_a_wider_normal_law(n: int, growth: float) -> None:
    distribution = TargetDistribution.family(n, "all")
    difference, thickness = normal(9, n), torch.linspace(0.1, 0.5, n)
    stay, move = stay_log_density(difference, thickness), normal(9, n, seed=3)
    terms = PairTerms(normal(9, seed=4), stay, move, Changes.of(difference, thickness, growth))
    joint = joint_log_density(terms, distribution.target_sets, distribution.log_probabilities())
    for index, targets in enumerate(distribution.target_sets):
        change = difference[:, targets].square().sum(1, keepdim=True)
        width = thickness * ((1.0 + growth**2 * change) / (1.0 + 2.0 * growth**2)).sqrt()
        stays = torch.distributions.Normal(torch.zeros(n), width).log_prob(difference)
        expected = terms.base + torch.where(targets, move, stays).sum(1)
        assert torch.allclose(terms.given(targets.expand(9, -1)), expected)
        assert torch.allclose(joint[:, index], expected + distribution.log_probabilities()[index])


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 4), data=st.data())
def test_mixture_over_any_family_of_sets(n: int, data: st.DataObject) -> None:
    subsets = st.lists(st.frozensets(st.integers(0, n - 1)), min_size=1, max_size=2**n, unique=True)
    sets = data.draw(subsets)
    weights = torch.arange(1.0, len(sets) + 1.0)
    distribution = TargetDistribution(n, [sorted(s) for s in sets], (weights / weights.sum()).tolist())
    terms, expected = random_terms(n, 7), None
    expected = by_hand(terms, distribution)
    arguments = (terms, distribution.target_sets, distribution.log_probabilities())
    assert torch.allclose(joint_log_density(*arguments), expected, atol=1e-10)
    assert torch.allclose(pair_log_density(*arguments), torch.logsumexp(expected, 1), atol=1e-10)
    posterior = target_posterior(*arguments)
    assert torch.allclose(posterior, torch.softmax(expected, 1), atol=1e-10)
    assert torch.allclose(posterior.sum(1), torch.ones(7))


def test_posterior_is_certain_where_the_terms_are_extreme() -> None:
    distribution = TargetDistribution.family(3, "atomic-or-empty")
    terms = random_terms(3, 4)
    stay = torch.zeros(4, 3)
    stay[torch.arange(3), torch.arange(3)] = -1e6
    arguments = (terms._replace(stay=stay), distribution.target_sets, distribution.log_probabilities())
    posterior = target_posterior(*arguments)
    assert posterior[:3].argmax(1).tolist() == [1, 2, 3]
    assert bool(posterior.isfinite().all() & pair_log_density(*arguments).isfinite().all())


def test_a_set_of_probability_zero_adds_nothing_and_keeps_gradients_finite() -> None:
    full = TargetDistribution.family(2, "atomic-or-empty", [0.0, 0.5, 0.5])
    reduced = TargetDistribution.family(2, "atomic")
    base, stay, move, _ = random_terms(2, 6)
    stay.requires_grad_()
    terms = PairTerms(base, stay, move)
    density = pair_log_density(terms, full.target_sets, full.log_probabilities())
    expected = pair_log_density(terms, reduced.target_sets, reduced.log_probabilities())
    assert torch.allclose(density, expected)
    assert bool(torch.autograd.grad(density.sum(), stay)[0].isfinite().all())


def test_empty_batch() -> None:
    distribution = TargetDistribution.family(3, "atomic")
    arguments = (random_terms(3, 0), distribution.target_sets, distribution.log_probabilities())
    assert pair_log_density(*arguments).shape == (0,)
    assert target_posterior(*arguments).shape == joint_log_density(*arguments).shape == (0, 3)


def test_floor_is_the_documented_one() -> None:
    assert THICKNESS_FLOOR == 1e-3


def test_a_target_that_moved_by_many_widths_leaves_the_digits_of_the_others() -> None:
    distribution = TargetDistribution.family(3, "atomic")
    base, stay, move = normal(50), normal(50, 3, seed=2), normal(50, 3, seed=3)
    # the stay of a target, whose difference is of 10⁴ widths
    targets = torch.arange(50) % 3
    stay[torch.arange(50), targets] = -5e7
    parts = (PairTerms(*(part.to(dtype) for part in (base, stay, move))) for dtype in (torch.float32, torch.float64))
    sets = distribution.target_sets, distribution.log_probabilities()
    single, double = (pair_log_density(terms, sets[0], sets[1].to(terms.base)) for terms in parts)
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)
