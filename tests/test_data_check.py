"""What can be said of pairs before fitting: it is said where it holds, and not where it does not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import called
from numpy.typing import NDArray

from lcm.data.intrinsic_dimension import spectrum
from lcm.data.pair_files import load_pairs
from lcm.data.pairs import PairData
from lcm.data.table import write_table
from lcm.run.check import check_pairs, verdict
from lcm.run.config import FitConfig
from lcm.run.fitting import choose_n

Array = NDArray[np.float64]


def chain(n_pairs: int, n: int, seed: int, scales: Array | None = None, empty: bool = True) -> tuple[Array, Array]:
    """Causal variables z, z_tilde (N, n) of a linear chain under atomic perfect interventions, or none."""
    generator = np.random.default_rng(seed)
    scales = np.ones(n) if scales is None else scales
    noise = scales * generator.normal(size=(n_pairs, n))
    imposed = scales * generator.normal(size=(n_pairs, n))
    targets = generator.integers(n + empty, size=(n_pairs, 1)) == np.arange(n)
    z, z_tilde = noise.copy(), np.where(targets, imposed, noise)
    for i in range(1, n):
        z[:, i] += 0.8 * z[:, i - 1]
        z_tilde[:, i] += np.where(targets[:, i], 0, 0.8 * z_tilde[:, i - 1])
    return z, z_tilde


def embedding(n: int, d: int, seed: int) -> Array:
    """A matrix (d, n) with orthonormal columns."""
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(d, n)))[0])


def linear_pairs(n: int, d: int, noise: float = 0.0, offset: float = 0.0, seed: int = 0) -> PairData:
    z, z_tilde = chain(4000, n, seed)
    generator = np.random.default_rng(seed)
    x, x_tilde = (value @ embedding(n, d, seed).T + offset for value in (z, z_tilde))
    scale = noise * x.std(axis=0).mean()
    return PairData.from_arrays(*(value + scale * generator.normal(size=value.shape) for value in (x, x_tilde)))


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (2, 2), (4, 4), (12, 12), (1, 2), (2, 3), (4, 5), (4, 8), (12, 40)])
def test_n_is_the_rank_of_x(n: int, d: int, offset: float) -> None:
    data = linear_pairs(n, d, offset=offset)
    assert data.estimated_n == n


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize(("n", "d"), [(1, 3), (2, 4), (4, 6), (4, 8), (4, 20)])
def test_n_is_counted_above_a_floor_of_measurement_noise(n: int, d: int, offset: float) -> None:
    data = linear_pairs(n, d, noise=0.01, offset=offset)
    assert data.estimated_n == n


def test_noise_in_proportion_to_unequal_columns_is_a_floor_too() -> None:
    data = linear_pairs(3, 9)
    generator = np.random.default_rng(1)
    columns = np.geomspace(0.1, 10, 9)
    noise = 0.01 * data.x.std(axis=0)
    x, x_tilde = (columns * (value + noise * generator.normal(size=value.shape)) for value in (data.x, data.x_tilde))
    assert PairData(x, x_tilde).estimated_n == 3


def test_n_is_d_for_noisy_full_rank() -> None:
    data = linear_pairs(4, 4, noise=0.01)
    assert data.estimated_n == 4


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("empty", [True, False])
def test_variables_of_small_variance_are_no_floor(seed: int, empty: bool) -> None:
    # Equal small variances below two large ones, in every column: a floor but for its sparse differences.
    generator = np.random.default_rng(seed)
    scales = np.array([50.0, 50.0, 1.0, 1.0, 1.0, 1.0])
    z = scales * generator.normal(size=(5000, 6))
    targets = generator.integers(6 + empty, size=(5000, 1)) == np.arange(6)
    z_tilde = np.where(targets, scales * generator.normal(size=(5000, 6)), z)
    rotation = embedding(6, 6, seed)
    assert PairData(z @ rotation.T, z_tilde @ rotation.T).estimated_n == 6


def test_columns_in_unlike_units_are_no_floor() -> None:
    z, z_tilde = chain(3000, 4, seed=0)
    units = np.array([1e-3, 1.0, 1.0, 1e3])
    assert PairData(z * units, z_tilde * units).estimated_n == 4


def test_an_ill_conditioned_mixing_keeps_its_rank() -> None:
    z, z_tilde = chain(3000, 8, seed=0)
    left, right = embedding(8, 8, 1), embedding(8, 8, 2)
    mixing = left * np.geomspace(1, 1e-4, 8) @ right
    assert PairData((z @ mixing.T).astype(np.float32), (z_tilde @ mixing.T).astype(np.float32)).estimated_n == 8


def test_a_nearly_deterministic_mechanism_is_broken_by_its_intervention() -> None:
    z, z_tilde = chain(3000, 3, seed=0, scales=np.array([1.0, 1e-7, 1.0]))
    x_tilde = z_tilde.copy()
    x_tilde[::4, 1] = np.random.default_rng(0).normal(size=len(x_tilde[::4]))
    assert np.linalg.matrix_rank(z.astype(np.float32) - z.mean(axis=0), tol=1e-3) < 3
    assert PairData(z.astype(np.float32), x_tilde.astype(np.float32)).estimated_n == 3


def test_fewer_rows_than_columns_have_the_rank_of_the_rows() -> None:
    x = np.random.default_rng(0).normal(size=(3, 20))
    assert PairData(x, x).estimated_n == 2


def test_the_spectrum_of_independent_columns_is_flat() -> None:
    x = np.random.default_rng(0).normal(size=(20_000, 5)) * [1, 2, 3, 4, 5]
    found = spectrum(x, x)
    np.testing.assert_allclose(found.variances, 1, atol=0.05)
    np.testing.assert_allclose(found.variances.sum(), 5)
    np.testing.assert_allclose(found.scales, [1, 2, 3, 4, 5], rtol=0.02)


@pytest.mark.parametrize(("n", "d", "noise"), [(2, 2, 0), (4, 4, 0), (4, 9, 0), (4, 9, 0.01), (10, 10, 0)])
def test_atomic_interventions_in_a_linear_model_look_one_sparse(n: int, d: int, noise: float) -> None:
    report = check_pairs(linear_pairs(n, d, noise))
    assert report["n_guess"] == n
    assert report["one_sparse_share"] > 0.98
    assert report["one_sparse_share_random"] < 0.9
    assert verdict(report).startswith("yes: the largest component carries")
    targets = report["target_shares"]
    assert len(targets) == n
    assert sum(targets) == pytest.approx(1 - report["unchanged_share"])
    if not noise:
        assert report["unchanged_share"] == pytest.approx(1 / (n + 1), abs=0.03)
        np.testing.assert_allclose(targets, 1 / (n + 1), atol=0.03)


def test_independent_pairs_do_not_look_one_sparse() -> None:
    data = linear_pairs(5, 5)
    report = check_pairs(PairData.from_arrays(data.x, data.x[::-1]))
    assert report["one_sparse_share"] < 0.6
    assert verdict(report).startswith("no: ")


def test_a_curved_mixing_looks_largely_one_sparse() -> None:
    z, z_tilde = chain(4000, 4, seed=0)
    rotation = embedding(4, 4, 0)
    x, x_tilde = (np.arcsinh(3 * value @ rotation.T) for value in (z, z_tilde))
    report = check_pairs(PairData.from_arrays(x, x_tilde))
    assert 0.8 < report["one_sparse_share"] < 0.95
    assert verdict(report).startswith("largely: ")


def test_one_variable_is_trivially_sparse() -> None:
    assert verdict(check_pairs(linear_pairs(1, 1))) == "yes, trivially: there is one variable"


def test_pairs_that_hardly_differ_are_left_unjudged() -> None:
    x = np.random.default_rng(0).normal(size=(100, 4))
    x_tilde = x.copy()
    x_tilde[:3] += 1
    report = check_pairs(PairData.from_arrays(x, x_tilde))
    assert report["unchanged_share"] == 0.97 and report["n_guess"] is None
    assert report["target_shares"] is None
    assert verdict(report) == "unknown: too few pairs differ"


def test_a_check_says_what_a_fit_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "before.csv"
    vectors = linear_pairs(2, 2)
    write_table(file, {"a": vectors.x[:, 0], "b": vectors.x[:, 1]})
    images = image_pairs()
    few = "x: Expected at least 150 pairs, 50 (n + 1) for n = 2; got 100"
    same = "x_tilde: Expected pairs that differ, at least 10; got x_tilde equal to x in every row."
    for pairs, refusal in (
        (load_pairs(file, file), f"{file}: {same}"),
        (replace(images, x_tilde=images.x), same),
        (vectors.first(100), few),
    ):
        report = check_pairs(pairs)
        assert report["doubts"][0] == f"lcm fit refuses these pairs: {refusal}"
        assert (report["n_guess"] is None) == (refusal != few)
        with pytest.raises(ValueError, match=re.escape(refusal)):
            choose_n(pairs, FitConfig())
    assert not any("refuses" in doubt for doubt in check_pairs(vectors)["doubts"])
    said = called(capsys, "check", file, file)
    assert f"doubt       lcm fit refuses these pairs: {file}: {same}" in said
    assert "variables   unknown: too few pairs differ" in said and "n = " not in said


def test_duplicates_are_counted_by_value() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    x[10] = x[20] = x[30]
    x[40], x[41] = (0.0, 1.0), (-0.0, 1.0)
    assert check_pairs(PairData.from_arrays(x, x + 1))["duplicate_rows"] == 3


def image_pairs() -> PairData:
    x = np.random.default_rng(0).integers(256, size=(20, 4, 4, 3), dtype=np.uint8)
    x[3] = x[5]
    x_tilde = x.copy()
    x_tilde[:15] ^= 1
    return PairData.from_arrays(x, x_tilde)


def test_images_are_described_without_a_spectrum() -> None:
    report = check_pairs(image_pairs())
    assert (report["n_pairs"], report["shape"], report["dtype"]) == (20, [4, 4, 3], "uint8")
    assert (report["duplicate_rows"], report["unchanged_share"]) == (1, 0.25)
    assert report["rank"] is report["singular_values"] is report["one_sparse_share"] is None
    assert report["n_guess"] >= 1


REPORTS = {
    "linear": lambda: check_pairs(linear_pairs(4, 4)),
    "many columns": lambda: check_pairs(linear_pairs(2, 30)),
    "one pair": lambda: check_pairs(PairData.from_arrays([[1.0, 2.0]], [[1.0, 3.0]])),
    "no change": lambda: check_pairs(PairData.from_arrays([[1.0], [2.0]], [[1.0], [2.0]])),
    "images": lambda: check_pairs(image_pairs()),
}


@pytest.mark.parametrize("make", REPORTS.values(), ids=REPORTS.keys())
def test_every_report_is_json_and_is_put_in_words(make: Any) -> None:
    report = make()
    assert json.loads(json.dumps(dict(report), allow_nan=False)) == report.numbers
    assert list(report) == list(report.numbers) and len(report) == len(report.numbers)
    lines = str(report).splitlines()
    assert lines[0].startswith(f"pairs       {report['n_pairs']:,} of shape")
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)


def test_the_words_of_a_report() -> None:
    text = str(check_pairs(linear_pairs(4, 4)))
    assert "duplicates  0 rows of x equal an earlier one" in text
    assert "rank        4 of 4 columns" in text
    assert "variables   n = 4" in text
    assert "of pairs have x == x_tilde exactly" in text
    assert "one-sparse  yes" in text
    assert "by the dimension of the sheet that the images lie on" in str(check_pairs(image_pairs()))
    assert "… (30 in all)" in str(check_pairs(linear_pairs(2, 30)))


def test_a_seed_gives_the_same_report_twice() -> None:
    data = linear_pairs(4, 4)
    assert check_pairs(data, seed=3) == check_pairs(data, seed=3)
