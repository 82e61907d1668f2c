"""ENCO (Lippe et al. 2022), batched: conditionals of all variables and K sampled graphs as dimensions of one tensor.

Edges i → j have probability σ(γ_ij) σ(θ_ij) with θ antisymmetric. Conditionals are fitted to the observed z under
sampled graphs. γ and θ follow the paper's gradients: how much likelier z_j is with z_i as a parent than without, among
pairs in which another variable was the target. Their variance is lower than in the paper, because both likelihoods are
of the same rows and the same other parents.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lcm.learn.training.objective import Job, Objective, ParameterGroup, Schedule, Stages
from lcm.model.graph import Graph
from lcm.peer.search.config import EncoConfig
from lcm.peer.search.variables import FittedVariables
from lcm.readout.evidence import strongest_acyclic

_VALIDATIONS = 20
_HELD_OUT, _MOST_HELD_OUT = 0.1, 4_096
_LEAST_LOG_DENSITY = -15.0
_EXPLORED = 0.06
_LEARNING_RATE, _EDGE_RATE, _ORIENTATION_RATE = 1e-2, 2e-2, 5e-2
_SPARSITY = 0.004
_SHARE_MET = 0.5
_BETAS, _EPSILON = (0.9, 0.9), 1e-8
_RIDGE = 1e-4
_LEAST_VARIANCE = 1e-4
_LOG_SCALE_BOUND = 3.0


class Intervened(NamedTuple):
    """Rows z̃ (B, n) after interventions, the target (B,) each was drawn for, and the share (B, n) that stays."""

    z_tilde: Tensor
    target: Tensor
    stays: Tensor


@final
class EncoObjective(Objective):
    """Negative mean log p(z_i | z_pa) of observed rows under sampled graphs; the graph's own step is part of `loss`.

    edge, orientation: γ and θ (n, n), which training changes as buffers, with the moments of their steps.
    """

    edge: Tensor
    orientation: Tensor
    moments: Tensor
    updates: Tensor

    def __init__(self, variables: FittedVariables, config: EncoConfig, generator: torch.Generator) -> None:
        super().__init__()
        n, z = variables.n, variables.z.double()
        center, spread = z.mean(0), z.std(0).clamp_min(1e-12)
        parts = (z - center) / spread, (variables.z_tilde.double() - center) / spread, variables.target_weights
        values, after, weights = (part.to(torch.get_default_dtype()) for part in parts)
        first = len(values) - min(max(1, round(_HELD_OUT * len(values))), _MOST_HELD_OUT)
        self.config, self._generator = config, generator
        covariance = values[:first].T.double() @ values[:first].double() / first
        self.conditionals = MaskedConditionals(covariance.to(values), config.hidden, generator)
        for name, shape in {"edge": (n, n), "orientation": (n, n), "moments": (4, n, n), "updates": ()}.items():
            self.register_buffer(name, torch.zeros(shape, device=z.device))
        self._z, self._after, self._weights = values[:first], after[:first], weights[:first]
        self._cumulative = self._weights.double().cumsum(0).T.contiguous()
        self._held_out = _held_out(after[first:], weights[first:])

    @property
    def n(self) -> int:
        """Number of variables."""
        return self._z.shape[1]

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.parameters()), _LEARNING_RATE)]

    @property
    def n_rows(self) -> int:
        return len(self._z)

    def structure(self) -> Hashable:
        return self.config, self.n

    def batch(self, rows: Tensor) -> tuple[Tensor, ...]:
        """z (R, n); z̃ (R, n), targets (R,) in turn and shares that stay; and uniform draws (R, …) for the graphs."""
        count, n, generator = len(rows), self.n, self._generator
        each = -(-count // n)
        total = self._cumulative[:, -1:]
        draws = torch.rand(n, each, generator=generator, device=generator.device, dtype=torch.float64) * total
        chosen = torch.searchsorted(self._cumulative, draws, right=True).clamp_max(self.n_rows - 1)
        target = torch.arange(n, device=rows.device).repeat(each)[:count]
        chosen = chosen.T.flatten()[:count]
        stays = (1.0 - self._weights[chosen]) * (total[target] > 0.5)
        per_row = -(-self.config.graphs * n * n // self.config.batch_size)
        of_graphs = torch.rand(count, per_row, generator=generator, device=generator.device)
        return self._z[rows], self._after[chosen], target, stays, of_graphs

    def probabilities(self) -> Tensor:
        """P(i → j) (n, n), 0 on the diagonal."""
        apart = 1.0 - torch.eye(self.n, device=self.edge.device)
        return torch.sigmoid(self.edge) * torch.sigmoid(self.orientation) * apart

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        z, z_tilde, target, stays, draws = batch
        k, n = self.config.graphs, self.n
        draws = draws.flatten()[: k * n * n].view(k, n, n)
        probabilities = self.probabilities()
        if progress >= self.config.warm_up:
            # every row meets many graphs, so that fewer will do
            count = max(1, round(_SHARE_MET * len(z)))
            rows = Intervened(z_tilde[:count], target[:count], stays[:count])
            bases = (draws[: max(1, k // (n + 1))] < probabilities).to(z.dtype)
            self._update(rows, bases, min(1.0, 2.0 * (1.0 - progress)))
        # a little more widely, since every edge of a base is turned over
        widely = probabilities.clamp(_EXPLORED, 1.0 - _EXPLORED) * (1.0 - torch.eye(n, device=z.device))
        matched = z[: len(z) // k * k].view(k, -1, n)
        log_density = self.conditionals.log_density(matched, (draws < widely).to(z.dtype))
        return -log_density.clamp_min(_LEAST_LOG_DENSITY).sum(2).mean()

    @torch.no_grad()
    def _update(self, rows: Intervened, bases: Tensor, rate: float) -> None:
        """A step of γ and θ by Adam along the gradients of Lippe et al. (2022), at sampled graphs (S, n, n)."""
        losses, seen = self._losses(rows, turned_over(bases).flatten(0, 1))
        gain = differences(losses.unflatten(0, (len(bases), -1)), bases)
        others = seen.unsqueeze(1)
        mean_gain = (gain * others).sum(0) / others.sum(0).clamp_min(1.0)
        edge, orientation = torch.sigmoid(self.edge), torch.sigmoid(self.orientation)
        of_edge = edge * (1.0 - edge) * orientation * (mean_gain + _SPARSITY)
        own = torch.diagonal(gain, dim1=0, dim2=1).T * edge
        of_orientation = orientation * (1.0 - orientation) * (own - own.T)
        steps = self._adam(torch.stack([of_edge, of_orientation]))
        self.edge.sub_(rate * _EDGE_RATE * steps[0])
        self.orientation.sub_(rate * _ORIENTATION_RATE * 0.5 * (steps[1] - steps[1].T))

    def _losses(self, rows: Intervened, graphs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean −log p(z̃_j | z̃_pa) (K, n, n), [k, t, j], of rows with target t, and where [t, j] there are such rows."""
        expanded = rows.z_tilde.unsqueeze(0).expand(len(graphs), -1, -1)
        losses = -self.conditionals.log_density(expanded, graphs).clamp_min(_LEAST_LOG_DENSITY)
        of_target = torch.nn.functional.one_hot(rows.target, self.n).to(losses.dtype).T
        count = of_target @ rows.stays
        return (of_target @ (losses * rows.stays)) / count.clamp_min(1e-6), (count > 0.5).to(losses.dtype)

    def _adam(self, gradients: Tensor) -> Tensor:
        """Directions (2, n, n) of the steps for both gradients; their moments move in place."""
        first, second = self.moments.split(2)
        self.updates.add_(1.0)
        first = _BETAS[0] * first + (1.0 - _BETAS[0]) * gradients
        second = _BETAS[1] * second + (1.0 - _BETAS[1]) * gradients.square()
        self.moments.copy_(torch.cat([first, second]))
        corrected = [m / (1.0 - beta**self.updates) for m, beta in zip((first, second), _BETAS, strict=True)]
        return corrected[0] / (corrected[1].sqrt() + _EPSILON)

    def decide(self) -> Graph:
        """The graph that γ and θ say."""
        return decide(self.edge.double().cpu().numpy(), self.orientation.double().cpu().numpy())

    def validate(self) -> dict[str, Any]:
        graph = self.decide()
        adjacency = torch.from_numpy(graph.adjacency.copy()).to(self._z).unsqueeze(0)
        losses, seen = self._losses(self._held_out, adjacency)
        score = (losses[0] * seen).sum() / seen.any(1).sum().clamp_min(1) + _SPARSITY * graph.n_edges
        return {"validation_log_likelihood": -float(score.detach()), "edges": graph.n_edges}


