"""Components are put in an order that suits the target sets, whatever order they come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lcm.learn.known import is_symmetric, label_components
from lcm.model.intervention import TargetDistribution

SETS = {
    "two blocks": [[], [0, 1], [2, 3]],
    "one alone": [[], [0], [1, 2, 3]],
    "never all": [[], [0], [1]],
    "overlapping": [[0, 1], [1, 2], [3]],
}


def masks(sets: list[list[int]], n: int = 4) -> NDArray[np.bool_]:
    return TargetDistribution(n, sets, None).target_sets.numpy()


def pairs(target_sets: NDArray[np.bool_], seed: int, thickness: float) -> tuple[NDArray[np.float64], ...]:
    rng = np.random.default_rng(seed)
    first, fresh = rng.standard_normal((2, 2000, target_sets.shape[1]))
    targets = target_sets[rng.integers(len(target_sets), size=2000)]
    return first, np.where(targets, fresh, first + thickness * rng.standard_normal(first.shape))


@pytest.mark.parametrize("thickness", [0.0, 0.05])
@pytest.mark.parametrize("name", SETS)
@settings(max_examples=8, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 2**32 - 1))
def test_relabelled_components_are_put_back(name: str, thickness: float, mixed: list[int], seed: int) -> None:
    target_sets = masks(SETS[name])
    first, second = pairs(target_sets, seed, thickness)
    order = label_components(first[:, mixed], second[:, mixed], target_sets)
    # the sets that are found are those there are, though several orders may give the same
    found = target_sets[:, np.argsort(np.array(mixed)[order])]
    assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in target_sets.tolist()}


@pytest.mark.parametrize("family", ["atomic", "atomic-or-empty", "all"])
def test_families_that_treat_all_alike_need_no_order(family: str) -> None:
    target_sets = TargetDistribution.family(3, family).target_sets.numpy()
    assert is_symmetric(target_sets)
    first, second = pairs(target_sets, 0, 0.0)
    np.testing.assert_array_equal(label_components(first, second, target_sets), [0, 1, 2])


@pytest.mark.parametrize("name", SETS)
def test_other_collections_are_not_symmetric(name: str) -> None:
    assert not is_symmetric(masks(SETS[name]))


def test_one_variable_is_symmetric() -> None:
    assert is_symmetric(np.array([[False], [True]]))
