"""Pairs that lie apart are left out and named; tails, however heavy, are not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small import small_data

import lcm
from lcm.data.outliers import outlying_rows
from lcm.data.pairs import PairData
from lcm.run.config import FitConfig
from lcm.run.doubts_of_data import data_doubts
from lcm.run.runs import fit_run, load_run

TAILS = {
    "uniform": lambda rng: rng.random(4_000),
    "normal": lambda rng: np.abs(rng.standard_normal(4_000)),
    "exponential": lambda rng: rng.standard_exponential(4_000),
    "t3": lambda rng: np.abs(rng.standard_t(3, 4_000)),
    "Cauchy": lambda rng: np.abs(rng.standard_cauchy(4_000)),
    "two values": lambda rng: rng.integers(0, 2, 4_000).astype(float),
    "one value": lambda rng: np.ones(4_000),
}


@pytest.mark.parametrize("name", TAILS)
def test_no_tail_has_outliers(name: str) -> None:
    found = [outlying_rows(TAILS[name](np.random.default_rng(seed))).size for seed in range(200)]
    assert sum(found) == 0


@pytest.mark.parametrize("name", [name for name in TAILS if name not in ("Cauchy", "t3")])
@pytest.mark.parametrize("rows", [[7], [7, 8, 1_000], [7, 8, 1_000, 3_999]])
def test_what_lies_beyond_a_gap_is_found(name: str, rows: list[int]) -> None:
    values = TAILS[name](np.random.default_rng(0))
    values[rows] = 100.0 * values.max() * np.arange(1, len(rows) + 1)
    np.testing.assert_array_equal(outlying_rows(values), rows)


def test_more_than_one_in_a_thousand_or_few_pairs_are_no_outliers() -> None:
    values = np.random.default_rng(0).random(4_000)
    values[:6] = 100.0
    assert outlying_rows(values).size == 0
    assert outlying_rows(np.append(np.ones(40), 100.0)).size == 0


def with_outlier(factor: float, name: str) -> PairData:
    data = small_data("linear", 2_000)
    parts = {key: np.array(getattr(data, key)) for key in ("x", "x_tilde")}
    parts[name][7] *= factor
    return lcm.PairData.from_arrays(
        **parts, z=data.z, z_tilde=data.z_tilde, targets=data.targets, adjacency=data.adjacency
    )


@pytest.mark.parametrize("name", ["x", "x_tilde"])
@pytest.mark.parametrize("factor", [1e3, 1e6, 1e12])
def test_a_fit_is_as_without_the_outlier_and_names_it(factor: float, name: str) -> None:
    data = with_outlier(factor, name)
    kept: NDArray[np.int64] = np.delete(np.arange(len(data)), 7)
    assert [outlier.row for outlier in data.outliers] == [7]
    assert data.outliers[0].observation == name
    np.testing.assert_array_equal(data.without_outliers.x, data.x[kept])
    np.testing.assert_array_equal(data.without_outliers.targets, data.targets[kept])
    with_it = lcm.fit(data, model="linear", quiet=True)
    without = lcm.fit(data.without_outliers, model="linear", quiet=True)
    np.testing.assert_array_equal(with_it.model.encode(data.x[:5]).z, without.model.encode(data.x[:5]).z)
    assert with_it.size == (1_999, 2)
    assert any(doubt.startswith("All pairs: row 7 lies apart") for doubt in with_it.doubts)
    assert not any("apart" in doubt for doubt in data_doubts(data.without_outliers))


def test_several_outliers_are_listed() -> None:
    data = small_data("linear", 2_000)
    x = np.array(data.x)
    x[[3, 11]] *= 1e4
    (doubt,) = data_doubts(PairData(x, data.x_tilde))
    assert doubt.startswith("All pairs: rows 3, 11 lie apart from all others and the fit learned nothing from there.")


@pytest.mark.usefixtures("figures")
@pytest.mark.parametrize("value", [1e9, 1e25])
def test_no_figure_and_no_page_counts_an_outlier(value: float, tmp_path: Path) -> None:
    data = small_data("linear", 2_000)
    x = data.x.copy()
    x[7, 0] = value
    pairs = lcm.PairData.from_arrays(x, data.x_tilde)
    fit_run(pairs, tmp_path / "run", FitConfig(model="linear"), progress=False)
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    means = re.findall(r"mean (-?[0-9.]+), standard deviation ([0-9.]+)", html)
    assert means and all(abs(float(number)) < 10.0 for pair in means for number in pair)
    support = load_run(tmp_path / "run").result().support
    assert support is not None and (np.ptp(support, axis=1) < 20.0).all()
