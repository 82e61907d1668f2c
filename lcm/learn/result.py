"""The result of one fit of any model to prepared pairs, before restarts are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from lcm.learn.noise_encoder import ImplicitModel
from lcm.model.pair_model import PairModel
from lcm.readout.ancestors import Ancestry
from lcm.readout.evidence import FoundGraph


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model and its graph.

    Attributes:
        model: the fitted model, in the units of the data.
        found: the graph over its variables with edge strengths, and with p-values if tests found it.
        held_out_nll: mean negative log-likelihood in nats per held-out pair, in the units of the data; a variational
            model gives an upper bound. It ranks restarts.
        ancestry: the test for ancestors; None for a peer.
        implicit_nll: as `held_out_nll`, for the implicit model; None for a peer.
        implicit: the noise encoder and its solution functions, from which the model was made; None for a peer.
    """

    model: PairModel
    found: FoundGraph
    held_out_nll: float
    ancestry: Ancestry | None = None
    implicit_nll: float | None = None
    implicit: ImplicitModel | None = None
