"""Encodings: a nature sees its own variables, noise and targets, in the columns that the contract says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import sampled, small_data, thick_nature

from lcm.data import encode as module
from lcm.data.encode import encode_data, encode_pairs, target_columns
from lcm.data.pairs import PairData
from lcm.model.intervention import InterventionConfig, PerfectInterventionConfig
from lcm.model.latent_causal_model import LatentCausalModel

N = 3
FAMILIES: dict[str, InterventionConfig] = {
    "atomic": PerfectInterventionConfig(targets="atomic"),
    "atomic-or-empty": PerfectInterventionConfig(targets="atomic-or-empty", probabilities=(0.1, 0.2, 0.3, 0.4)),
    "atomic in another order": PerfectInterventionConfig(
        targets=((2,), (), (0,), (1,)), probabilities=(0.1, 0.2, 0.3, 0.4)
    ),
    "some atomic": PerfectInterventionConfig(targets=((2,), (0,))),
    "all": PerfectInterventionConfig(targets="all"),
    "several": PerfectInterventionConfig(targets=((0, 2), (), (1,))),
}
ATOMIC_COLUMNS = [[], [0], [1], [2]]
COLUMNS = {
    "all": [[], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]],
    "several": [[0, 2], [], [1]],
}
every_family = pytest.mark.parametrize("name", FAMILIES)


def pairs_of(name: str, n_pairs: int = 500) -> tuple[LatentCausalModel, PairData]:
    model = thick_nature(N, FAMILIES[name])
    return model, sampled(model, n_pairs)


@every_family
def test_a_nature_sees_its_own_variables_and_noise(name: str) -> None:
    model, data = pairs_of(name)
    encoded, truth = encode_data(model, data), data.tensors()
    for key in ("z", "z_tilde", "noise", "noise_tilde"):
        assert encoded[key].shape == (500, N) and encoded[key].dtype == np.float32
        np.testing.assert_allclose(encoded[key], truth[key], atol=2e-3)


@every_family
def test_columns_are_target_sets_and_rows_sum_to_one(name: str) -> None:
    model, data = pairs_of(name)
    columns = target_columns(model)
    assert columns == COLUMNS.get(name, ATOMIC_COLUMNS)
    probability = encode_data(model, data)["target_probability"]
    assert probability.shape == (500, len(columns)) and probability.dtype == np.float32
    np.testing.assert_allclose(probability.sum(1), 1.0, atol=1e-5)
    in_family = [sorted(targets) in model.target_distribution.as_lists() for targets in columns]
    assert (probability[:, np.logical_not(in_family)] == 0.0).all()
    mask = np.array([[variable in targets for variable in range(N)] for targets in columns])
    assert data.targets is not None
    assert (mask[probability.argmax(1)] == data.targets).all(1).mean() > 0.94


def test_the_family_without_the_empty_set_has_probability_zero_for_it() -> None:
    model, data = pairs_of("atomic")
    assert (encode_data(model, data)["target_probability"][:, 0] == 0.0).all()


def test_chunks_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = pairs_of("several", 50)
    whole = encode_data(model, data)
    monkeypatch.setattr(module, "_CHUNK", 7)
    for key, value in encode_data(model, data).items():
        np.testing.assert_allclose(value, whole[key], atol=1e-4)


def test_chunks_are_smaller_where_there_are_many_target_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = pairs_of("all", 50)
    sizes: list[int] = []
    encoding = LatentCausalModel.encoding

    def counted(self: LatentCausalModel, x: torch.Tensor) -> object:
        sizes.append(len(x))
        return encoding(self, x)

    monkeypatch.setattr(LatentCausalModel, "encoding", counted)
    monkeypatch.setattr(module, "_CHUNK_ENTRIES", 80)
    encode_data(model, data)
    assert set(sizes) == {10}


def test_log_density_and_posterior_are_those_of_the_model() -> None:
    model, data = pairs_of("atomic-or-empty", 50)
    encoded = encode_pairs(model, data)
    x, x_tilde = torch.from_numpy(data.x), torch.from_numpy(data.x_tilde)
    torch.testing.assert_close(encoded.log_density, model.pair_log_density(x, x_tilde))
    torch.testing.assert_close(encoded.posterior, model.target_posterior(x, x_tilde))


def test_an_exact_model_is_read_at_the_floor_of_the_thickness() -> None:
    model, data = pairs_of("atomic", 50)
    model.thickness.zero_()
    encoded = encode_pairs(model, data)
    expected = model.pair_log_density(torch.from_numpy(data.x), torch.from_numpy(data.x_tilde), 1e-3)
    torch.testing.assert_close(encoded.log_density, expected)


def test_a_trainable_model_keeps_no_gradient() -> None:
    model, data = pairs_of("atomic", 20)
    assert not any(part.requires_grad for part in encode_pairs(model.requires_grad_(True), data))


def test_double_precision_is_that_of_the_model() -> None:
    model, data = pairs_of("atomic", 20)
    double = encode_pairs(model.double(), data)
    assert {part.dtype for part in double} == {torch.float64}
    assert encode_data(model, data)["z"].dtype == np.float32


def test_a_single_pair_is_enough() -> None:
    model, data = pairs_of("atomic")
    one = PairData.from_arrays(data.x[:1], data.x_tilde[:1])
    assert encode_data(model, one)["z"].shape == (1, N)


def test_another_dimension_is_refused() -> None:
    data = replace(small_data("linear", 10), source="here.safetensors")
    with pytest.raises(ValueError, match=r"^here.safetensors: x: Expected shape \(N, 3\), .*; got \(10, 2\)"):
        encode_data(thick_nature(N), data)


def test_images_are_refused() -> None:
    images = np.zeros((4, 1, 3, 1), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"^x: Expected shape \(N, 3\), .*; got \(4, 1, 3, 1\)"):
        encode_data(thick_nature(N), PairData.from_arrays(images, images))


@pytest.mark.parametrize("size", [1e18, 1e30])
def test_rows_that_are_too_far_out_are_named_and_never_nan(size: float) -> None:
    model, data = pairs_of("atomic", 50)
    x = data.x.copy()
    x[[3, 8]] *= np.float32(size)
    with pytest.raises(ValueError, match="x: Expected finite encodings; got 2 rows that are not, the first is row 3"):
        encode_pairs(model, replace(data, x=x))
