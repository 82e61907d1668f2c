"""Edges by the Jacobian of solution functions, inverted numerically (docs/theory.md section 3), for comparison."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lcm.graph_search.solution import SolutionObjective

_POINTS = 4_000
_LEAST_DIAGONAL = 1e-3


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
