"""Known variables to seek a graph over, and searches that take seconds."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from laws import default_dtype

from lcm.data.nature.build import build_nature, torch_generator
from lcm.data.nature.config import NatureConfig
from lcm.data.nature.graphs import EdgesConfig
from lcm.data.sample import sample_data
from lcm.peer.search.config import LIBRARY_METHODS, METHODS, EncoConfig, GraphSearchConfig, NetworksConfig, SearchMethod
from lcm.peer.search.variables import FittedVariables

CHAIN = ((2, 0), (0, 1))
OWN_METHODS: tuple[SearchMethod, ...] = tuple(method for method in METHODS if method not in LIBRARY_METHODS)
SHORT = GraphSearchConfig(
    threshold=0.2,
    networks=NetworksConfig(hidden=4, bins=4, steps=60, batch_size=128),
    enco=EncoConfig(hidden=4, steps=500, graphs=16, batch_size=128),
)
CLOSED_FORM = replace(SHORT, networks=replace(SHORT.networks, steps=0))


@cache
def chain_variables(rows: int = 4000) -> FittedVariables:
    """The true variables of a linear nature z_2 → z_0 → z_1."""
    # draws depend on the default precision, which a test may have changed
    with default_dtype(torch.float32):
        nature = build_nature(NatureConfig(3, EdgesConfig(edges=CHAIN)), 0)
        return FittedVariables.from_truth(sample_data(nature, rows, torch_generator(0, "pairs")))


def noise_alone(variables: FittedVariables) -> FittedVariables:
    """The same as a model without mechanisms would give them: z is the noise encoding."""
    noise, noise_tilde = variables.noise, variables.noise_tilde
    return FittedVariables(noise, noise_tilde, noise, noise_tilde, variables.target_weights)


def any_variables(n: int, seed: int, rows: int = 400) -> FittedVariables:
    """Heavy-tailed numbers and weights that belong to no model."""
    generator = torch.Generator().manual_seed(seed)
    z, noise = (torch.randn(2, rows, n, generator=generator).exp() for _ in range(2))
    return FittedVariables(z[0], z[1], noise[0], noise[1], torch.rand(rows, n, generator=generator))
