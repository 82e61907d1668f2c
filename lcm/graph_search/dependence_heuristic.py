"""The heuristic of the implicit models (Brehmer et al. 2022): how much each solution function depends on each noise."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.graph_search.solution import SolutionObjective
from lcm.learn.readout import causes_first

_POINTS = 2_000


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
