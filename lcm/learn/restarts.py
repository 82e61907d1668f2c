"""Do restarts agree? Fits of one likelihood must be isomorphic where the data identify the model (theorem 1)."""

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
    """A restart beside the best one, likelihoods on the same held-out pairs at one thickness.

    Attributes:
        restart: its number.
        worse_by: nats a pair by which the best one is likelier; with its standard error.
        standard_error: of that, over pairs.
        isomorphic: whether it is isomorphic to the best, at the tolerances of `lcm.isomorphism`.
        agrees: whether variables, noise and graph are, whatever their learned distributions.
        distance: from isomorphism, in [0, 1].
        reasons: what fails, a sentence each.
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
        """Whether it clearly reaches the best: within 0.05 nats a pair plus two standard errors, these at most 0.05."""
        reaches = self.worse_by <= _EQUAL_LIKELIHOOD + _STANDARD_ERRORS * self.standard_error
        return reaches and self.standard_error <= _RESOLVED


def compare_restarts(
    models: Sequence[LatentCausalModel], best: int, data: PairData, held_out: PairData
) -> tuple[Restart, ...]:
    """Every other restart against the best one: likelihoods on held-out pairs, variables on the pairs of the fit.

    An infinite `worse_by` stands for a density that is not finite, or for encodings that are not.
    """
    others = [restart for restart in range(len(models)) if restart != best]
    return tuple(_compare(models[best], models[restart], restart, data, held_out) for restart in others)


def _compare(
    best: LatentCausalModel, other: LatentCausalModel, restart: int, data: PairData, held_out: PairData
) -> Restart:
    # heavy imports that a fit without restarts does not need
    from lcm.isomorphism import find_isomorphism
    from lcm.isomorphism.find import likelihoods

    try:
        found = find_isomorphism(best, other, data)
    except ValueError as error:
        # one restart that went wrong must not cost the others
        return Restart(restart, math.inf, 0.0, False, False, 1.0, (str(error),))
    difference = likelihoods(best, other, held_out, np.array(found.permutation))["log_likelihood_difference"]
    worse_by, standard_error = difference or (math.inf, 0.0)
    agrees = bool(found.graphs_equal) and found.distance <= 1.0 - found.tolerances.r2
    return Restart(restart, worse_by, standard_error, found.isomorphic, agrees, found.distance, found.reasons)
