"""What a metric is, and what it is given: a model beside the truth in a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcm.data.pairs import PairData
from lcm.isomorphism.matching import FloatArray, IntArray, correlation_matrix, match_variables
from lcm.model.latent_causal_model import LatentCausalModel
from lcm.model.pair_model import EncodedPairs, PairModel

T = TypeVar("T")

GROUPS = ("variables", "targets", "graph", "answers", "further")
"""The groups of metrics, in the order in which `lcm evaluate` prints them."""


def _truth(value: NDArray[Any] | None, key: str) -> NDArray[Any]:
    if value is None:
        raise ValueError(f"{key}: Expected data with this truth, for a metric that uses it; got none.")
    return value


@final
@dataclass(frozen=True, eq=False)
class Case:
    """A model and the data that it is scored on.

    encoded: the data's encodings. edge_strength (m, m) and fit_seconds: as `lcm.metric.scores.evaluate` was given them.
    seed: of the regressors of the DCI scores, and of what other scores draw. n_jobs: of the regressors.
    nature: the model that drew the data, where it is known.
    """

    model: PairModel
    data: PairData
    encoded: EncodedPairs
    edge_strength: ArrayLike | None = None
    fit_seconds: float | None = None
    seed: int = 0
    n_jobs: int = -1
    nature: LatentCausalModel | None = None
    _found: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def z(self) -> NDArray[Any]:
        """The true variables (N, n)."""
        return _truth(self.data.z, "z")

    @property
    def targets(self) -> NDArray[np.bool_]:
        """The true targets (N, n)."""
        return _truth(self.data.targets, "targets")

    @property
    def adjacency(self) -> NDArray[Any]:
        """The true graph (n, n)."""
        return _truth(self.data.adjacency, "adjacency")

    @cached_property
    def learned(self) -> FloatArray:
        """The learned variables (N, m)."""
        return np.asarray(self.encoded.z.double().cpu().numpy())

    @cached_property
    def abs_spearman(self) -> FloatArray:
        """|Spearman| of every true variable with every learned one, (n, m)."""
        return correlation_matrix(self.z, self.learned)

    @cached_property
    def permutation(self) -> IntArray:
        """(n,): true variable i is learned variable permutation[i], -1 where unmatched."""
        return match_variables(self.abs_spearman)

    def once(self, compute: Callable[[Case], T]) -> T:
        """What `compute` gives for this case, computed once for all metrics that ask for it."""
        if compute not in self._found:
            self._found[compute] = compute(self)
        found: T = self._found[compute]
        return found

    def has(self, name: str) -> bool:
        """Whether some truth in the data, the edge strengths or the nature is known."""
        return getattr(self if name in ("edge_strength", "nature") else self.data, name) is not None


@final
@dataclass(frozen=True)
class Metric:
    """One score of a model.

    key: under which `lcm.metric.scores.evaluate` gives it.
    about: meaning, range and source, in a sentence.
    compute: the value, one that JSON holds; None where the case does not allow it.
    needs: which of z, targets, adjacency, edge_strength and nature it needs; without them it is None.
    group: one of `GROUPS`, under which `lcm evaluate` prints it.
    """

    key: str
    about: str
    compute: Callable[[Case], Any]
    needs: tuple[str, ...] = ()
    group: str = "further"

    def __post_init__(self) -> None:
        """Raises ValueError for a group that is not in `GROUPS`."""
        if self.group not in GROUPS:
            raise ValueError(f"{self.key}: Expected a group of {', '.join(GROUPS)}; got {self.group!r}.")

    def __call__(self, case: Case) -> Any:
        """The value for a case, None where what it needs is not known."""
        return self.compute(case) if all(case.has(name) for name in self.needs) else None
