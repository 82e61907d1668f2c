"""A graph that was found over fitted variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from lcm.discovery import GraphEvidence
from lcm.graph import Graph


@final
@dataclass(frozen=True, eq=False)
class FoundGraph:
    """A graph over variables with the strength of every possible edge, however it was found.

    Attributes:
        graph: the edges that were accepted.
        edge_strength: (n, n) ≥ 0, [i, j] for i → j, before thresholding; its unit is the method's.
        order: the variables, causes first.
        evidence: p-values and intervals, where the method gives them.
        seconds: what the search took.
    """

    graph: Graph
    edge_strength: NDArray[np.float64]
    order: tuple[int, ...]
    evidence: GraphEvidence | None = None
    seconds: float = 0.0
