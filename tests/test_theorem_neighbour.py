"""Neighbours of a linear model: what differs, what does not, and that they are as near as they can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from laws import BASE_MODELS, DECODERS, N, batch_jacobian, generator, model, normal
from test_theorem_linear_scm import linear_model
from torch import Tensor

from experiments._theorem.linear_scm import linear_moments, with_edge_strength
from experiments._theorem.neighbour import (
    with_changed_weight,
    with_edge,
    with_moved_probability,
    with_reversed_edge,
    with_shifted_law,
    without_edge,
)
from lcm.metric.graph import structural_hamming_distance
from lcm.model.decoder import NoiseDecoder
from lcm.model.elementwise import AffineMap
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention
from lcm.model.latent_causal_model import LatentCausalModel, Pairs, noise_decoder
from lcm.model.noise import LaplaceNoise, PushforwardNoise, SkewedNoise
from lcm.model.scm import SCM
from lcm.model.storage import load_model, save_model

pytestmark = pytest.mark.usefixtures("float64")

Factory = Callable[[], LatentCausalModel]

SPARSE = Graph.from_edges(N, [(2, 0), (0, 3), (1, 3)])
"""Any edge of it can be turned around, and 0 → 1 joins two variables without a cycle."""


def skewed_model() -> LatentCausalModel:
    """Linear mechanisms with other laws of noise and imposed values, seen through a flow."""
    plain = linear_model(SPARSE)
    scm = SCM(SPARSE, plain.scm.mechanism, SkewedNoise(N))
    law = PushforwardNoise(LaplaceNoise(N), AffineMap(N, normal(N, seed=5)))
    return LatentCausalModel(
        scm, DECODERS["flow-affine"](), PerfectIntervention(law), plain.target_distribution, plain.thickness
    )


ORIGINALS: dict[str, Factory] = {
    "normal": lambda: linear_model(SPARSE),
    "skewed": skewed_model,
    "neighbour": lambda: with_edge(linear_model(SPARSE), (2, 1), 0.3),
}
CHANGES: dict[str, Callable[..., LatentCausalModel]] = {
    "removed": lambda original, **keep: without_edge(original, (2, 0), **keep),
    "added": lambda original, **keep: with_edge(original, (0, 1), 0.3, **keep),
    "reversed": lambda original, **keep: with_reversed_edge(original, (0, 3), **keep),
    "weight": lambda original, **keep: with_changed_weight(original, (2, 0), 0.2, **keep),
}
DISTANCES = {"removed": 1, "added": 1, "reversed": 1, "weight": 0}
every_change = pytest.mark.parametrize("change", CHANGES)
every_original = pytest.mark.parametrize("name", ORIGINALS)


def pairs_of(original: LatentCausalModel, rows: int = 500, seed: int = 0) -> Pairs:
    with torch.no_grad():
        return original.sample_pairs(rows, generator(seed))


@torch.no_grad()
def log_ratio(original: LatentCausalModel, neighbour: LatentCausalModel, pairs: Pairs) -> Tensor:
    return original.pair_log_density(pairs.x, pairs.x_tilde) - neighbour.pair_log_density(pairs.x, pairs.x_tilde)


def gauge(part: LatentCausalModel, x: Tensor) -> Tensor:
    return part.scm.noise.to_normal(part.encode(x).noise)[0].detach()


@every_change
@every_original
def test_graphs_differ_in_one_edge(name: str, change: str) -> None:
    original = ORIGINALS[name]()
    neighbour = CHANGES[change](original)
    graphs = original.scm.graph.adjacency, neighbour.scm.graph.adjacency
    assert structural_hamming_distance(*graphs) == DISTANCES[change]
    easy = CHANGES[change](ORIGINALS["normal"](), keep="decoder")
    assert structural_hamming_distance(SPARSE.adjacency, easy.scm.graph.adjacency) == DISTANCES[change]


@every_change
@every_original
def test_hard_neighbours_differ_in_the_moved_noise_alone(name: str, change: str) -> None:
    original = ORIGINALS[name]()
    neighbour, pairs = CHANGES[change](original), pairs_of(original)
    assert torch.allclose(gauge(neighbour, pairs.x), gauge(original, pairs.x), atol=1e-9)
    own, others = (part.pair_terms(pairs.x, pairs.x_tilde) for part in (original, neighbour))
    assert torch.allclose(own.base, others.base, atol=1e-8)
    assert torch.allclose(own.stay, others.stay, atol=1e-6)
    changed = (own.move - others.move).abs().amax(0) > 1e-3
    assert bool(changed.any()) and not bool(changed.all())
    assert torch.equal(neighbour.thickness, original.thickness)
    first, second = (part.target_distribution.probabilities for part in (original, neighbour))
    assert torch.equal(first, second)


@every_change
def test_easy_neighbours_have_the_decoder_and_the_other_weights(change: str) -> None:
    original = ORIGINALS["normal"]()
    neighbour = CHANGES[change](original, keep="decoder")
    z = normal(20, N)
    assert torch.equal(neighbour.decode(z), original.decode(z))
    weights = linear_moments(original.scm).weight, linear_moments(neighbour.scm).weight
    assert int((weights[0] != weights[1]).sum()) == (2 if change == "reversed" else 1)
    mechanisms = original.scm.mechanism.state_dict(), neighbour.scm.mechanism.state_dict()
    for key in ("bias", "log_scale"):
        assert torch.equal(mechanisms[0][key], mechanisms[1][key])
    assert float(log_ratio(original, neighbour, pairs_of(original)).mean()) > 1.0


@every_change
@every_original
def test_densities_are_normalised_relative_to_each_other(name: str, change: str) -> None:
    original = ORIGINALS[name]()
    neighbour = CHANGES[change](original)
    ratio = log_ratio(original, neighbour, pairs_of(neighbour, 20_000)).exp()
    assert float(ratio.std()) < 5.0
    assert abs(float(ratio.mean()) - 1.0) < 4.0 * float(ratio.std()) / 20_000**0.5
    assert float(ratio.std()) > 0.01


@pytest.mark.parametrize("keep", ["noise encoder", "decoder"])
def test_prescribed_strengths_and_weights_are_exact(keep: str) -> None:
    original = ORIGINALS["normal"]()
    moments = linear_moments(original.scm)
    added = linear_moments(CHANGES["added"](original, keep=keep).scm)
    assert added.strengths[0, 1] == pytest.approx(0.3)
    assert added.weight[0, 1] > 0.0
    turned = linear_moments(CHANGES["reversed"](original, keep=keep).scm)
    assert turned.strengths[3, 0] == pytest.approx(moments.strengths[0, 3])
    assert turned.weight[3, 0] * moments.weight[0, 3] > 0.0
    changed = linear_moments(CHANGES["weight"](original, keep=keep).scm)
    before, after = moments.weight[2, 0], changed.weight[2, 0]
    assert abs(after) - abs(before) == pytest.approx(0.2 * moments.spread[0] / moments.spread[2])
    assert after * before > 0.0


@every_original
def test_an_edge_without_weight_makes_no_difference(name: str) -> None:
    original = ORIGINALS[name]()
    weak = with_edge_strength(original, (0, 3), 0.0)
    pairs = pairs_of(weak, 100)
    assert torch.allclose(log_ratio(weak, without_edge(weak, (0, 3)), pairs), torch.zeros(100), atol=1e-7)
    assert torch.allclose(log_ratio(weak, with_changed_weight(weak, (0, 3), 0.0), pairs), torch.zeros(100), atol=1e-7)


def test_what_is_fitted_is_next_to_the_model() -> None:
    """Moving a fitted weight, bias or width either way loses likelihood under the model."""
    original = with_edge_strength(linear_model(Graph.from_edges(N, [(2, 0), (0, 3), (2, 3)])), (2, 3), 0.7)
    neighbour, pairs = without_edge(original, (2, 3)), pairs_of(original, 20_000)
    best = log_ratio(original, neighbour, pairs).mean()
    law = neighbour.intervention.noise.map  # type: ignore[union-attr]
    mechanism = neighbour.scm.mechanism
    places = ((mechanism.weight, (0, 3)), (mechanism.bias, (3,)), (law.scale, (3,)))
    for parameter, place in places:
        for step in (-0.15, 0.15):
            parameter[place] += step  # type: ignore[index, operator]
            assert float(log_ratio(original, neighbour, pairs).mean() - best) > 1e-4
            parameter[place] -= step  # type: ignore[index, operator]


def test_descendants_of_a_changed_variable_are_fitted_too() -> None:
    # 2 → 0 → 3: without the first edge, z_0 no longer carries what 3 needs, and p̃ of 3 is widened as well
    original = linear_model(SPARSE)
    scale = without_edge(original, (2, 0)).intervention.noise.map.scale  # type: ignore[union-attr]
    assert scale.tolist() == pytest.approx([float(scale[0]), 1.0, 1.0, float(scale[3])])
    assert float(scale[0]) > 1.0 and float(scale[3]) > 1.0
    lost = linear_moments(original.scm).weight[2, 0] * linear_moments(original.scm).spread[2]
    assert float(scale[0]) ** 2 == pytest.approx(1.0 + lost**2)


def test_a_shifted_law_is_that_of_one_variable() -> None:
    original = ORIGINALS["normal"]()
    neighbour, pairs = with_shifted_law(original, 2, 0.5), pairs_of(original, 20_000)
    own, others = (part.pair_terms(pairs.x, pairs.x_tilde) for part in (original, neighbour))
    assert torch.equal(own.base, others.base) and torch.equal(own.stay, others.stay)
    assert (own.move != others.move).any(0).tolist() == [False, False, True, False]
    ratio = log_ratio(original, neighbour, pairs)
    # p(I = {2}) times the divergence of two normals half a standard deviation apart
    assert abs(float(ratio.mean()) - 0.2 * 0.125) < 5.0 * float(ratio.std()) / 20_000**0.5
    assert torch.equal(log_ratio(original, with_shifted_law(original, 2, 0.0), pairs), torch.zeros(20_000))


def test_moved_probability_is_that_of_two_sets() -> None:
    original = ORIGINALS["normal"]()
    neighbour = with_moved_probability(original, 0, 3, 0.5)
    assert neighbour.target_distribution.probabilities.tolist() == pytest.approx([0.1, 0.2, 0.2, 0.3, 0.2])
    assert original.target_distribution.probabilities.tolist() == pytest.approx([0.2] * 5)
    ratio = log_ratio(original, neighbour, pairs_of(original, 20_000))
    divergence = 0.2 * (np.log(2.0) - np.log(1.5))
    assert abs(float(ratio.mean()) - divergence) < 5.0 * float(ratio.std()) / 20_000**0.5


@every_change
def test_neighbours_share_nothing_with_the_model(change: str) -> None:
    original = ORIGINALS["skewed"]()
    pairs = pairs_of(original, 50)
    before = original.pair_log_density(pairs.x, pairs.x_tilde)
    neighbours = [CHANGES[change](original), with_shifted_law(original, 0, 0.1)]
    neighbours.append(with_moved_probability(original, 0, 1, 0.1))
    with torch.no_grad():
        for tensor in (tensor for part in neighbours for tensor in [*part.parameters(), *part.buffers()]):
            tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor + 1)
    assert torch.equal(original.pair_log_density(pairs.x, pairs.x_tilde), before)


def test_a_hard_neighbour_is_saved_and_loaded(tmp_path: Path) -> None:
    original = ORIGINALS["skewed"]()
    neighbour, pairs = CHANGES["reversed"](original), pairs_of(original, 50)
    save_model(neighbour, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert isinstance(loaded, LatentCausalModel)
    assert torch.equal(log_ratio(neighbour, loaded, pairs), torch.zeros(50))


@pytest.mark.parametrize("name", BASE_MODELS)
def test_a_noise_decoder_is_decoder_after_solution_map(name: str) -> None:
    original = BASE_MODELS[name]()
    decoder, normal_noise = noise_decoder(original), normal(6, N, seed=4)
    x, log_det = (part.detach() for part in decoder(normal_noise))
    z = original.scm.solve(original.scm.noise.from_normal(normal_noise)[0])[0]
    assert torch.allclose(x, original.decode(z), atol=1e-9)
    again, log_inverse = decoder.inverse(x)
    assert torch.allclose(again, normal_noise, atol=1e-7)
    assert torch.allclose(log_inverse, -log_det, atol=1e-6)
    jacobian = batch_jacobian(lambda rows: decoder(rows)[0], normal_noise)
    volume = 0.5 * torch.linalg.slogdet(jacobian.transpose(1, 2) @ jacobian)[1]
    assert torch.allclose(log_det, volume, atol=1e-6)


def test_a_noise_decoder_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected a decoder of 4 variables; got 1"):
        NoiseDecoder(DECODERS["flow-one-variable"](), linear_model().scm)


def test_edges_that_cannot_be_changed_are_errors() -> None:
    original = ORIGINALS["normal"]()
    for change in (without_edge, with_reversed_edge):
        with pytest.raises(ValueError, match="Expected an edge of the graph; got 0 -> 1"):
            change(original, (0, 1))
    with pytest.raises(ValueError, match="Expected an edge of the graph; got 3 -> 0"):
        with_changed_weight(original, (3, 0), 0.1)
    for edge in ((2, 0), (1, 1), (0, 4)):
        with pytest.raises(ValueError, match="Expected two variables that no edge leads from and to yet; got"):
            with_edge(original, edge, 0.1)
    with pytest.raises(ValueError, match="Expected an acyclic adjacency; got the cycle"):
        with_edge(original, (3, 2), 0.1)
    with pytest.raises(ValueError, match="Expected an acyclic adjacency; got the cycle"):
        with_reversed_edge(linear_model(), (2, 3))


@pytest.mark.parametrize("keep", ["noise encoder", "decoder"])
def test_a_strength_out_of_reach_is_an_error(keep: str) -> None:
    with pytest.raises(ValueError, match=r"Expected a strength within reach, as any below 1 is; got 1\.5"):
        with_edge(ORIGINALS["normal"](), (0, 1), 1.5, keep=keep)  # type: ignore[arg-type]


def test_models_without_such_neighbours_are_errors() -> None:
    with pytest.raises(ValueError, match="Expected linear mechanisms; got additive"):
        without_edge(BASE_MODELS["additive"](), (2, 0))
    soft = model("linear-normal", DECODERS["rotation"], "soft")
    for change in (lambda: without_edge(soft, (2, 0)), lambda: with_shifted_law(soft, 0, 0.1)):
        with pytest.raises(ValueError, match="Expected perfect interventions; got soft"):
            change()
    with pytest.raises(ValueError, match="Expected a decoder that does not go through the mechanisms"):
        without_edge(ORIGINALS["neighbour"](), (2, 0), keep="decoder")


def test_bad_variables_sets_and_shares_are_errors() -> None:
    original = ORIGINALS["normal"]()
    with pytest.raises(ValueError, match=r"Expected a variable in 0\.\.3; got 4"):
        with_shifted_law(original, 4, 0.1)
    for sets in ((0, 0), (0, 5), (-1, 2)):
        with pytest.raises(ValueError, match=r"Expected two different target sets in 0\.\.4; got"):
            with_moved_probability(original, *sets, 0.1)
    with pytest.raises(ValueError, match=r"Expected a share in \[0, 1\), or a set has no support; got 1"):
        with_moved_probability(original, 0, 1, 1.0)
