"""Signs of how columns were measured, each found where it is, and not in columns of other kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from small import SHORT, small_data

import lcm
from lcm.data.measurement import column_signs, index_columns, missing_code, unrelated_columns
from lcm.run.check import check_pairs
from lcm.run.doubts_of_data import data_doubts
from lcm.run.report import fit_numbers

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(5_000)
KINDS = {
    "normal": NORMAL,
    "clipped above": NORMAL.clip(max=1.5),
    "clipped below": NORMAL.clip(min=-1.0),
    "eight levels": RNG.integers(0, 8, 5_000) * 1.0,
    "rounded": NORMAL.round(2),
    "coded": np.where(RNG.random(5_000) < 0.01, -999.0, NORMAL),
    "Cauchy": RNG.standard_cauchy(5_000),
}


@pytest.mark.parametrize("name", KINDS)
def test_each_sign_is_found_in_its_column_alone(name: str) -> None:
    x = np.stack([NORMAL, KINDS[name]], 1)
    signs, code = column_signs(x), missing_code(x)
    ends = {"clipped above": 1.5, "clipped below": -1.0}
    if name in ends:
        ((column, value, share),) = signs.clipped
        assert (column, value) == (1, ends[name])
        assert share == np.mean(x[:, 1] == ends[name])
    else:
        assert signs.clipped == () or name == "coded"
    assert signs.few_levels == ((1,) if name == "eight levels" else ())
    assert [column for column, _, _ in signs.rounded] == ([1] if name == "rounded" else [])
    if name == "coded":
        assert code is not None
        expected = (1, -999.0, int(np.argmax(x[:, 1] == -999.0)), int((x[:, 1] == -999.0).sum()))
        assert code[:4] == expected
    else:
        assert code is None


def with_noise_columns(noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Four columns of two variables with noise, and two columns of noise alone."""
    data, rng = small_data("linear", 4_000), np.random.default_rng(1)
    mixing = rng.standard_normal((2, 4))
    x, x_tilde = (
        np.concatenate(
            [part @ mixing + noise * rng.standard_normal((4_000, 4)), 10.0 * rng.standard_normal((4_000, 2))], 1
        )
        for part in (data.x, data.x_tilde)
    )
    return x, x_tilde


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5])
def test_columns_of_mere_noise_are_unrelated(noise: float) -> None:
    np.testing.assert_array_equal(unrelated_columns(*with_noise_columns(noise)), [False] * 4 + [True] * 2)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("pairs", [250, 5_000])
def test_no_column_of_a_full_mixing_is_unrelated(pairs: int, seed: int) -> None:
    # imposed values of four times the variance hide what stays, in few pairs even from the ranks of a column itself
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    weights = 2.0 * np.triu(rng.standard_normal((3, 3)), 1)
    noise, imposed = rng.standard_normal((pairs, 3)), 2.0 * rng.standard_normal((pairs, 3))
    target = rng.integers(0, 3, pairs)
    both = []
    for forced in (np.zeros((pairs, 3), bool), np.arange(3) == target[:, None]):
        z = np.zeros((pairs, 3))
        for i in range(3):
            z[:, i] = np.where(forced[:, i], imposed[:, i], z @ weights[:, i] + noise[:, i])
        both.append(z @ mixing)
    assert not unrelated_columns(*both).any()


def test_pairs_drawn_independently_have_no_unrelated_columns() -> None:
    rng = np.random.default_rng(0)
    assert not unrelated_columns(rng.standard_normal((4_000, 3)), rng.standard_normal((4_000, 3))).any()


@pytest.mark.parametrize("model", ["linear", "flow", "ilcm-vae"])
def test_a_fit_leaves_unrelated_columns_out(model: str) -> None:
    x, x_tilde = with_noise_columns(0.0)
    data, related = lcm.PairData.from_arrays(x, x_tilde), lcm.PairData.from_arrays(x[:, :4], x_tilde[:, :4])
    assert data.estimated_n == related.estimated_n == 2
    peers = {section: replace(settings, steps=20) for section, settings in SHORT.peers.items()}
    search = replace(SHORT.graph_search, method="none")
    found = lcm.fit(data, config=replace(SHORT, model=model, peers=peers, graph_search=search), quiet=True)
    moved = x[:50].copy()
    moved[:, 4:] += 5.0
    np.testing.assert_array_equal(found.model.encode(x[:50]).z, found.model.encode(moved).z)
    # the assumptions of a peer are not tested, its data are
    assert bool(found.certificate.rows) == (model != "ilcm-vae")
    for doubts in (found.doubts, found.certificate.notes, fit_numbers(found)["doubts"]):
        assert any(doubt.startswith("Columns: columns 4, 5 of x carry nothing") for doubt in doubts)


