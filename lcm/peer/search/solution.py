"""Readouts of the noise encodings of any model: solution functions for `jacobian` and `dependence`, and `tests`."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.config import MechanismsConfig
from lcm.learn.mechanisms import ExplicitObjective, fit_mechanisms
from lcm.learn.noise_encoder import ImplicitModel, SolutionFunctions
from lcm.learn.noise_encoder_objective import Encoded
from lcm.learn.training.objective import Job, Objective, ParameterGroup, Schedule, Stages
from lcm.model.decoder import ChainDecoder, LinearDecoder
from lcm.model.graph import Graph
from lcm.model.intervention import TargetDistribution
from lcm.model.mechanism import raw_log_scale
from lcm.peer.search.config import NetworksConfig
from lcm.peer.search.variables import FittedVariables
from lcm.readout.ancestors import causes_first, find_ancestry
from lcm.readout.dependence import varies
from lcm.readout.edges import find_edges
from lcm.readout.evidence import GraphEvidence

_VALIDATIONS = 20
_ROWS_PER_REGRESSOR = 10
_FAR_FROM_NORMAL = 0.1
_KNOTS = 257
_HELD_OUT = 0.1
_POINTS, _FEW_POINTS = 4_000, 2_000
_ANCESTOR_LEVEL = 0.01
_LEAST_DIAGONAL = 1e-3


@final
class SolutionObjective(Objective):
    """Solution functions of all variables, each of all noise encodings, location-scale in its own.

    If the model has mechanisms, they regress z on ε, before and after. If z is ε, they are the conditional density of
    ũ_i given the others in pairs with target i, which for perfect interventions is a density of ζ_i only
    (docs/theory.md section 2).
    """

    def __init__(self, variables: FittedVariables, config: NetworksConfig, generator: torch.Generator) -> None:
        super().__init__()
        n = variables.n
        self.config, self.regresses = config, variables.has_mechanisms
        mask = ~torch.eye(n, dtype=torch.bool)
        self.functions = SolutionFunctions(mask, config.hidden, config.bins, generator).to(variables.z.device)
        train, held_out = in_gauge(variables)
        self.start_linear(train)
        self.points = held_out.normal
        self._train, self._held_out = self._rows(train), self._rows(held_out)

    def _rows(self, rows: NoiseRows) -> tuple[Tensor, Tensor]:
        """u with z, before and after, or ũ with the weights of the targets."""
        if self.regresses:
            return torch.cat([rows.normal, rows.normal_tilde]), torch.cat([rows.z, rows.z_tilde])
        return rows.normal_tilde, rows.weights

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.parameters()), self.config.learning_rate)]

    @property
    def n_rows(self) -> int:
        return len(self._train[0])

    def structure(self) -> Hashable:
        return self.config, self.regresses

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(part[rows] for part in self._train)

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        return self._losses(*batch).mean()

    def _losses(self, normal: Tensor, other: Tensor) -> Tensor:
        if not self.regresses:
            return -(other * self.functions.move_log_density(normal).clamp_min(-15.0)).sum(1)
        # robust, so that no outlier dominates
        return torch.nn.functional.smooth_l1_loss(self.solve(self.noise(normal)), other, reduction="none").sum(1)

    def validate(self) -> dict[str, Any]:
        (losses,) = in_chunks(lambda *rows: (self._losses(*rows),), *self._held_out)
        return {"validation_log_likelihood": -float(losses.mean())}

    def noise(self, normal: Tensor) -> Tensor:
        """ε (N, n), in which the functions are location-scale, from the gauge u (N, n)."""
        return self.functions.noise.from_normal(normal)[0]

    def solve(self, noise: Tensor) -> Tensor:
        """z (N, n) from ε (N, n)."""
        return self.functions.mechanism(noise, noise)[0]

    @torch.no_grad()
    def start_linear(self, train: NoiseRows) -> None:
        """Set all functions to their least-squares fits."""
        mechanism, n = self.functions.mechanism, train.normal.shape[1]
        for i in range(n):
            others = [j for j in range(n) if j != i]
            normal = train.normal if self.regresses else train.normal_tilde[train.weights[:, i] > 0.5]
            if len(normal) < _ROWS_PER_REGRESSOR * (n + 1):
                continue
            columns = [i, *others] if self.regresses else others
            effect = (train.z if self.regresses else normal)[: len(normal), i].double()
            design = torch.cat([normal[:, columns], torch.ones_like(normal[:, :1])], 1).double()
            solution = torch.linalg.lstsq(design, effect.unsqueeze(1)).solution[:, 0]
            if self.regresses:
                scale, slopes = solution[0].clamp_min(1e-2), solution[1:]
            else:
                scale = 1.0 / (effect - design @ solution).std().clamp_min(1e-3)
                slopes = -solution * scale
            mechanism.network.linear[i, others, 0] = slopes[:-1].to(mechanism.bias)
            mechanism.bias[i], mechanism.log_scale[i] = slopes[-1], raw_log_scale(scale.log())


def fit_solution(
    variables: FittedVariables, config: NetworksConfig, generator: torch.Generator
) -> Stages[SolutionObjective]:
    """The fitted solution functions."""
    objective = SolutionObjective(variables, config, generator)
    if config.steps > 0:
        every = max(1, config.steps // _VALIDATIONS)
        schedule = Schedule(config.steps, config.batch_size, every, patience=_VALIDATIONS)
        yield Job("solution functions", objective, schedule, generator)
    return objective.requires_grad_(False)


class NoiseRows(NamedTuple):
    """Rows of pairs in the gauge: u, ũ, z and z̃ in standard deviations, P(i ∈ I | x, x̃); all (N, n)."""

    normal: Tensor
    normal_tilde: Tensor
    z: Tensor
    z_tilde: Tensor
    weights: Tensor


def in_gauge(variables: FittedVariables) -> tuple[NoiseRows, NoiseRows]:
    """Training rows and the last tenth, held out, all in the default precision.

    Noise is in standard deviations from its mean; p_ε need not be normal, because the mechanisms learn a monotone map
    of it. Noise far from normal (a Kolmogorov distance above 0.1) is replaced by normal scores. Its sign is that of the
    causal variable.
    """
    noise, noise_tilde = _normal_gauge(variables.noise.double(), variables.noise_tilde.double())
    z, spread = variables.z.double(), variables.z.double().std(0).clamp_min(1e-12)
    center = z.mean(0)
    z, z_tilde = (z - center) / spread, (variables.z_tilde.double() - center) / spread
    sign = torch.where((noise * z).mean(0) < 0, -1.0, 1.0)
    parts = noise * sign, noise_tilde * sign, z, z_tilde, variables.target_weights
    first = len(z) - max(1, round(_HELD_OUT * len(z)))
    rows = [part.to(torch.get_default_dtype()) for part in parts]
    return NoiseRows(*(part[:first] for part in rows)), NoiseRows(*(part[first:] for part in rows))


def _normal_gauge(noise: Tensor, noise_tilde: Tensor) -> tuple[Tensor, Tensor]:
    center, spread = noise.mean(0), noise.std(0).clamp_min(1e-12)
    first, second = (noise - center) / spread, (noise_tilde - center) / spread
    ranked = np.sort(first.cpu().numpy(), 0)
    share = (np.arange(len(ranked)) + 0.5) / len(ranked)
    far = np.abs(ndtr(ranked) - share[:, None]).max(0) > _FAR_FROM_NORMAL
    if far.any():
        first, second = first.clone(), second.clone()
        columns = torch.from_numpy(np.flatnonzero(far)).to(noise.device)
        scored = _normal_scores(first[:, columns], torch.cat([first, second])[:, columns]).split(len(first))
        first[:, columns], second[:, columns] = scored
    return first, second


def _normal_scores(reference: Tensor, values: Tensor) -> Tensor:
    """Values (M, k) through the piecewise linear map that makes a reference (N, k) normal, extended by lines."""
    first, device = 0.5 / len(reference), reference.device
    inside = torch.linspace(first, 1.0 - first, _KNOTS, dtype=reference.dtype, device=device)
    scores = torch.special.ndtri(inside)
    quantiles = torch.quantile(_thinned(reference), inside, dim=0).T
    # equal values are separated a little, so that the knots increase
    knots = (quantiles + 1e-9 * torch.arange(_KNOTS, device=device)).contiguous()
    index = torch.searchsorted(knots, values.T.contiguous()).clamp(1, _KNOTS - 1)
    low, high = knots.gather(1, index - 1), knots.gather(1, index)
    share = (values.T - low) / (high - low).clamp_min(1e-6)
    # beyond the outer knots it is a line, but not far, because its slope is uncertain
    share = share.clamp(-20.0, 20.0)
    return (scores[index - 1] + share * (scores[index] - scores[index - 1])).T


def _thinned(values: Tensor) -> Tensor:
    """At most 100,000 rows: torch takes no quantiles of many more."""
    return values[:: max(1, len(values) // 100_000)]


def jacobian_strengths(solution: SolutionObjective) -> NDArray[np.float64]:
    """edge_strength (n, n), [j, k]: RMS over points of the effect of z_j on z_k at fixed ε_k, times sd(z_j)/sd(z_k).

    With J = ∂s/∂ε, the effects are B = 1 − diag(J⁻¹)⁻¹ J⁻¹. No ancestor structure is enforced before the inversion.
    """
    noise = solution.noise(solution.points[:_POINTS]).detach()
    z, jacobian = _jacobian(solution, noise)
    inverse, failed = torch.linalg.inv_ex(jacobian.double())
    diagonal = inverse.diagonal(dim1=1, dim2=2)
    diagonal = torch.where(diagonal.abs() < _LEAST_DIAGONAL, _LEAST_DIAGONAL, diagonal)
    effects = (inverse / diagonal.unsqueeze(2))[failed == 0]
    strength = effects.square().mean(0).sqrt().T * z.double().std(0).unsqueeze(1) / _spread_of_effects(z.double())
    strength = torch.nan_to_num(strength.fill_diagonal_(0.0), nan=0.0, posinf=0.0)
    found: NDArray[np.float64] = strength.cpu().numpy()
    return found


def _jacobian(solution: SolutionObjective, noise: Tensor) -> tuple[Tensor, Tensor]:
    """z (N, n) and ∂z_k/∂ε_l (N, n, n), [k, l], by n backward passes."""
    with torch.enable_grad():
        points = noise.requires_grad_()
        z = solution.solve(points)
        columns = range(z.shape[1])
        rows = [torch.autograd.grad(z[:, k].sum(), points, retain_graph=True)[0] for k in columns]
    return z.detach(), torch.stack(rows, 1)


@torch.no_grad()
def dependence_strengths(solution: SolutionObjective) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """edge_strength (n, n) along an order of the variables, and that order, causes first.

    The order repeatedly takes the variable whose solution function depends least on the noise of the remaining ones.
    The strength [j, k] is how much z_k moves, in RMS over points and in standard deviations, when z_j is replaced by
    that of another point, the noise of k stays, and the noise of all variables between them is adapted to keep these.
    """
    noise = solution.noise(solution.points[:_FEW_POINTS])
    z = solution.solve(noise)
    spread = math.sqrt(2.0) * _spread_of_effects(z)
    order = causes_first(_numbers(_noise_effects(solution, noise, z) / spread))
    return _numbers(_direct_effects(solution, noise, z, order) / spread), order


def _spread_of_effects(z: Tensor) -> Tensor:
    """Standard deviations (n,) of z (N, n); infinite for a constant, so that it is no effect of anything."""
    return torch.where(varies(z), z.std(0), torch.inf)


def _noise_effects(solution: SolutionObjective, noise: Tensor, z: Tensor) -> Tensor:
    """RMS change (n, n), [j, k], of z_k when ε_j is replaced by that of another point; 0 on the diagonal."""
    n = noise.shape[1]
    changed = noise.repeat(n, 1, 1)
    each = torch.arange(n, device=noise.device)
    changed[each, :, each] = noise.roll(1, 0).T
    moved = solution.solve(changed.flatten(0, 1)).view_as(changed) - z
    return moved.square().mean(1).sqrt().fill_diagonal_(0.0)


def _direct_effects(solution: SolutionObjective, noise: Tensor, z: Tensor, order: tuple[int, ...]) -> Tensor:
    """RMS change (n, n), [j, k], of z_k when only z_j, of those before k in the order, is that of another point."""
    n, other = noise.shape[1], z.roll(1, 0)
    adapted = noise.repeat(n, 1, 1)
    effects = torch.zeros(n, n, dtype=z.dtype, device=z.device)
    # one variable after the other, because the noise of each is adapted to its inputs; all causes j at once
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


def find_by_tests(
    variables: FittedVariables, config: NetworksConfig, generator: torch.Generator
) -> Stages[GraphEvidence]:
    """p-values and strengths of all edges: ancestors by tests, mechanisms of all candidates, tests around these.

    Only the noise encodings and target weights count: z follows from the mechanisms.
    """
    train, held_out = in_gauge(variables)
    ancestry = find_ancestry(train.normal, train.normal_tilde, train.weights, _ANCESTOR_LEVEL)
    candidate = _mechanisms(Graph(ancestry.candidates), train, held_out, config)
    if config.steps > 0:
        yield from fit_mechanisms(candidate, generator)
    candidate.requires_grad_(False)
    noise_tilde = _noise_and_z(candidate, train.normal_tilde)[0]
    of_train = noise_tilde, _noise_and_z(candidate, train.normal)[1], train.weights
    return find_edges(candidate.scm, ancestry, of_train, _noise_and_z(candidate, held_out.normal))


def _mechanisms(graph: Graph, train: NoiseRows, held_out: NoiseRows, config: NetworksConfig) -> ExplicitObjective:
    """Mechanisms over a graph, with the weight of every target in place of a posterior over target sets."""
    n, device = graph.n, train.normal.device
    everything = torch.ones(n, n, dtype=torch.bool)
    solution = SolutionFunctions(everything, 1, config.bins, torch.Generator().manual_seed(0))
    targets = TargetDistribution.family(n, "atomic")
    implicit = ImplicitModel(ChainDecoder([LinearDecoder(n)]), solution, targets).to(device)
    first, second = (Encoded(rows.normal, rows.normal_tilde, rows.weights) for rows in (train, held_out))
    own = MechanismsConfig(
        hidden=config.hidden,
        bins=config.bins,
        steps=max(1, config.steps),
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
    )
    return ExplicitObjective(graph, implicit, first, second, own)


def _noise_and_z(objective: ExplicitObjective, normal: Tensor) -> tuple[Tensor, Tensor]:
    scm = objective.scm

    def solved(u: Tensor) -> tuple[Tensor, Tensor]:
        noise = scm.noise.from_normal(u)[0]
        return noise, scm.solve(noise)[0]

    noise, z = in_chunks(solved, normal)
    return noise, z
