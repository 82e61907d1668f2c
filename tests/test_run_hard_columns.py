"""Data whose values or laws are hard on arithmetic: far from zero, of heavy tails, of one target nearly always."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small import SHORT, small_data

import lcm
from lcm.data.encode import encode_pairs
from lcm.isomorphism.likelihood import log_densities
from lcm.peer.search.config import GraphSearchConfig
from lcm.readout.dependence import not_far_out

pytestmark = pytest.mark.usefixtures("cheap_scores")

Array = NDArray[np.float64]
CHAIN = np.eye(3, k=1)
MIXING = np.linalg.qr(np.random.default_rng(5).standard_normal((3, 3)))[0]


def chain_pairs(noise: Callable[[np.random.Generator], Array], shares: list[float], seed: int = 0) -> lcm.PairData:
    """A linear chain of three variables with normal imposed values and exact pairs; shares of no target and of each."""
    rng = np.random.default_rng(seed)
    before, target = noise(rng), rng.choice(4, len(noise(rng)), p=shares)
    targets = target[:, None] == np.arange(1, 4)
    imposed = rng.standard_normal(before.shape)
    z, z_tilde = before.copy(), before.copy()
    for i in range(3):
        z[:, i] += z @ CHAIN[:, i] if i else 0.0
        z_tilde[:, i] = np.where(targets[:, i], imposed[:, i], before[:, i] + (z_tilde @ CHAIN[:, i] if i else 0.0))
    truth = {"z": z, "z_tilde": z_tilde, "targets": targets, "adjacency": CHAIN.astype(np.uint8)}
    return lcm.PairData.from_arrays(z @ MIXING, z_tilde @ MIXING, **truth)


def scores(data: lcm.PairData, model: str = "linear") -> dict[str, Any]:
    return lcm.evaluate(lcm.fit(data, model=model, quiet=True), data)


@pytest.mark.parametrize("kind", ["cauchy", "t1.5"])
@pytest.mark.parametrize("seed", [0, 1])
def test_heavy_tails_leave_graph_and_mechanisms_right(kind: str, seed: int) -> None:
    degrees = {"cauchy": 1.0, "t1.5": 1.5}[kind]
    found = scores(chain_pairs(lambda rng: rng.standard_t(degrees, (4_000, 3)), [0.25] * 4, seed))
    assert found["mcc"] > 0.995
    assert found["shd"] == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_a_variable_that_nearly_every_pair_targets_is_not_taken_for_one_that_stays(seed: int) -> None:
    data = chain_pairs(lambda rng: rng.standard_normal((6_000, 3)), [0.06, 0.06, 0.82, 0.06], seed)
    result = lcm.fit(data, model="linear", quiet=True)
    assert float(result.model.thickness.max()) < 0.01
    assert lcm.evaluate(result, data)["intervention_accuracy"] > 0.99


def test_rows_far_out_are_those_of_heavy_tails() -> None:
    rng = np.random.default_rng(0)
    share = {
        name: float(not_far_out(torch.from_numpy(draws)).double().mean())
        for name, draws in {
            "normal": rng.standard_normal((10_000, 2)),
            "cauchy": rng.standard_cauchy((10_000, 2)),
            "mostly equal": np.where(rng.random((10_000, 2)) < 0.3, 100.0, 0.0),
            "none": np.zeros((0, 2)),
        }.items()
        if len(draws)
    }
    assert share == {"normal": 1.0, "cauchy": pytest.approx(0.88, abs=0.02), "mostly equal": 1.0}
    assert not_far_out(torch.zeros(0, 2)).shape == (0,)


OFFSETS = {"one for all": np.full(3, 1e6), "one column": np.array([0.0, 1.7e9, 0.0]), "none": np.zeros(3)}


def far(name: str, d: int = 3) -> tuple[Array, Array]:
    """Observations of two variables in d columns, in float64, far from zero."""
    data, rng = small_data("linear", 1_000), np.random.default_rng(0)
    mixing = rng.standard_normal((2, d))
    return tuple(part.astype(np.float64) @ mixing + OFFSETS[name] for part in (data.x, data.x_tilde))  # type: ignore


@cache
def fitted(name: str, model: str) -> lcm.FitResult:
    """A short fit to these observations."""
    peers = {section: replace(settings, steps=20) for section, settings in SHORT.peers.items()}
    config = replace(SHORT, model=model, n=2, peers=peers, graph_search=GraphSearchConfig(method="none"))
    return lcm.fit(lcm.PairData.from_arrays(*far(name)), config=config, quiet=True)


@pytest.mark.parametrize("model", ["flow", "linear", "ilcm-vae"])
@pytest.mark.parametrize("name", OFFSETS)
def test_a_constant_in_float64_changes_nothing(model: str, name: str) -> None:
    x, x_tilde = far(name)
    data = lcm.PairData.from_arrays(x, x_tilde)
    assert data.x.dtype == (np.float32 if name == "none" else np.float64)
    assert data.estimated_n == 2
    found, plain = fitted(name, model), fitted("none", model)
    z, expected = (np.asarray(fit.model.encode(part[:50]).z) for fit, part in ((found, x), (plain, far("none")[0])))
    np.testing.assert_allclose(z, expected, atol=2e-2 if model != "linear" else 1e-3)
    np.testing.assert_allclose(encode_pairs(found.model, data).z[:50].numpy(), z, atol=1e-6)


@pytest.mark.parametrize("name", OFFSETS)
def test_far_observations_survive_decoding_saving_and_loading(name: str, tmp_path: Any) -> None:
    x, x_tilde = far(name)
    model = lcm.fit(lcm.PairData.from_arrays(x, x_tilde), model="linear", quiet=True).model
    model.save(tmp_path / "model.safetensors")
    for each in (model, lcm.load(tmp_path / "model.safetensors")):
        again = each.decode(each.encode(torch.from_numpy(x)).z)
        np.testing.assert_allclose(again.numpy() - OFFSETS[name], x - OFFSETS[name], atol=1e-4)


@pytest.mark.parametrize("name", OFFSETS)
def test_a_constant_changes_no_likelihood_that_fits_are_compared_by(name: str) -> None:
    x, x_tilde = far(name)
    data = lcm.PairData.from_arrays(x, x_tilde)
    model = lcm.fit(data, model="linear", quiet=True).model
    found = log_densities(model, data, model.thickness)
    np.testing.assert_allclose(found.numpy(), model.log_prob(x, x_tilde), atol=0.05)


def test_integers_beyond_float32_are_kept() -> None:
    stamps = 1_700_000_000 + np.random.default_rng(0).integers(0, 1_000, (500, 2))
    data = lcm.PairData.from_arrays(stamps, stamps[::-1])
    np.testing.assert_array_equal(data.x, stamps)
