"""The readout of the default model on the noise encodings of any model: tests, with a p-value for every edge."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.config import MechanismsConfig
from lcm.learn.implicit import ImplicitModel, SolutionFunctions
from lcm.learn.mechanisms import ExplicitObjective, fit_mechanisms
from lcm.learn.noise_encoder import Encoded
from lcm.learn.training.objective import Stages
from lcm.model.decoder import ChainDecoder, LinearDecoder
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.peer.search.config import NetworksConfig
from lcm.peer.search.solution import NoiseRows, SolutionObjective, in_gauge
from lcm.peer.search.variables import FittedVariables
from lcm.readout.edges import causes_first, find_ancestry, find_edges
from lcm.readout.evidence import GraphEvidence

ANCESTOR_LEVEL = 0.01
_POINTS = 2_000


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


@torch.no_grad()
def dependence_strengths(solution: SolutionObjective) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """edge_strength (n, n) along an order of the variables, and that order, causes first.

    The order: repeatedly the variable whose solution function depends least on the noise of those left. The strength
    [j, k]: how much z_k moves, in RMS over points and in standard deviations, when z_j is replaced by that of another
    point, the noise of k stays, and all variables between them are held at their values by adapting their noise.
    """
    noise = solution.noise(solution.points[:_POINTS])
    z = solution.solve(noise)
    spread = math.sqrt(2.0) * z.std(0).clamp_min(1e-12)
    order = causes_first(_numbers(_noise_effects(solution, noise, z) / spread))
    return _numbers(_direct_effects(solution, noise, z, order) / spread), order


def _noise_effects(solution: SolutionObjective, noise: Tensor, z: Tensor) -> Tensor:
    """RMS change (n, n), [j, k], of z_k when ε_j is replaced by that of another point; 0 on the diagonal."""
    n = noise.shape[1]
    changed = noise.repeat(n, 1, 1)
    each = torch.arange(n, device=noise.device)
    changed[each, :, each] = noise.roll(1, 0).T
    moved = solution.solve(changed.flatten(0, 1)).view_as(changed) - z
    return moved.square().mean(1).sqrt().fill_diagonal_(0.0)


def _direct_effects(solution: SolutionObjective, noise: Tensor, z: Tensor, order: tuple[int, ...]) -> Tensor:
    """RMS change (n, n), [j, k], of z_k when z_j alone, of those before k in the order, is that of another point."""
    n, other = noise.shape[1], z.roll(1, 0)
    adapted = noise.repeat(n, 1, 1)
    effects = torch.zeros(n, n, dtype=z.dtype, device=z.device)
    # one variable after the other, since the noise of each is adapted to what it depends on; all causes j at once
    for k in order:
        variable = torch.tensor([k], device=z.device)
        location, log_scale = solution.functions.mechanism.location_and_log_scale(adapted.flatten(0, 1), variable)
        location, scale = location.view(n, -1), log_scale.exp().view(n, -1)
        effects[:, k] = (location + scale * noise[:, k] - z[:, k]).square().mean(1).sqrt()
        value = z[:, k].repeat(n, 1)
        value[k] = other[:, k]
        adapted[:, :, k] = (value - location) / scale
    return effects.fill_diagonal_(0.0)


def _numbers(values: Tensor) -> NDArray[np.float64]:
    finite = torch.nan_to_num(values.double(), nan=0.0, posinf=0.0)
    numbers: NDArray[np.float64] = finite.cpu().numpy()
    return numbers
