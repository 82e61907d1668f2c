"""Random isomorphisms: valid, varied, repeatable, and true to the theorem's easy direction."""

from __future__ import annotations

import pytest
import torch
from laws import BASE_MODELS, N, generator

from lcm.isomorphism.apply import random_elementwise, random_isomorphism

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("name", BASE_MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_the_image_has_equal_pair_densities(name: str, seed: int) -> None:
    original = BASE_MODELS[name]()
    image = random_isomorphism(N, generator(seed)).apply(original)
    pairs = original.sample_pairs(100, generator())
    density = original.pair_log_density(pairs.x, pairs.x_tilde)
    assert torch.allclose(image.pair_log_density(pairs.x, pairs.x_tilde), density, atol=1e-8)


def test_everything_varies_with_the_generator() -> None:
    drawn = [random_isomorphism(3, generator(seed)) for seed in range(60)]
    assert len({tuple(morphism.permutation) for morphism in drawn}) == 6
    assert {(morphism.noise_map.kind, morphism.variable_map.kind) for morphism in drawn} == {
        (first, second) for first in ("affine", "spline") for second in ("affine", "spline")
    }
    scales = torch.cat([morphism.noise_map.scale for morphism in drawn if hasattr(morphism.noise_map, "scale")])
    assert bool((scales < 0).any()) and bool((scales > 0).any())


def test_equal_generators_give_equal_isomorphisms() -> None:
    first, again, other = (random_isomorphism(5, generator(seed)) for seed in (3, 3, 4))
    values = torch.linspace(-5.0, 5.0, 20).unsqueeze(1).expand(-1, 5)
    assert first.permutation == again.permutation
    assert torch.equal(first.noise_map(values)[0], again.noise_map(values)[0])
    assert not torch.equal(first.noise_map(values)[0], other.noise_map(values)[0])


@pytest.mark.parametrize("seed", range(8))
def test_maps_are_strictly_monotone_and_clearly_no_identity(seed: int) -> None:
    elementwise = random_elementwise(4, generator(seed))
    values = torch.linspace(-6.0, 6.0, 400).unsqueeze(1).expand(-1, 4)
    images = elementwise(values)[0]
    steps = images.diff(dim=0)
    assert bool(((steps > 0).all(0) | (steps < 0).all(0)).all())
    assert float((images - values).abs().max()) > 0.2
    assert torch.allclose(elementwise.inverse(images)[0], values, atol=1e-8)


def test_maps_are_of_double_precision_whatever_the_default() -> None:
    torch.set_default_dtype(torch.float32)
    try:
        maps = [random_elementwise(3, generator(seed)) for seed in range(6)]
    finally:
        torch.set_default_dtype(torch.float64)
    assert {parameter.dtype for part in maps for parameter in part.parameters()} == {torch.float64}


def test_no_variables_are_an_error() -> None:
    with pytest.raises(ValueError, match="Expected n >= 1; got 0"):
        random_isomorphism(0, generator())
