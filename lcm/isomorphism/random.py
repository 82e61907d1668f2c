"""Random LCM isomorphisms (docs/theory.md section 1): a permutation, and monotone maps of noise and variables."""

from __future__ import annotations

import torch

from lcm.elementwise import AffineMap, ElementwiseMap, SplineMap
from lcm.isomorphism import Isomorphism


def random_isomorphism(n: int, generator: torch.Generator) -> Isomorphism:
    """Draw a uniform permutation of n variables and, for noise and variables each, affine maps or splines.

    Affine maps have scales within a factor e of one, with random signs, and standard-normal shifts; splines are
    increasing and clearly bent. All are float64.

    Raises:
        ValueError: n < 1.
    """
    if n < 1:
        raise ValueError(f"Expected n >= 1; got {n}.")
    permutation = torch.randperm(n, generator=generator).tolist()
    noise_map, variable_map = random_elementwise(n, generator), random_elementwise(n, generator)
    return Isomorphism(permutation, noise_map, variable_map)


def random_elementwise(n: int, generator: torch.Generator) -> ElementwiseMap:
    """Strictly monotone maps of n variables, float64: with equal probability all affine or all splines."""
    if bool(torch.rand((), generator=generator) < 0.5):
        return _random_affine(n, generator)
    spline = SplineMap(n).double()
    with torch.no_grad():
        spline.raw.copy_(torch.randn(spline.raw.shape, generator=generator, dtype=torch.float64))
    return spline.requires_grad_(False)


def _random_affine(n: int, generator: torch.Generator) -> AffineMap:
    sign = 2.0 * torch.randint(2, (n,), generator=generator, dtype=torch.float64) - 1.0
    scale = torch.exp(2.0 * torch.rand(n, generator=generator, dtype=torch.float64) - 1.0)
    shift = torch.randn(n, generator=generator, dtype=torch.float64)
    return AffineMap(n, shift, sign * scale).requires_grad_(False)
