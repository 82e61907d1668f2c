"""Data made ready for a fit: coordinates, split and linear start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from laws import batch_jacobian
from small import sampled
from torch import Tensor

from lcm.data.nature.build import build_nature
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import FullConfig
from lcm.data.pairs import PairData
from lcm.learn.prepared import Prepared, prepare
from lcm.model.decoder import LinearDecoderConfig

CPU = torch.device("cpu")
N_PAIRS = 400
SHAPES = {"square": (3, 3), "embedded": (3, 7), "one-variable": (1, 1), "one-variable-embedded": (1, 4)}


def data_of(shape: str, shift: float = 5.0) -> PairData:
    n, d = SHAPES[shape]
    config = NatureConfig(n, FullConfig(), decoder=LinearDecoderConfig(dim_x=d))
    data = sampled(build_nature(config, 0), N_PAIRS)
    return PairData.from_arrays(data.x + shift, data.x_tilde + shift)


def prepared(shape: str, share: float = 0.1, seed: int = 0) -> Prepared:
    data = data_of(shape)
    return prepare(data.x, data.x_tilde, SHAPES[shape][0], share, seed, CPU)


def joined(found: Prepared) -> Tensor:
    """All pairs (N, 2 d) in the units of the data, training first."""
    columns = [torch.cat([found.train[part], found.validation[part]]) for part in range(2)]
    return torch.cat([found.standardisation(column)[0] for column in columns], 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pair_comes_back_from_its_coordinates_once(shape: str) -> None:
    # So the split is disjoint, and an x keeps its x_tilde.
    data = data_of(shape)
    whole = torch.from_numpy(np.concatenate([data.x, data.x_tilde], 1))
    found = joined(prepared(shape))
    nearest = torch.cdist(found.double(), whole.double()).argmin(1)
    assert len(set(nearest.tolist())) == N_PAIRS
    torch.testing.assert_close(found, whole[nearest], atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_coordinates_have_mean_zero_and_unit_variance(shape: str) -> None:
    found = prepared(shape)
    assert found.n == SHAPES[shape][0]
    x = torch.cat([found.train[0], found.validation[0]])
    torch.testing.assert_close(x.mean(0), torch.zeros(found.n), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(found.n), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_volume_is_that_of_the_map_to_x(shape: str) -> None:
    found = prepared(shape)
    jacobian = batch_jacobian(lambda rows: found.standardisation(rows)[0], found.train[0][:3]).double()
    # of a linear map it is the same at both observations of every pair
    expected = 0.5 * torch.linalg.slogdet(jacobian.transpose(1, 2) @ jacobian).logabsdet
    torch.testing.assert_close(2.0 * expected, torch.full_like(expected, found.log_volume), atol=3e-4, rtol=0)


@pytest.mark.parametrize(("share", "held_out"), [(0.1, 40), (0.5, 200), (0.0125, 5)])
def test_the_share_that_is_held_out(share: float, held_out: int) -> None:
    found = prepared("square", share)
    assert [len(part) for part in (*found.validation, *found.train)] == [held_out] * 2 + [N_PAIRS - held_out] * 2


@pytest.mark.parametrize("shape", SHAPES)
def test_the_unmixing_gives_unit_variance_and_one_sparse_differences(shape: str) -> None:
    found = prepared(shape)
    first, second = (part.double() @ found.unmixing.T for part in found.train)
    torch.testing.assert_close(first.std(0), torch.ones(found.n, dtype=torch.float64))
    assert int(((second - first).abs() > 1e-3).sum(1).max()) == 1


def test_one_seed_gives_one_split_and_another_another() -> None:
    first, same, other = (prepared("square", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train[0], same.train[0]) and torch.equal(first.unmixing, same.unmixing)
    assert not torch.equal(first.validation[0], other.validation[0])
    assert first.log_volume == other.log_volume
