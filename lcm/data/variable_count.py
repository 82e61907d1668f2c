"""Evidence for the number of variables: two estimates of the dimension of x, and every number that they leave open."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from lcm.base.rows import take_rows
from lcm.data.intrinsic_dimension import Spectrum

Array = NDArray[np.float64]
_ROWS, _CENTRES = 20_000, 2_000
_NEIGHBOURS = (10, 20)
_NEAR = 0.35
_CLEARLY = 0.05


@final
class DimensionEvidence(NamedTuple):
    """Evidence for n from observations alone.

    estimate: from the directions that x and x̃ share, or from a curved sheet (`lcm.data.intrinsic_dimension`).
    neighbours: by distances of nearest neighbours, a real number; too small for many dimensions, too large under noise.
    rank: numerical rank of x, above rounding.
    plausible: ascending, every number that one of the estimates leaves open.
    """

    estimate: int
    neighbours: float
    rank: int
    plausible: tuple[int, ...]

    def nearest(self, count: int) -> tuple[int, ...]:
        """At most `count` of the plausible numbers, ascending, nearest to the estimate."""
        return tuple(sorted(sorted(self.plausible, key=lambda n: abs(n - self.estimate))[:count]))


def dimension_evidence(found: Spectrum, x: NDArray[Any], estimate: int) -> DimensionEvidence:
    """Evidence for n from x (N, d), its spectrum and the estimate of `lcm.data.intrinsic_dimension.dimension`.

    All numbers from the estimate to that of the neighbours are plausible; where theirs is between two, to the farther
    one: it falls short in many dimensions, and is too large under noise. So is one more than the estimate where some
    direction is not clearly explained.
    """
    neighbours = neighbour_dimension(take_rows(x, np.arange(0, len(x), -(-len(x) // _ROWS))) / found.scales)
    # the numbers on either side of a real one, or one where it is near
    ends = [estimate, max(1, math.floor(neighbours + _NEAR)), max(1, math.ceil(neighbours - _NEAR))]
    # a regression on all variables can fall short, and so can the estimate
    below = estimate < found.shared.correlated
    ends.append(estimate + 1 if below and found.variation.unexplained(estimate).largest > _CLEARLY else estimate)
    most = max(1, found.rank)
    plausible = tuple(range(min(ends), min(max(ends), most) + 1)) or (estimate,)
    return DimensionEvidence(estimate, neighbours, found.rank, plausible)


def neighbour_dimension(rows: Array) -> float:
    """The dimension of the set on which rows (N, d) lie: the maximum-likelihood estimate of Levina and Bickel (2004).

    In a small ball on a set of k dimensions, log distances of neighbours are exponential of rate k. Inverse estimates
    are averaged over up to 2,000 rows (MacKay and Ghahramani 2005) and over 10 to 20 neighbours. Equal rows count once.
    The columns are not whitened, so that noise of directions of small variance counts little. 0 for fewer than 21 rows.
    """
    rows = np.unique(rows, axis=0)
    if len(rows) <= _NEIGHBOURS[1]:
        return 0.0
    centres = rows[np.linspace(0, len(rows) - 1, min(_CENTRES, len(rows))).astype(int)]
    # takes longer to import than most commands to run
    from scipy.spatial import KDTree

    distances = np.asarray(KDTree(rows).query(centres, _NEIGHBOURS[1] + 1)[0])[:, 1:]
    logarithms = np.log(np.maximum(distances, np.finfo(np.float64).tiny))
    estimates = []
    for k in range(_NEIGHBOURS[0], _NEIGHBOURS[1] + 1):
        inverse = (logarithms[:, k - 1 : k] - logarithms[:, : k - 1]).mean(1)
        estimates.append(1.0 / max(float(inverse.mean()), np.finfo(np.float64).tiny))
    return float(np.mean(estimates))
