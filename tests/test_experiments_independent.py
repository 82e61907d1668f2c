"""Independent pairs: both halves keep their law, and share nothing."""

from __future__ import annotations

import numpy as np
import pytest

from experiments._independent import independent_pairs
from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.pairs import PairData
from lcm.data.sample import sample_data


def two_data_sets(count: int = 4000) -> tuple[PairData, PairData]:
    nature = build_nature(NatureConfig(n=3), seed=0)
    before, after = (sample_data(nature, count, torch_generator(0, name)) for name in ("before", "after"))
    return before, after


def test_each_half_comes_from_its_own_data_set() -> None:
    before, after = two_data_sets(200)
    mixed = independent_pairs(before, after)
    for key in ("x", "z", "noise", "adjacency"):
        assert np.array_equal(getattr(mixed, key), getattr(before, key))
    for key in ("x_tilde", "z_tilde", "noise_tilde", "targets"):
        assert np.array_equal(getattr(mixed, key), getattr(after, key))


def test_noise_that_is_no_target_is_not_kept() -> None:
    before, after = two_data_sets()
    mixed = independent_pairs(before, after)
    for data, shared in ((before, True), (mixed, False)):
        assert data.noise is not None and data.noise_tilde is not None and data.targets is not None
        kept = ~data.targets
        correlation = np.corrcoef(data.noise[kept], data.noise_tilde[kept])[0, 1]
        assert correlation > 0.999 if shared else abs(correlation) < 0.05


def test_data_sets_of_different_shapes_are_an_error() -> None:
    before, after = two_data_sets(200)
    other = PairData.from_arrays(after.x[:100], after.x_tilde[:100])
    with pytest.raises(ValueError, match=r"Expected two data sets of one shape; got x \(200, 3\) and \(100, 3\)"):
        independent_pairs(before, other)
