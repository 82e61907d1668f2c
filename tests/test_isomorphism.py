"""LCM isomorphisms: what they move where, and the theorem's easy direction."""

from __future__ import annotations

import pytest
import torch
from laws import (
    BASE_MODELS,
    DECODERS,
    GRAPH,
    ISOMORPHISMS,
    PERMUTATION,
    N,
    default_dtype,
    generator,
    model,
    normal,
)
from torch import Tensor

from lcm.isomorphism import Isomorphism
from lcm.model.do import Do
from lcm.model.elementwise import AffineMap, SplineMap

pytestmark = pytest.mark.usefixtures("float64")
every_model = pytest.mark.parametrize("name", BASE_MODELS)
every_isomorphism = pytest.mark.parametrize("isomorphism", ISOMORPHISMS)


def moved(values: Tensor, permutation: tuple[int, ...]) -> Tensor:
    """Columns of old variables (N, n) under their new labels."""
    result = torch.empty_like(values)
    result[:, list(permutation)] = values
    return result


@every_isomorphism
@every_model
def test_isomorphic_models_have_equal_pair_densities(name: str, isomorphism: str) -> None:
    original, morphism = BASE_MODELS[name](), ISOMORPHISMS[isomorphism]()
    image = morphism.apply(original)
    pairs = original.sample_pairs(300, generator())
    density = original.pair_log_density(pairs.x, pairs.x_tilde)
    difference = image.pair_log_density(pairs.x, pairs.x_tilde) - density
    assert float(difference.detach().abs().max()) < 1e-8
    # and on pairs that the model did not make
    x, x_tilde = pairs.x.roll(1, 0), pairs.x_tilde
    assert torch.allclose(image.pair_log_density(x, x_tilde), original.pair_log_density(x, x_tilde), rtol=1e-8)


@every_isomorphism
@every_model
def test_isomorphic_models_agree_on_the_targets(name: str, isomorphism: str) -> None:
    original, morphism = BASE_MODELS[name](), ISOMORPHISMS[isomorphism]()
    image = morphism.apply(original)
    pairs = original.sample_pairs(100, generator())
    posterior = original.target_posterior(pairs.x, pairs.x_tilde)
    assert torch.allclose(image.target_posterior(pairs.x, pairs.x_tilde), posterior, atol=1e-8)
    for old, new in zip(original.target_distribution.as_lists(), image.target_distribution.as_lists(), strict=True):
        assert sorted(morphism.permutation[i] for i in old) == new


@every_isomorphism
@every_model
def test_variables_noise_graph_and_thickness_move_together(name: str, isomorphism: str) -> None:
    original, morphism = BASE_MODELS[name](), ISOMORPHISMS[isomorphism]()
    image, labels = morphism.apply(original), tuple(morphism.permutation)
    pairs = original.sample_pairs(50, generator())
    encoding = image.encode(pairs.x)
    assert torch.allclose(encoding.z, moved(morphism.variable_map(pairs.z)[0], labels), atol=1e-5)
    assert torch.allclose(encoding.noise, moved(morphism.noise_map(pairs.noise)[0], labels), atol=1e-5)
    assert {(labels[i], labels[j]) for i, j in GRAPH.edges()} == set(image.scm.graph.edges())
    assert torch.equal(image.thickness[list(labels)], original.thickness)


@every_isomorphism
@every_model
def test_densities_of_noise_and_causal_variables_are_pushed_forward(name: str, isomorphism: str) -> None:
    original, morphism = BASE_MODELS[name](), ISOMORPHISMS[isomorphism]()
    image, labels = morphism.apply(original), tuple(morphism.permutation)
    z, noise = original.scm.sample(50, generator()), original.scm.sample_noise(50, generator(2))
    new_z, log_h = morphism.variable_map(z)
    density = original.scm.log_density(z) - log_h.sum(1)
    assert torch.allclose(image.scm.log_density(moved(new_z, labels)), density, atol=1e-7)
    new_noise, log_k = morphism.noise_map(noise)
    expected = moved(original.scm.noise.log_density(noise) - log_k, labels)
    assert torch.allclose(image.scm.noise.log_density(moved(new_noise, labels)), expected, atol=1e-7)


