"""The torus counterexample: two LCMs with the same pairs whose graphs differ (docs/theory.md section 4).

Theorem 1 is about real variables. The rotations of the circle are a connected group of maps that keep the uniform
law, so a mechanism can turn z_1 by an angle that depends on z_0 without a trace in p̃_1; on ℝ no such group exists.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lcm.model.circle import CircleNoise
from lcm.model.decoder import AutomorphismDecoder, ChainDecoder, Decoder, TorusDecoder
from lcm.model.graph import Graph
from lcm.model.intervention import PerfectIntervention, TargetDistribution
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.mechanism import ProductMechanism
from lcm.model.scm import SCM

_CIRCLES = (True, True)
_SHEAR = ((1, 0), (-1, 1))
"""(z′_0, z′_1) ↦ (z′_0, z′_1 − z′_0): from the variables of 𝓜′ to those of 𝓜."""


def torus_counterexample(
    concentration: float = 0.6,
    thickness: float = 0.02,
    probabilities: Sequence[float] | None = None,
    uniform: bool = True,
) -> tuple[LatentCausalModel, LatentCausalModel]:
    """𝓜 and 𝓜′ over 𝒵 = S¹ × S¹, embedded in ℝ⁴, of equal p(x, x̃) and different graphs.

    𝓜 has no edge and z = ε; 𝓜′ has the edge 0 → 1, z′_1 = ε_1 + z′_0, and decodes as 𝓜 does after undoing that turn.
    Both share p_ε (cardioid of the given concentration), p̃, p_𝓘 and the thickness.

    Args:
        concentration: of ε_0, ε_1 and z̃_0; with 0, 𝓜′ would not be faithful, its z′_1 being independent of z′_0.
        thickness: as in `LatentCausalModel`, in the standard-normal gauge of the noise.
        probabilities: of the target sets ∅, {0}, {1}; equal when None.
        uniform: whether p̃_1 is uniform. When it is not, it is the same cardioid in both models and they are told apart.

    Raises:
        ValueError: a concentration that is 0 or not inside (−1, 1).
    """
    if not 0.0 < abs(concentration) < 1.0:
        raise ValueError(f"Expected a concentration in (-1, 1) that is not 0; got {concentration}.")
    embedding = TorusDecoder(_CIRCLES)
    independent = SCM(Graph([[0, 0], [0, 0]]), ProductMechanism([[0, 0], [0, 0]], _CIRCLES), _exogenous(concentration))
    edge = [[0, 1], [0, 0]]
    turning = SCM(Graph(edge), ProductMechanism(edge, _CIRCLES, degree=edge), _exogenous(concentration))

    def model(scm: SCM, decoder: Decoder) -> LatentCausalModel:
        imposed = CircleNoise(
            2, torch.tensor([concentration, 0.0 if uniform else concentration]), torch.tensor([2.0, 1.0])
        )
        targets = TargetDistribution.family(2, "atomic-or-empty", probabilities)
        return LatentCausalModel(scm, decoder, PerfectIntervention(imposed), targets, thickness)

    sheared = ChainDecoder([AutomorphismDecoder(_SHEAR), TorusDecoder(_CIRCLES)])
    return model(independent, embedding), model(turning, sheared)


def _exogenous(concentration: float) -> CircleNoise:
    return CircleNoise(2, concentration, torch.tensor([0.0, -1.0]))
