"""The pairs that a page of a run shows, with their encodings and, where they have a truth, scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lcm.data.encode import encode_pairs
from lcm.data.pairs import PairData
from lcm.data.sample import sample_pairs
from lcm.metric.scores import evaluate
from lcm.model.pair_model import EncodedPairs
from lcm.run.outcome import Outcome
from lcm.run.related import related_columns

_ROWS = 5_000
_IMAGE_ROWS = 2_000
_SURE = 0.9
SCORES = ("mcc", "mcc_cauca", "intervention_accuracy", "shd", "edge_f1", "permutation", "nll")
"""The scores that take seconds; `lcm evaluate` computes all."""

Floats = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class ShownPairs:
    """Pairs and their encodings.

    Attributes:
        data: at most 5,000 pairs.
        origin: where they come from, in words that follow "in".
        z, z_tilde: (N, n) learned variables of x and x_tilde.
        posterior: (N, K) over target sets.
        related: for each variable, its most related columns of x with |Spearman|; empty for images.
        scores: against the truth of the data, those of `SCORES`; empty without a truth.
    """

    data: PairData
    origin: str
    z: Floats
    z_tilde: Floats
    posterior: Floats
    related: tuple[tuple[tuple[str, float], ...], ...]
    scores: dict[str, Any]

    def imposed(self, target_set: int, variable: int) -> Floats:
        """The values (M,) of a variable after the interventions that almost surely have a target set."""
        imposed: Floats = self.z_tilde[self.posterior[:, target_set] > _SURE, variable]
        return imposed


def shown_pairs(result: Outcome, data: PairData, origin: str) -> ShownPairs:
    """Encode the first pairs of `data`, and score them where they have a truth.

    Raises:
        ValueError: observations of another shape than the model's, or beyond its reach.
    """
    some = data.without_outliers.first(_IMAGE_ROWS if data.is_images else _ROWS)
    if not some.columns and some.n_dimensions == len(result.columns):
        some = replace(some, columns=result.columns)
    encoded = encode_pairs(result.model, some)
    z, z_tilde, posterior = (
        np.asarray(part.double().cpu().numpy()) for part in (encoded.z, encoded.z_tilde, encoded.posterior)
    )
    return ShownPairs(some, origin, z, z_tilde, posterior, _related(some, z), _scores(result, some, encoded))


def drawn_pairs(result: Outcome) -> ShownPairs | None:
    """Pairs that the model itself draws; None for a model without mechanisms."""
    n_pairs = _IMAGE_ROWS if len(result.model.observation_shape) > 1 else _ROWS
    try:
        drawn = sample_pairs(result.model, n_pairs, seed=result.config.seed)
    except NotImplementedError:
        return None
    untrue = replace(drawn, z=None, targets=None, adjacency=None, columns=result.columns)
    return shown_pairs(result, untrue, "pairs that the model drew")


def _related(data: PairData, z: Floats) -> tuple[tuple[tuple[str, float], ...], ...]:
    if data.is_images:
        return ()
    numbered = tuple(f"column {column}" for column in range(data.n_dimensions))
    return related_columns(replace(data, columns=data.columns or numbered), z)


def _scores(result: Outcome, data: PairData, encoded: EncodedPairs) -> dict[str, Any]:
    if data.z is None and data.targets is None and data.adjacency is None:
        return {}
    return evaluate(result.model, data, edge_strength=result.edge_strength, encoded=encoded, keys=SCORES)