def _held_out(z_tilde: Tensor, weights: Tensor) -> Intervened:
    """Held-out rows, each with its most probable target; rows that are probably of none count for nothing."""
    most, target = weights.max(1)
    return Intervened(z_tilde, target, (1.0 - weights) * (most > 0.5).unsqueeze(1))


def turned_over(bases: Tensor) -> Tensor:
    """Graphs (S, n + 1, n, n): every base (S, n, n), and with all edges out of i turned over, for every i.

    Since the density of a variable depends on its own parents alone, these n + 1 graphs hold a change of every edge.
    """
    n = bases.shape[1]
    apart = 1.0 - torch.eye(n, dtype=bases.dtype, device=bases.device)
    rows = torch.eye(n, dtype=bases.dtype, device=bases.device).unsqueeze(2) * apart
    bases = bases.unsqueeze(1)
    return torch.cat([bases, (bases - rows).abs()], 1)


def differences(losses: Tensor, bases: Tensor) -> Tensor:
    """[t, i, j]: mean loss of z_j with the edge i → j less that without, all other edges as in a base (S, n, n).

    Both losses are of the same rows and of graphs that differ in this edge alone, so that nothing else blurs them.

    Args:
        losses: (S, n + 1, n, n), [s, g, t, j], for the graphs of `turned_over`.
    """
    change = (losses[:, 1:] - losses[:, :1]).transpose(1, 2)
    return (change * (1.0 - 2.0 * bases).unsqueeze(1)).mean(0)


