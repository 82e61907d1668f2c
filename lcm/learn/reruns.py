"""Do restarts agree? Fits of one likelihood must be isomorphic where the data identify the model (theorem 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from lcm.data.pairs import PairData
from lcm.isomorphism import find_isomorphism
from lcm.model import LatentCausalModel

_EQUAL_LIKELIHOOD = 0.05
_STANDARD_ERRORS = 2.0


@final
@dataclass(frozen=True)
class Rerun:
    """A restart beside the best one, compared on the same pairs at one thickness.

    Attributes:
        restart: its number.
        worse_by: nats a pair by which the best one is likelier; with its standard error.
        standard_error: of that, over pairs.
        isomorphic: whether it is isomorphic to the best, at the tolerances of `lcm.isomorphism`.
        distance: from isomorphism, in [0, 1].
        reasons: what fails, a sentence each.
    """

    restart: int
    worse_by: float
    standard_error: float
    isomorphic: bool
    distance: float
    reasons: tuple[str, ...]

    @property
    def as_likely(self) -> bool:
        """Whether it reaches the best: within 0.05 nats a pair and two standard errors."""
        return self.worse_by <= _EQUAL_LIKELIHOOD + _STANDARD_ERRORS * self.standard_error


def compare_restarts(models: Sequence[LatentCausalModel], best: int, data: PairData) -> tuple[Rerun, ...]:
    """Every other restart against the best one, on the pairs of the fit.

    An infinite `worse_by` stands for a density that is zero in floating point.
    """
    return tuple(
        _compare(models[best], model, restart, data) for restart, model in enumerate(models) if restart != best
    )


def _compare(best: LatentCausalModel, other: LatentCausalModel, restart: int, data: PairData) -> Rerun:
    found = find_isomorphism(best, other, data)
    worse_by, error = found.log_likelihood_difference or (float("inf"), 0.0)
    return Rerun(restart, worse_by, error, found.isomorphic, found.distance, found.reasons)
