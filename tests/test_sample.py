"""Pairs from a model: what is set has the value, what is no descendant stays, and the rest follows the mechanisms."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from small import sampled, small_data, thick_nature

from lcm.data.pairs import PairData
from lcm.data.sample import sample_counterfactuals, sample_pairs
from lcm.model.do import Do
from lcm.model.latent_causal_model import LatentCausalModel

VALUES = {0: 1.5, 2: -1.0}


@pytest.fixture(scope="module")
def model() -> LatentCausalModel:
    return thick_nature(3)


def column(data: PairData, key: str) -> np.ndarray:
    value: np.ndarray = data.tensors()[key]
    return value


def test_pairs_of_the_model_come_with_their_truth(model: LatentCausalModel) -> None:
    data = sample_pairs(model, 50, seed=3)
    assert len(data) == 50 and set(data.tensors()) == {
        "x",
        "x_tilde",
        "z",
        "z_tilde",
        "noise",
        "noise_tilde",
        "targets",
        "adjacency",
    }
    assert data.metadata["made_by"] == "lcm sample" and data.metadata["seed"] == "3" and "do" not in data.metadata
    assert np.array_equal(sample_pairs(model, 50, seed=3).x_tilde, data.x_tilde)
    assert not np.array_equal(sample_pairs(model, 50, seed=4).x, data.x)


@pytest.mark.parametrize("source", [False, True])
def test_all_interventions_act_at_once(source: bool, model: LatentCausalModel) -> None:
    given = sampled(model, 40) if source else None
    data = sample_counterfactuals(model, VALUES, given, n=None if source else 40, seed=1)
    assert len(data) == 40 and np.array_equal(column(data, "adjacency").astype(bool), model.scm.graph.adjacency)
    assert (column(data, "targets") == [True, False, True]).all()
    for variable, value in VALUES.items():
        np.testing.assert_array_equal(column(data, "z_tilde")[:, variable], np.float32(value))
    # The noise of what is not set is what it was, so that this is a counterfactual and no new draw.
    np.testing.assert_allclose(column(data, "noise_tilde")[:, 1], column(data, "noise")[:, 1], atol=1e-4)
    x = torch.from_numpy(data.x)
    np.testing.assert_allclose(data.x_tilde, model.counterfactual(x, Do(VALUES)).numpy(), atol=1e-3)
    np.testing.assert_allclose(model.decode(torch.from_numpy(column(data, "z"))).numpy(), data.x, atol=1e-4)
    assert {int(key): value for key, value in json.loads(data.metadata["do"]).items()} == VALUES


def test_given_observations_are_kept(model: LatentCausalModel) -> None:
    given = sampled(model, 30)
    assert np.array_equal(sample_counterfactuals(model, VALUES, given).x, given.x)
    assert np.array_equal(sample_counterfactuals(model, VALUES, given, n=10).x, given.x[:10])


def test_fresh_observations_depend_on_the_seed_alone(model: LatentCausalModel) -> None:
    first, second = (sample_counterfactuals(model, VALUES, n=20, seed=5) for _ in range(2))
    assert np.array_equal(first.x, second.x) and np.array_equal(first.x_tilde, second.x_tilde)
    assert np.array_equal(sample_counterfactuals(model, {1: 0.0}, n=20, seed=5).x, first.x)
    assert not np.array_equal(sample_counterfactuals(model, VALUES, n=20, seed=6).x, first.x)


@pytest.mark.parametrize("variable", [-1, 3])
def test_a_variable_out_of_range_is_refused(variable: int, model: LatentCausalModel) -> None:
    with pytest.raises(ValueError, match=rf"^do: Expected learned variables in 0\.\.2; got {variable}"):
        sample_counterfactuals(model, {variable: 1.0}, n=5)


def test_neither_a_number_nor_observations_is_refused(model: LatentCausalModel) -> None:
    with pytest.raises(ValueError, match="n: Expected a number of pairs, or x to start from; got neither"):
        sample_counterfactuals(model, VALUES)


def test_more_pairs_than_given_are_refused(model: LatentCausalModel) -> None:
    with pytest.raises(ValueError, match="n: Expected at most 20 pairs, as the data have; got 21"):
        sample_counterfactuals(model, VALUES, sampled(model, 20), n=21)


def test_observations_of_another_dimension_are_refused(model: LatentCausalModel) -> None:
    with pytest.raises(ValueError, match=r"^x: Expected shape \(N, 3\)"):
        sample_counterfactuals(model, VALUES, small_data("linear", 20))