def decide(edge: NDArray[np.float64], orientation: NDArray[np.float64]) -> Graph:
    """The edges with γ_ij > 0 and θ_ij > 0, the most probable first, each unless it closes a cycle; both (n, n)."""
    probable = _sigmoid(edge) * _sigmoid(orientation)
    return strongest_acyclic(probable, (edge > 0) & (orientation > 0))


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * values))
    return numbers


def find_by_enco(
    variables: FittedVariables, config: EncoConfig, generator: torch.Generator
) -> Stages[tuple[Graph, NDArray[np.float64]]]:
    """The graph and the probability (n, n) of every edge."""
    objective = EncoObjective(variables, config, generator)
    schedule = Schedule(config.steps, config.batch_size, max(1, config.steps // _VALIDATIONS), patience=_VALIDATIONS)
    yield Job("graph by ENCO", objective, schedule, generator)
    return objective.decide(), objective.probabilities().double().cpu().numpy()


_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


@final
class MaskedConditionals(nn.Module):
    """Normal densities p(z_i | z_pa) for all i and any K graphs at once, location-scale.

    The location is the linear regression on the parents, in closed form for every graph, plus a network of one hidden
    layer, of the masked values and the mask; so is the logarithm of the scale. The networks start at zero.
    """

    covariance: Tensor

    def __init__(self, covariance: Tensor, hidden: int, generator: torch.Generator) -> None:
        """`covariance` (n, n) of the variables, each of mean 0 and variance 1."""
        super().__init__()
        n = len(covariance)
        self.n, self.hidden = n, hidden
        self.register_buffer("covariance", covariance, persistent=False)

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator, device=generator.device) / math.sqrt(n))

        # of the value of each parent and of its presence: [j, i, :]
        self.value_weight, self.presence_weight = drawn(n, n, hidden), drawn(n, n, hidden)
        self.bias = drawn(n, hidden)
        self.last = nn.Parameter(torch.zeros(n, hidden, 2, device=generator.device))

    def regressions(self, graphs: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (K, n, n), [k, j, i], and logarithms of the residual deviations (K, n), for graphs (K, n, n)."""
        parents = graphs.transpose(1, 2)
        allowed = parents.unsqueeze(2) * parents.unsqueeze(3)
        gram = allowed * self.covariance + torch.diag_embed(1.0 - parents + _RIDGE)
        effects = parents * self.covariance
        slopes = torch.linalg.solve(gram, effects.unsqueeze(3)).squeeze(3)
        variance = (1.0 - (slopes * effects).sum(2)).clamp_min(_LEAST_VARIANCE)
        return slopes.transpose(1, 2), 0.5 * variance.log()

    def log_density(self, z: Tensor, graphs: Tensor) -> Tensor:
        """log p(z_i | z_pa) (K, R, n) of rows z (K, R, n) under the graphs (K, n, n) of zeros and ones, in nats."""
        slopes, log_spread = self.regressions(graphs)
        mask = graphs.unsqueeze(3)
        weight, offset = (mask * self.value_weight).flatten(2), (mask * self.presence_weight).sum(1) + self.bias
        hidden = torch.relu(torch.baddbmm(offset.flatten(1).unsqueeze(1), z, weight))
        added = torch.einsum("krih,iho->krio", hidden.unflatten(2, (self.n, self.hidden)), self.last)
        shift, log_scale = added.unbind(3)
        log_scale = _LOG_SCALE_BOUND * torch.tanh(log_scale / _LOG_SCALE_BOUND)
        log_spread = log_spread.unsqueeze(1)
        standard = ((z - torch.bmm(z, slopes)) * torch.exp(-log_spread) - shift) * torch.exp(-log_scale)
        return -0.5 * standard.square() - log_scale - log_spread - _LOG_SQRT_2PI
