"""The readout of the default model on the noise encodings of any model: tests, with a p-value for every edge."""

from __future__ import annotations

import torch
from torch import Tensor

from lcm.decoder import ChainDecoder, LinearDecoder
from lcm.discovery import GraphEvidence
from lcm.graph import Graph
from lcm.graph_search.config import NetworksConfig
from lcm.graph_search.gauge import NoiseRows, in_gauge
from lcm.graph_search.variables import FittedVariables
from lcm.intervention import TargetDistribution
from lcm.learn.config import MechanismsConfig
from lcm.learn.implicit import ImplicitModel, SolutionFunctions
from lcm.learn.mechanisms import ExplicitObjective, fit_mechanisms
from lcm.learn.noise_encoder import Encoded
from lcm.learn.optimise import Stages, in_chunks
from lcm.learn.readout import find_ancestry, find_edges

ANCESTOR_LEVEL = 0.01


def find_by_tests(
    variables: FittedVariables, config: NetworksConfig, generator: torch.Generator
) -> Stages[GraphEvidence]:
    """p-values and strengths of all edges: ancestors by tests, mechanisms of all candidates, tests around these.

    Of the variables it takes the noise encodings and target weights alone: z follows from the mechanisms.
    """
    train, held_out = in_gauge(variables)
    ancestry = find_ancestry(train.normal, train.normal_tilde, train.weights, ANCESTOR_LEVEL)
    candidate = _mechanisms(Graph(ancestry.candidates), train, held_out, config)
    if config.steps > 0:
        yield from fit_mechanisms(candidate, generator)
    candidate.requires_grad_(False)
    noise_tilde = _noise_and_z(candidate, train.normal_tilde)[0]
    of_train = noise_tilde, _noise_and_z(candidate, train.normal)[1], train.weights
    return find_edges(candidate.scm, ancestry, of_train, _noise_and_z(candidate, held_out.normal))


def _mechanisms(graph: Graph, train: NoiseRows, held_out: NoiseRows, config: NetworksConfig) -> ExplicitObjective:
    """Mechanisms over a graph, with the weight of every target in the place of a posterior over target sets."""
    n, device = graph.n, train.normal.device
    everything = torch.ones(n, n, dtype=torch.bool)
    solution = SolutionFunctions(everything, 1, config.bins, torch.Generator().manual_seed(0))
    targets = TargetDistribution.family(n, "atomic")
    implicit = ImplicitModel(ChainDecoder([LinearDecoder(n)]), solution, targets).to(device)
    first, second = (Encoded(rows.normal, rows.normal_tilde, rows.weights) for rows in (train, held_out))
    own = MechanismsConfig(config.hidden, config.bins, max(1, config.steps), config.batch_size, config.learning_rate)
    return ExplicitObjective(graph, implicit, first, second, own)


def _noise_and_z(objective: ExplicitObjective, normal: Tensor) -> tuple[Tensor, Tensor]:
    scm = objective.scm

    def solved(u: Tensor) -> tuple[Tensor, Tensor]:
        noise = scm.noise.from_normal(u)[0]
        return noise, scm.solve(noise)[0]

    noise, z = in_chunks(solved, normal)
    return noise, z