def test_columns_that_are_left_out_are_constant_in_what_a_fit_draws() -> None:
    data = lcm.PairData.from_arrays(*with_noise_columns(0.0))
    found = lcm.fit(data, config=replace(SHORT, model="linear"), quiet=True)
    for drawn in (found.sample(100), found.sample(100, do={0: 0.5})):
        assert (np.ptp(drawn.x[:, 4:], axis=0) == 0.0).all() and (np.ptp(drawn.x[:, :4], axis=0) > 0.0).all()
    with pytest.raises(ValueError, match=r"n: Expected at least one pair; got 0"):
        found.sample(0)


def test_columns_that_are_left_out_make_no_other_number_plausible() -> None:
    x, x_tilde = with_noise_columns(0.0)
    alone = lcm.PairData.from_arrays(x[:, :4], x_tilde[:, :4]).dimension_evidence
    assert lcm.PairData.from_arrays(x, x_tilde).dimension_evidence.plausible == alone.plausible


def test_of_a_few_rows_no_column_has_few_levels() -> None:
    x = RNG.standard_normal((15, 2))
    assert column_signs(x).few_levels == ()
    assert column_signs(np.concatenate([x, x])).few_levels == (0, 1)


@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize(("offset", "step"), [(0.0, 0.1), (20.0, 0.1), (-300.0, 0.25), (0.0, 5e-3)])
def test_the_step_of_a_rounded_column_is_found(offset: float, step: float, precision: type) -> None:
    x = (offset + np.round(NORMAL / step) * step).astype(precision)[:, None]
    ((column, found, share),) = column_signs(x).rounded
    assert column == 0 and found == pytest.approx(step, rel=1e-3) and share == pytest.approx(step / x.std(), rel=1e-3)
    # as many values, at uneven steps
    uneven = np.array([1.0, 1.01, 1.025])[np.random.default_rng(1).integers(3, size=(5_000, 1))] * x
    assert column_signs(np.concatenate([x, uneven.astype(precision)], 1)).rounded[1:] == ()


def test_the_certificate_names_rounded_columns_and_what_follows() -> None:
    data = small_data("linear", 2_000)
    rounded = lcm.PairData.from_arrays(data.x.round(1), data.x_tilde.round(1))
    row = lcm.fit(rounded, n=2, model="linear", quiet=True).certificate.row("real")
    assert row.verdict == "cannot be known"
    assert row.reason.startswith("These columns of x look rounded: 0 (to 0.1), 1 (to 0.1), at most ")
    assert "no encoder is more exact than that" in row.reason
    exact = lcm.fit(data, n=2, model="linear", quiet=True).certificate.row("real")
    assert exact.reason.startswith("No column has as few as 20 values, nor steps.")


def test_doubts_name_columns_that_are_clipped_or_coarse() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([rng.standard_normal(2_000).clip(max=1.0), rng.integers(0, 5, 2_000) * 1.0], 1)
    clipped, coarse = data_doubts(lcm.PairData.from_arrays(x, x))
    assert clipped.startswith("A decoder with an inverse: these columns of x look clipped")
    assert "0 (15.5% at 1)" in clipped
    assert coarse.startswith("Real-valued observations: column 1 of x take at most 20 values.")


def test_an_index_among_the_columns_is_named() -> None:
    data = small_data("linear", 300)
    moments = np.random.default_rng(0).permutation(300) + 1_000.0
    x, x_tilde = (np.column_stack([part, moments]) for part in (data.x, data.x_tilde))
    pairs = lcm.PairData.from_arrays(x, x_tilde, columns=["speed", "height", "moment"])
    (doubt,) = data_doubts(pairs)
    assert doubt.startswith("Columns: column 'moment' of x looks like an index") and doubt.endswith("leave it out.")
    assert doubt in check_pairs(pairs)["doubts"]
    assert doubt in lcm.fit(pairs, model="linear", n=3, quiet=True).certificate.notes
    changed = moments + 1_000.0 * (np.arange(300) == 7)
    for first, second in ((moments // 2, moments // 2), (moments + 0.5, moments + 0.5), (moments, changed)):
        assert index_columns(first[:, None], second[:, None]) == ()
    assert index_columns(moments[:, None], moments[:, None]) == (0,)
