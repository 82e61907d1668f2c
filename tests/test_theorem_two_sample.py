"""The two-sample test: its level, its power, and what does not change it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from laws import generator, normal
from scipy.stats import binom

from experiments._theorem.two_sample import MMDTest, mmd_test, pair_rows


def quick(a: torch.Tensor, b: torch.Tensor, seed: int = 0) -> MMDTest:
    return mmd_test(a, b, generator(seed), features=50, permutations=99)


@pytest.mark.parametrize("sizes", [(150, 150), (60, 200)])
def test_equal_distributions_are_rejected_at_the_level(sizes: tuple[int, int]) -> None:
    source, level, repeats = generator(), 0.1, 150
    # skewed and of unequal scales, as the columns of pairs are
    samples = ([torch.randn(size, 3, generator=source).exp() for size in sizes] for _ in range(repeats))
    p_values = np.array([quick(a, b, seed).p_value for seed, (a, b) in enumerate(samples)])
    rejected = int((p_values <= level).sum())
    assert binom.ppf(1e-4, repeats, level) <= rejected <= binom.isf(1e-4, repeats, level)
    assert 0.4 < p_values.mean() < 0.6


def test_the_least_p_value_is_reached_by_far_apart_samples() -> None:
    assert quick(normal(100, 2), normal(100, 2, seed=2) + 5.0).p_value == 1 / 100
    assert mmd_test(normal(100, 2), normal(100, 2, seed=2) + 5.0, generator()).p_value == 1 / 200


CHANGES = {
    "moved": lambda a: a + torch.tensor([0.3, 0.0, 0.0]),
    "widened": lambda a: a * torch.tensor([1.0, 1.4, 1.0]),
    "dependent": lambda a: torch.stack([a[:, 0], 0.6 * a[:, 0] + 0.8 * a[:, 1], a[:, 2]], 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_one_coordinate_is_seen(change: str) -> None:
    p_values = [
        quick(normal(1500, 3, seed=seed), CHANGES[change](normal(1500, 3, seed=seed + 50))) for seed in range(5)
    ]
    assert sum(test.p_value <= 0.01 for test in p_values) >= 4


def test_a_one_sparse_change_of_pairs_is_seen() -> None:
    x, other = normal(2000, 4), normal(2000, 4, seed=2)
    changed = torch.arange(4) == torch.randint(4, (2000, 1), generator=generator())
    first = pair_rows(x, x + 0.1 * changed * normal(2000, 4, seed=3))
    second = pair_rows(other, other + 0.1 * changed * normal(2000, 4, seed=4).exp())
    assert quick(first, second).p_value == 1 / 100


def test_equal_generators_give_equal_results() -> None:
    a, b = normal(50, 2), normal(60, 2, seed=2)
    assert quick(a, b) == quick(a, b)
    assert quick(a, b) == quick(a.numpy(), b.numpy())  # type: ignore[arg-type]
    assert quick(a, b) != quick(a, b, seed=1)


def test_neither_the_order_of_the_samples_nor_units_matter() -> None:
    a, b = normal(300, 2), normal(200, 2, seed=2) + 0.2
    test, exchanged = quick(a, b), quick(b, a)
    assert exchanged.statistic == pytest.approx(test.statistic, rel=1e-4)
    assert exchanged.p_value == pytest.approx(test.p_value, abs=0.15)
    units = torch.tensor([100.0, 1e-3])
    rescaled = quick(a * units + 7.0, b * units + 7.0)
    assert rescaled.statistic == pytest.approx(test.statistic, rel=1e-3)


def test_equal_rows_and_constant_columns_are_no_evidence() -> None:
    same = torch.ones(40, 2)
    assert quick(same, same).p_value == 1.0
    a, b = normal(40, 2), normal(40, 2, seed=2)
    a[:, 1] = b[:, 1] = 3.0
    assert quick(a, b).p_value > 0.01


def test_pairs_become_observations_and_differences() -> None:
    rows = pair_rows([[1.0, 2.0]], [[1.0, 5.0]])
    assert rows.tolist() == [[1.0, 2.0, 0.0, 3.0]]


def test_bad_samples_are_errors() -> None:
    good = normal(10, 2)
    with pytest.raises(ValueError, match=r"Expected b of shape \(N, d\) with N >= 2; got \(10,\)"):
        quick(good, good[:, 0])
    with pytest.raises(ValueError, match=r"Expected a of shape \(N, d\) with N >= 2; got \(1, 2\)"):
        quick(good[:1], good)
    with pytest.raises(ValueError, match="Expected finite values in b; got 2 that are not"):
        quick(good, torch.where(good > good.flatten().topk(3).values[2], torch.nan, good))
    with pytest.raises(ValueError, match="Expected samples with equally many columns; got 2 and 3"):
        quick(good, normal(10, 3))
    with pytest.raises(ValueError, match="Expected features >= 1; got 0"):
        mmd_test(good, good, generator(), features=0)
    with pytest.raises(ValueError, match="Expected permutations >= 1; got -1"):
        mmd_test(good, good, generator(), permutations=-1)
    with pytest.raises(ValueError, match=r"Expected x and x_tilde of one shape \(N, d\); got \(10, 2\) and \(9, 2\)"):
        pair_rows(good, good[:9])
