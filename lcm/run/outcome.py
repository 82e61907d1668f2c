"""The outcome of a fit, from which doubts and reports are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lcm.data.pairs import PairData
from lcm.learn.noise_encoder import ImplicitModel
from lcm.learn.restarts import Restart
from lcm.learn.rounds import usual_thickness
from lcm.model.graph import Graph
from lcm.model.image import ImageModel
from lcm.model.names import checked_names, default_names
from lcm.model.pair_model import PairModel
from lcm.readout.ancestors import Ancestry
from lcm.readout.evidence import FoundGraph, GraphEvidence
from lcm.run.assumption import Certificate
from lcm.run.config import FitConfig
from lcm.run.refits import Refits


@dataclass(frozen=True, eq=False)
class Outcome(ABC):
    """Abstract: a fitted model and what the fit found. `FitResult` is its only subclass.

    Attributes:
        model: the fitted model, in the units of the data.
        found: the graph over its variables with edge strengths, and with p-values if tests found it.
        held_out_nll: mean negative log-likelihood in nats per held-out pair, in the units of the data (for images, of
            their codes); a variational model gives an upper bound. It ranks restarts.
        config: all settings of the fit.
        data: the pairs of the fit; None if the fit was read from its folder.
        size: number of pairs, and dimensions of x; for images, of their codes.
        ancestry: the test for ancestors; None for a peer, and for a fit that was read from its folder.
        implicit_nll: as `held_out_nll`, for the implicit model at the same thickness; None for a peer.
        implicit: the noise encoder and its solution functions, from which the model was made; None for a peer, and
            for a fit that was read from its folder.
        codes: the pairs of codes (N, m) of all images, in the order of the data; None for vectors,
            and for a fit that was read from its folder.
        seconds: duration from data in memory to the model, over all restarts.
        records: one mapping for each validation of every stage.
        restart: number of the restart that was kept.
        restart_nll: `held_out_nll` of each restart.
        tried: with `n: auto`, each number of variables that was fitted with its `held_out_nll`; empty for one alone.
        other_restarts: the other restarts, compared with the kept one up to isomorphism.
        support: (n, 2), the range of each variable in x and x_tilde, without the outer thousandth; None where unknown.
        refits: fits to halves of the pairs, for intervals; None without.
        columns: names of the columns of x; empty if the data have no names.
        related: for each variable, its most related columns with |Spearman's rank correlation|; empty without names.
        names: of the variables; z0, z1, … by default.
        folder: the run from which the fit was read; None for one that was not.
        stored_doubts, stored_certificate, stored_cut_short_at: of a fit that was read from its folder; None otherwise,
            and where the version that wrote it had none.
    """

    model: PairModel
    found: FoundGraph
    held_out_nll: float
    config: FitConfig
    data: PairData | None
    size: tuple[int, int]
    ancestry: Ancestry | None = None
    implicit_nll: float | None = None
    implicit: ImplicitModel | None = None
    codes: PairData | None = None
    seconds: float = 0.0
    records: tuple[dict[str, Any], ...] = ()
    restart: int = 0
    restart_nll: tuple[float, ...] = ()
    tried: tuple[tuple[int, float], ...] = ()
    other_restarts: tuple[Restart, ...] = ()
    support: NDArray[np.float64] | None = None
    refits: Refits | None = None
    columns: tuple[str, ...] = ()
    related: tuple[tuple[tuple[str, float], ...], ...] = ()
    names: tuple[str, ...] = ()
    folder: Path | None = None
    stored_doubts: tuple[str, ...] | None = None
    stored_certificate: Certificate | None = None
    stored_cut_short_at: float | None = None

    def __post_init__(self) -> None:
        n = self.model.n
        object.__setattr__(self, "names", checked_names(self.names, n) if self.names else default_names(n))

    @property
    def graph(self) -> Graph:
        """The graph over the learned variables."""
        return self.model.graph

    @property
    def order(self) -> tuple[int, ...]:
        """The variables, causes first. Every graph at any false discovery rate follows this order."""
        return self.found.order

    @property
    def edge_strength(self) -> NDArray[np.float64]:
        """(n, n) ≥ 0, [i, j] for i → j, before thresholding (docs/theory.md section 3)."""
        return self.found.edge_strength

    @property
    def evidence(self) -> GraphEvidence:
        """P-values of edges and ancestors, strengths with standard errors. Raises ValueError without p-values."""
        if self.found.evidence is None:
            raise ValueError(f"Expected a fit with p-values; got one of {self.config.model}, whose graph has none.")
        return self.found.evidence

    @property
    def is_tested(self) -> bool:
        """Whether the model is one whose assumptions can be tested: no peer."""
        return self.ancestry is not None or self.implicit_nll is not None

    @property
    def cut_short_at(self) -> float | None:
        """The usual thickness at which a limit of time ended the noise encoder; None if none did."""
        if self.implicit is None:
            return self.stored_cut_short_at
        return None if self.implicit.converged else usual_thickness(self.implicit)

    @property
    def latent(self) -> PairModel:
        """The model of the fitted vectors; for images, the model of their codes."""
        return self.model.latent if isinstance(self.model, ImageModel) else self.model

    @property
    def vectors(self) -> PairData | None:
        """The vectors that `latent` was fitted to: the data; for images, their codes."""
        return self.data if self.codes is None else self.codes

    @property
    @abstractmethod
    def certificate(self) -> Certificate:
        """What these data say of every assumption of the theorem and of the method."""

    @property
    @abstractmethod
    def doubts(self) -> tuple[str, ...]:
        """One text for each sign that an assumption is broken or that the fit fell short."""

    def graph_at(self, false_discovery_rate: float) -> Graph:
        """The graph at another false discovery rate. Raises ValueError unless the rate is strictly between 0 and 1."""
        return self.evidence.graph_at(false_discovery_rate)
