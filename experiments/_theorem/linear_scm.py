"""Linear SCMs in closed form: means, covariances, and the standardised strength of an edge.

With z = b + Wᵀz + Dε, W[j, k] the weight of j → k, the solution map is z = (1 − Wᵀ)⁻¹ (b + Dε) and every second moment
follows from the variances of the noise. Nothing is sampled.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import LinearMechanism
from lcm.model.noise import Noise, NormalNoise
from lcm.model.scm import SCM

FloatArray = NDArray[np.float64]
Edge = tuple[int, int]

_GRID_BOUND, _GRID_POINTS = 10.0, 4001


@final
@dataclass(frozen=True)
class LinearMoments:
    """Second moments of a linear SCM, all float64.

    effects: (n, n), row k: z_k − mean_k as a function of the noise, each noise in units of its standard deviation.
    own: (n,), the part of effects[k, k] that is not through parents: exp(log_scale_k) sd(ε_k).
    weight: (n, n), [j, k]: j → k. mean: (n,) of z.
    """

    effects: FloatArray
    own: FloatArray
    weight: FloatArray
    mean: FloatArray

    @property
    def covariance(self) -> FloatArray:
        """Cov(z) (n, n)."""
        return self.effects @ self.effects.T

    @property
    def spread(self) -> FloatArray:
        """Standard deviations of z (n,)."""
        spread: FloatArray = np.sqrt(np.diag(self.covariance))
        return spread

    @property
    def strengths(self) -> FloatArray:
        """Standardised strengths |weight| sd(z_j)/sd(z_k) (n, n), [j, k]: j → k."""
        strengths: FloatArray = np.abs(self.weight) * self.spread[:, None] / self.spread
        return strengths


def linear_moments(scm: SCM) -> LinearMoments:
    """Moments of a linear SCM with any noise.

    Raises:
        ValueError: the mechanisms are not linear.
    """
    mechanism = linear_mechanism(scm)
    weight, bias, log_scale = (
        part.detach().double().cpu().numpy() for part in (mechanism.weight, mechanism.bias, mechanism.log_scale)
    )
    weight = weight * scm.graph.adjacency
    noise_mean, noise_variance = noise_moments(scm.noise)
    solution = np.linalg.inv(np.eye(scm.n) - weight.T)
    scale = np.exp(log_scale)
    own = scale * np.sqrt(noise_variance)
    return LinearMoments(solution * own, own, weight, solution @ (bias + scale * noise_mean))


def linear_mechanism(scm: SCM) -> LinearMechanism:
    """The mechanisms of a linear SCM; ValueError where they are of another kind."""
    if not isinstance(scm.mechanism, LinearMechanism):
        raise ValueError(f"Expected linear mechanisms; got {scm.mechanism.kind}.")
    return scm.mechanism


@torch.no_grad()
def noise_moments(noise: Noise) -> tuple[FloatArray, FloatArray]:
    """Mean and variance (n,) of each noise, by the trapezoid rule over its standard-normal gauge."""
    if isinstance(noise, NormalNoise):
        return np.zeros(noise.n), np.ones(noise.n)
    normal = torch.linspace(-_GRID_BOUND, _GRID_BOUND, _GRID_POINTS, dtype=torch.float64)
    weight = torch.exp(-0.5 * normal.square()).unsqueeze(1)
    weight = weight / weight.sum()
    values = copy.deepcopy(noise).double().cpu().from_normal(normal.unsqueeze(1).expand(-1, noise.n))[0]
    mean = (weight * values).sum(0)
    return mean.numpy(), (weight * (values - mean).square()).sum(0).numpy()


def require_edge(scm: SCM, edge: Edge) -> None:
    """Raises ValueError where the edge j → k is not in the graph."""
    j, k = edge
    if not (0 <= j < scm.n and 0 <= k < scm.n and scm.graph.adjacency[j, k]):
        raise ValueError(f"Expected an edge of the graph; got {j} -> {k}.")


def with_edge_strength(model: LatentCausalModel, edge: Edge, strength: float) -> LatentCausalModel:
    """A copy whose edge j → k has the standardised strength |weight| sd(z_j)/sd(z_k), exactly.

    Only that weight is changed; it keeps its sign, and a weight of zero becomes positive.

    Raises:
        ValueError: mechanisms that are not linear, no such edge, or a strength that is negative or out of reach: below
            1 any can be reached, above only where the other parents counteract.
    """
    require_edge(model.scm, edge)
    moments = linear_moments(model.scm)
    j, k = edge
    others = moments.effects[k] - moments.weight[j, k] * moments.effects[j]
    sign = -1.0 if moments.weight[j, k] < 0 else 1.0
    weight = weight_of_strength(moments.effects[j], others, strength, sign)
    image = copy.deepcopy(model)
    with torch.no_grad():
        linear_mechanism(image.scm).weight[j, k] = weight
    return image


def weight_of_strength(parent: FloatArray, others: FloatArray, strength: float, sign: float) -> float:
    """The weight w with |w| sd(z_j) = strength · sd(w z_j + others), z_j and others given by their effects (n,).

    Raises:
        ValueError: the strength is negative, or no weight of this sign has it.
    """
    if not strength >= 0.0:
        raise ValueError(f"Expected a strength >= 0; got {strength}.")
    # a w² − 2 b w − c = 0, of which one root has either sign as long as a > 0
    square = strength * strength
    a = float(parent @ parent) * (1.0 - square)
    b, c = square * float(parent @ others), square * float(others @ others)
    discriminant = b * b + a * c
    roots = [] if a == 0.0 or discriminant < 0.0 else [(b + s * math.sqrt(discriminant)) / a for s in (1.0, -1.0)]
    fitting = [root for root in roots if root * sign >= 0.0]
    if not fitting:
        raise ValueError(f"Expected a strength within reach, as any below 1 is; got {strength}.")
    return min(fitting, key=abs)