@every_isomorphism
@every_model
def test_pairs_of_the_image_have_the_density_of_the_original(name: str, isomorphism: str) -> None:
    original, morphism = BASE_MODELS[name](), ISOMORPHISMS[isomorphism]()
    image = morphism.apply(original)
    pairs = image.sample_pairs(100, generator())
    # the sampler of the image, the interventional mechanisms included, against the likelihood of the original
    density = original.pair_log_density(pairs.x, pairs.x_tilde)
    assert torch.allclose(image.pair_log_density(pairs.x, pairs.x_tilde), density, atol=1e-6)
    new_z_tilde = moved(morphism.variable_map(original.encode(pairs.x_tilde).z)[0], tuple(morphism.permutation))
    assert torch.allclose(new_z_tilde, pairs.z_tilde, atol=1e-4)


@every_isomorphism
def test_counterfactuals_commute_with_the_isomorphism(isomorphism: str) -> None:
    original, morphism = BASE_MODELS["additive"](), ISOMORPHISMS[isomorphism]()
    image = morphism.apply(original)
    x = original.sample_pairs(20, generator()).x
    value = morphism.variable_map(torch.tensor([[0.4]]), torch.tensor([2]))[0]
    acted = image.counterfactual(x, Do({morphism.permutation[2]: float(value.detach())}))
    assert torch.allclose(acted, original.counterfactual(x, Do({2: 0.4})), atol=1e-7)


def test_isomorphisms_compose() -> None:
    original, first, second = BASE_MODELS["spline-soft"](), ISOMORPHISMS["mixed"](), ISOMORPHISMS["spline"]()
    image = second.apply(first.apply(original))
    pairs = original.sample_pairs(100, generator())
    density = original.pair_log_density(pairs.x, pairs.x_tilde)
    assert torch.allclose(image.pair_log_density(pairs.x, pairs.x_tilde), density, atol=1e-7)


def test_a_map_that_is_not_pushed_forward_everywhere_changes_the_density() -> None:
    # the law above can fail: the same model with another thickness, or with p̃ left as it was, differs
    original, morphism = model("additive-laplace", DECODERS["rotation"]), ISOMORPHISMS["negative-affine"]()
    pairs = original.sample_pairs(50, generator())
    density = original.pair_log_density(pairs.x, pairs.x_tilde)
    image = morphism.apply(original)
    image.intervention = original.intervention
    assert not torch.allclose(image.pair_log_density(pairs.x, pairs.x_tilde), density, atol=1e-2)


def test_the_image_shares_nothing_with_the_original() -> None:
    original, morphism = BASE_MODELS["fitted"](), ISOMORPHISMS["spline"]()
    pairs = original.sample_pairs(20, generator())
    density = original.pair_log_density(pairs.x, pairs.x_tilde)
    image = morphism.apply(original)
    with torch.no_grad():
        for tensor in [*image.parameters(), image.thickness, image.target_distribution.probabilities]:
            tensor.add_(0.1)
    assert torch.equal(original.pair_log_density(pairs.x, pairs.x_tilde), density)
    again = morphism.apply(original)
    assert torch.allclose(again.pair_log_density(pairs.x, pairs.x_tilde), density, atol=1e-7)


def test_precision_of_the_model_is_kept() -> None:
    original = BASE_MODELS["additive-shifted"]()
    maps = AffineMap(N), SplineMap(N)
    with default_dtype(torch.float32):
        image = Isomorphism(PERMUTATION, *maps).apply(original)
    assert image.thickness.dtype == image.target_distribution.probabilities.dtype == torch.float64
    old_label = sorted(range(N), key=PERMUTATION.__getitem__)
    assert torch.equal(image.thickness, original.thickness[old_label])
    assert torch.equal(image.target_distribution.probabilities, original.target_distribution.probabilities)
    x = normal(3, N).double()
    assert image.encode(x).z.dtype == torch.float64


@pytest.mark.parametrize("permutation", [(0, 1, 1, 3), (1, 2, 3, 4)])
def test_labels_that_are_no_permutation_are_an_error(permutation: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected a permutation of 0\.\.3; got \["):
        Isomorphism(permutation, AffineMap(N), AffineMap(N))


def test_maps_or_a_model_of_another_size_are_an_error() -> None:
    with pytest.raises(ValueError, match="Expected a noise map of 4 variables; got 3"):
        Isomorphism(PERMUTATION, AffineMap(3), AffineMap(N))
    with pytest.raises(ValueError, match="Expected a variable map of 4 variables; got 5"):
        Isomorphism(PERMUTATION, AffineMap(N), AffineMap(5))
    with pytest.raises(ValueError, match="Expected a model of 2 variables; got 4"):
        Isomorphism((1, 0), AffineMap(2), AffineMap(2)).apply(BASE_MODELS["linear"]())
