"""Data that are refused before any training, and data that only look odd."""

from __future__ import annotations

import numpy as np
import pytest
from small import small_data

from lcm.data.pairs import PairData
from lcm.run.check import check_pairs
from lcm.run.fittable import require_differences, require_measured, require_no_outlier

DATA = small_data("linear", 2000)


def with_values(value: float, name: str = "x", columns: tuple[str, ...] = ()) -> PairData:
    """In one row of a hundred, the largest first: too many to be left out."""
    parts = {key: np.array(getattr(DATA, key)) for key in ("x", "x_tilde")}
    parts[name][7:27, 1] = value * np.linspace(1.0, 0.5, 20)
    return PairData(**parts, source="pairs.npz", columns=columns)


@pytest.mark.parametrize("value", [3e38, -1e9])
@pytest.mark.parametrize("name", ["x", "x_tilde"])
def test_outlying_values_are_named_with_the_row_of_the_largest(value: float, name: str) -> None:
    message = (
        rf"pairs\.npz: {name}: row 7, column 1: Expected values on one scale; got an outlier, {value:.3g}".replace(
            "+", r"\+"
        )
    )
    with pytest.raises(ValueError, match=message + r".* \(remove the pair\)"):
        require_no_outlier(with_values(value, name))
    with pytest.raises(ValueError, match="column 'speed'"):
        require_no_outlier(with_values(value, name, ("place", "speed")))


def test_heavy_tails_rare_events_and_large_units_are_no_outliers() -> None:
    rng = np.random.default_rng(0)
    heavy = rng.standard_cauchy((20_000, 2))
    rare = np.where(rng.random((20_000, 2)) < 0.01, rng.standard_normal((20_000, 2)), 0.0)
    for x in (heavy, rare, 1e30 * rng.standard_normal((100, 2)), np.round(rng.random((50, 2)))):
        require_no_outlier(PairData(x.astype(np.float32), x.astype(np.float32)))


@pytest.mark.parametrize(("count", "got"), [(0, "x_tilde equal to x in every row"), (1, "1 of 2000"), (9, "9 of 2000")])
def test_pairs_that_hardly_differ_are_counted(count: int, got: str) -> None:
    x_tilde = DATA.x.copy()
    x_tilde[:count] += 1.0
    with pytest.raises(ValueError, match=f"x_tilde: Expected pairs that differ, at least 10; got {got}"):
        require_differences(PairData(DATA.x, x_tilde))
    x_tilde[:10] = 5.0
    require_differences(PairData(DATA.x, x_tilde))


def test_check_refuses_what_a_fit_would_refuse() -> None:
    with pytest.raises(ValueError, match="got an outlier"):
        check_pairs(with_values(1e9))


@pytest.mark.parametrize("name", ["x", "x_tilde"])
def test_a_code_for_missing_values_is_named_with_its_first_row(name: str) -> None:
    parts = {key: np.array(getattr(DATA, key)) for key in ("x", "x_tilde")}
    parts[name][[5, 40, 900], 1] = -999.0
    message = rf"pairs\.npz: {name}: column 'speed': Expected measured values; got -999 in 3 rows, first in row 5"
    for refuse in (require_measured, check_pairs):
        with pytest.raises(ValueError, match=message + r".* \(if it stands for no value, remove the pairs\)"):
            refuse(PairData(**parts, source="pairs.npz", columns=("place", "speed")))


def test_repeated_values_beside_the_others_and_few_levels_are_no_codes() -> None:
    rng = np.random.default_rng(0)
    clipped, levels = rng.standard_normal((2_000, 2)).clip(max=1.0), rng.choice([0.0, 1.0, 999.0], (2_000, 2))
    rare = np.where(rng.random((2_000, 2)) < 0.01, rng.standard_normal((2_000, 2)), 0.0)
    for x in (clipped, levels, rare, np.array(DATA.x)):
        require_measured(PairData(x.astype(np.float32), x.astype(np.float32)))
