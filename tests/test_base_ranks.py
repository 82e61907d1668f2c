"""Ranks with ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from lcm.base.ranks import column_ranks


@given(rows=st.integers(1, 40), columns=st.integers(1, 4), levels=st.integers(1, 50), seed=st.integers(0, 10_000))
def test_ranks_are_those_of_scipy(rows: int, columns: int, levels: int, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, levels, (rows, columns)) / 3 - 1
    found = column_ranks(table)
    assert found.dtype == np.float64 and np.array_equal(found, rankdata(table, axis=0))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_has_no_ranks(shape: tuple[int, int]) -> None:
    assert column_ranks(np.zeros(shape)).shape == shape
