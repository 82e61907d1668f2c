"""Solution functions z_i = s_i(ε) on encodings of any model: what `jacobian` and `dependence` are read from."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor

from lcm.base.chunks import in_chunks
from lcm.learn.implicit import SolutionFunctions
from lcm.learn.training.objective import Job, Objective, ParameterGroup, Schedule, Stages
from lcm.peer.search.config import NetworksConfig
from lcm.peer.search.variables import FittedVariables

_VALIDATIONS = 20
_ROWS_PER_REGRESSOR = 10
_FAR_FROM_NORMAL = 0.1
_KNOTS = 257
_HELD_OUT = 0.1
_POINTS = 4_000
_LEAST_DIAGONAL = 1e-3


@final
class SolutionObjective(Objective):
    """Solution functions of all variables, each of all noise encodings, location-scale in its own.

    Where the model has mechanisms, they regress z on ε before and after: a mean square. Where z is ε, they are the
    conditional density of ũ_i given the others in pairs with target i, which perfect interventions make one of ζ_i
    alone (docs/theory.md section 2).
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
        # a share that no outlier dominates
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
            mechanism.bias[i], mechanism.log_scale[i] = slopes[-1], scale.log()


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

    Noise is put in standard deviations from its mean, since p_ε need not be normal: the mechanisms learn a monotone map
    of it. Only where it is far from normal (a Kolmogorov distance above 0.1) does it become normal scores. Its sign is
    that of the causal variable.
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
    # equal values are parted a little, or the knots would not increase
    knots = (quantiles + 1e-9 * torch.arange(_KNOTS, device=device)).contiguous()
    index = torch.searchsorted(knots, values.T.contiguous()).clamp(1, _KNOTS - 1)
    low, high = knots.gather(1, index - 1), knots.gather(1, index)
    share = (values.T - low) / (high - low).clamp_min(1e-6)
    # beyond the outer knots a line, but not far: its slope is poorly known
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
    spread = z.double().std(0).clamp_min(1e-12)
    strength = effects.square().mean(0).sqrt().T * spread.unsqueeze(1) / spread
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
