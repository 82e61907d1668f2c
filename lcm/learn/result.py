"""What a fit gives: the model, its graph, and what was found on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from lcm.data.pairs import PairData
from lcm.discovery import GraphEvidence
from lcm.graph import Graph
from lcm.graph_search.result import FoundGraph
from lcm.image.model import ImageModel
from lcm.learn.implicit import ImplicitModel
from lcm.learn.readout import Ancestry
from lcm.learn.reruns import Rerun
from lcm.model import LatentCausalModel
from lcm.pair_model import PairModel


@final
@dataclass(frozen=True)
class FitResult:
    """A fitted model and what was found on the way.

    evidence: p-values, strengths with standard errors and the graph at any false discovery rate. order: causes first.
    ancestry: the ancestor test. implicit_nll, explicit_nll: mean nats a held-out pair, in the units of the data, of
    the implicit and of the explicit model at the same thickness; the latter ranks restarts. implicit: the noise encoder
    and its solution functions, from which the model was made. seconds: all restarts.
    records: one mapping per validation of every stage. restart: the one that was kept. restart_nll: explicit_nll of
    each. reruns: the other restarts, compared with it up to isomorphism.
    """

    model: LatentCausalModel
    evidence: GraphEvidence
    ancestry: Ancestry
    implicit_nll: float
    explicit_nll: float
    implicit: ImplicitModel
    seconds: float = 0.0
    records: tuple[dict[str, Any], ...] = ()
    restart: int = 0
    restart_nll: tuple[float, ...] = ()
    reruns: tuple[Rerun, ...] = ()

    @property
    def order(self) -> tuple[int, ...]:
        """The variables, causes first, for the graph at any false discovery rate."""
        return self.evidence.order

    @property
    def edge_strength(self) -> np.ndarray:
        """(n, n) ≥ 0, [i, j] for i → j, before thresholding (docs/theory.md section 3)."""
        return self.evidence.edge_strength

    @property
    def held_out_nll(self) -> float:
        """What restarts are ranked by, in nats a pair."""
        return self.explicit_nll

    def graph_at(self, false_discovery_rate: float) -> Graph:
        """The graph at another false discovery rate; ValueError unless that is strictly between 0 and 1."""
        return self.evidence.graph_at(false_discovery_rate)


@final
@dataclass(frozen=True)
class PeerResult:
    """A fitted peer and its graph.

    found: the graph over its latent variables, with strengths. held_out_nll: mean nats a held-out pair, in the units of
    the data, of a variational model the negative bound; it ranks restarts. seconds: all restarts. records: one mapping
    per validation of every stage. restart: the one that was kept. restart_nll: held_out_nll of each.
    """

    model: PairModel
    found: FoundGraph
    held_out_nll: float
    seconds: float = 0.0
    records: tuple[dict[str, Any], ...] = ()
    restart: int = 0
    restart_nll: tuple[float, ...] = ()

    @property
    def order(self) -> tuple[int, ...]:
        """The variables, causes first."""
        return self.found.order

    @property
    def edge_strength(self) -> np.ndarray:
        """(n, n) ≥ 0, [i, j] for i → j, as the search for the graph measures it."""
        return self.found.edge_strength


CodeResult = FitResult | PeerResult
"""A fit to observations (N, d), which codes of images are too."""


@final
@dataclass(frozen=True)
class ImageResult:
    """A fitted model of images and what was found on the way.

    latent: the fit to the codes, whose numbers and graph are those of the model. codes: the pairs of codes (N, m) of
    all images, in the order of the data. seconds: all stages. records: one mapping per validation of every stage.
    """

    model: ImageModel
    latent: CodeResult
    codes: PairData
    seconds: float
    records: tuple[dict[str, Any], ...]

    def numbers(self) -> CodeResult:
        """The fit to the codes with the time and the records of all stages."""
        return replace(self.latent, seconds=self.seconds, records=self.records)

    @property
    def order(self) -> tuple[int, ...]:
        """The variables, causes first."""
        return self.latent.order

    @property
    def edge_strength(self) -> np.ndarray:
        """(n, n) ≥ 0, [i, j] for i → j, as of the fit to the codes."""
        return self.latent.edge_strength

    @property
    def held_out_nll(self) -> float:
        """Mean nats a held-out pair of codes."""
        return self.latent.held_out_nll


AnyResult = CodeResult | ImageResult
