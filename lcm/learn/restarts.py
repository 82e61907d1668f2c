"""Compare restarts. If the data identify the model, fits of equal likelihood are isomorphic (theorem 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from lcm.data.pairs import PairData
from lcm.model.latent_causal_model import LatentCausalModel

_EQUAL_LIKELIHOOD = 0.05
_STANDARD_ERRORS = 2.0
_RESOLVED = 0.05


@final
@dataclass(frozen=True)
class Restart:
    """A restart compared with the best one: likelihoods on the same held-out pairs at equal thickness.

    Attributes:
        restart: number of the restart.
        worse_by: log-likelihood of the best restart minus that of this one, in nats per pair.
        standard_error: standard error of worse_by over pairs.
        isomorphic: whether its parts are those of the best restart, at the tolerances of `lcm.isomorphism`, whatever
            the likelihood, which worse_by compares.
        agrees: whether variables, noise and graph are isomorphic, for any learned distributions.
        distance: distance from isomorphism, in [0, 1].
        reasons: one sentence for each condition that fails.
    """

    restart: int
    worse_by: float
    standard_error: float
    isomorphic: bool
    agrees: bool
    distance: float
    reasons: tuple[str, ...]

    @property
    def as_likely(self) -> bool:
        """Whether worse_by is at most 0.05 nats per pair plus two standard errors, which are at most 0.05 each."""
        reaches = self.worse_by <= _EQUAL_LIKELIHOOD + _STANDARD_ERRORS * self.standard_error
        return reaches and self.standard_error <= _RESOLVED


def compare_restarts(
    models: Sequence[LatentCausalModel], best: int, data: PairData, held_out: PairData
) -> tuple[Restart, ...]:
    """Compare every other restart with the best: likelihoods on held-out pairs, variables on the pairs of the fit.

    `worse_by` is infinite if a density or an encoding is not finite.
    """
    others = [restart for restart in range(len(models)) if restart != best]
    return tuple(_compare(models[best], models[restart], restart, data, held_out) for restart in others)


def _compare(
    best: LatentCausalModel, other: LatentCausalModel, restart: int, data: PairData, held_out: PairData
) -> Restart:
    # imported here, since they are heavy and a fit without restarts does not need them
    from lcm.isomorphism import find_isomorphism
    from lcm.isomorphism.likelihood import likelihoods

    try:
        found = find_isomorphism(best, other, data)
    except ValueError as error:
        # a restart that fails must not stop the comparison of the others
        return Restart(restart, math.inf, 0.0, False, False, 1.0, (str(error),))
    difference = likelihoods(best, other, held_out, np.array(found.permutation))["log_likelihood_difference"]
    worse_by, standard_error = difference or (math.inf, 0.0)
    agrees = bool(found.graphs_equal) and found.distance <= 1.0 - found.tolerances.r2
    return Restart(
        restart, worse_by, standard_error, found.parts_agree, agrees, found.distance, found.judgement.part_reasons
    )
