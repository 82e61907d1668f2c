"""All scores of a model against the truth in a data set: what `lcm evaluate` writes."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcm.data.encode import encode_pairs
from lcm.data.named_columns import in_order_of
from lcm.data.pair_files import load_pairs
from lcm.isomorphism.matching import correlation_matrix, match_variables, mean_correlation
from lcm.metric import (
    counterfactual,
    disentanglement,
    graph,
    intervention,
    interventional,
    kernel_regression,
    measurement_exclusivity,
)
from lcm.metric.case import Case, Metric
from lcm.metric.known_nature import checked_nature
from lcm.model.pair_model import EncodedPairs, PairModel


def _nll(case: Case) -> float | None:
    nll = -float(case.encoded.log_density.double().mean())
    return nll if math.isfinite(nll) else None


def _mcc_cauca(case: Case) -> float:
    correlations = correlation_matrix(case.z, case.learned, "pearson")
    return mean_correlation(correlations, match_variables(correlations))


N_VARIABLES = Metric(
    "n_variables", "number of learned variables, at least 1", lambda case: case.model.n, (), "variables"
)
MCC = Metric(
    "mcc",
    "mean |Spearman| of true variables with their match, [0, 1]; an unmatched one and a constant one count 0",
    lambda case: mean_correlation(case.abs_spearman, case.permutation),
    ("z",),
    "variables",
)
MCC_PEARSON = Metric(
    "mcc_pearson",
    "mean |Pearson| of true variables with the same match, [0, 1]",
    lambda case: mean_correlation(correlation_matrix(case.z, case.learned, "pearson"), case.permutation),
    ("z",),
    "variables",
)
MCC_CAUCA = Metric(
    "mcc_cauca",
    "mean |Pearson| of true variables with the match that maximises its sum, [0, 1], at least mcc_pearson (CauCA, Liang"
    " et al. 2023); an unmatched one counts 0",
    _mcc_cauca,
    ("z",),
    "variables",
)
PERMUTATION = Metric(
    "permutation",
    "(n,) integers: true variable i is learned variable permutation[i], which maximises the sum of |Spearman|;"
    " -1 where unmatched",
    lambda case: case.permutation.tolist(),
    ("z",),
    "variables",
)
NLL = Metric(
    "nll",
    "mean of -log p(x, x̃) in nats a pair, in the data's units, at the model's thickness floored at 1e-3"
    " (docs/theory.md section 2); null where it is not finite; comparable only between models on the same data",
    _nll,
)
FIT_SECONDS = Metric(
    "fit_seconds",
    "seconds, at least 0, from data in memory to the written model, all restarts; as it was given",
    lambda case: case.fit_seconds,
)

METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        N_VARIABLES,
        MCC,
        MCC_PEARSON,
        MCC_CAUCA,
        disentanglement.DCI_DISENTANGLEMENT,
        disentanglement.DCI_COMPLETENESS,
        disentanglement.DCI_INFORMATIVENESS_R2,
        disentanglement.R2,
        disentanglement.R2_PER_VARIABLE,
        kernel_regression.KERNEL_R2,
        kernel_regression.KERNEL_R2_MATCHED,
        measurement_exclusivity.TMEX,
        intervention.INTERVENTION_ACCURACY,
        intervention.INTERVENTION_CALIBRATION_ERROR,
        graph.SHD,
        graph.EDGE_PRECISION,
        graph.EDGE_RECALL,
        graph.EDGE_F1,
        graph.EDGE_AUROC,
        graph.GRAPH_ISOMORPHIC,
        interventional.EFFECT_ERROR,
        counterfactual.COUNTERFACTUAL_ERROR_Z,
        counterfactual.COUNTERFACTUAL_ERROR_X,
        interventional.INTERVENTIONAL_MMD,
        PERMUTATION,
        NLL,
        FIT_SECONDS,
    )
}
"""Every score, in the order in which it is written; `Metric.about` says what it means. A new one is a line here."""

KEYS = METRICS.keys()


class Scored(Protocol):
    """The result of a fit, such as `lcm.FitResult`: its model, the strengths of edges (n, n), and seconds."""

    @property
    def model(self) -> PairModel: ...

    @property
    def edge_strength(self) -> NDArray[np.float64]: ...

    @property
    def seconds(self) -> float: ...


def evaluate(
    model: PairModel | Scored,
    data: Any,
    x_tilde: Any = None,
    *,
    edge_strength: ArrayLike | None = None,
    fit_seconds: float | None = None,
    dci_seed: int = 0,
    n_jobs: int = -1,
    encoded: EncodedPairs | None = None,
    nature: PairModel | None = None,
    keys: Collection[str] = KEYS,
) -> dict[str, Any]:
    """Score a model, learned or true, against the truth in `data`: every key of `METRICS`, with values that JSON holds.

    A key whose truth is missing is None, and no value is NaN. n is the number of true variables. The meaning, range
    and source of a key are in `METRICS[key].about`.

    Args:
        model: a model, or the result of a fit, which has edge strengths and seconds of its own; the precision of the
            model is the one that is computed in.
        data, x_tilde: pairs (N, d) or of images (N, H, W, C), of the model's shape; anything that `lcm.load_pairs`
            takes.
        edge_strength: (m, m) of the m learned variables, as in graph.json.
        fit_seconds: passed on.
        dci_seed: of the gradient boosting, and of what other scores draw.
        n_jobs: regressors fitted at once, -1 for one a core; no score depends on it.
        encoded: what `encode_pairs` gave for this model and data, where it is at hand.
        nature: the latent causal model that drew the data, for the scores of answers to interventions.
        keys: the scores to compute; all by default.

    Raises:
        ValueError: observations of another shape than the model's, edge strengths of another size, encodings that
            are not finite, or a nature that cannot have drawn the data.

    Example:
        >>> import lcm
        >>> pairs = lcm.load_pairs("data/sample.safetensors")
        >>> scores = lcm.evaluate(lcm.fit(pairs, model="linear", quiet=True), pairs)
        >>> scores["mcc"] > 0.99, scores["shd"]
        (True, 0)
    """
    data = in_order_of(load_pairs(data, x_tilde), model)
    if not isinstance(model, PairModel):
        edge_strength = model.edge_strength if edge_strength is None else edge_strength
        fit_seconds = model.seconds if fit_seconds is None else fit_seconds
        model = model.model
    if edge_strength is not None and np.shape(edge_strength) != (model.n, model.n):
        raise ValueError(f"edge_strength: Expected shape ({model.n}, {model.n}); got {np.shape(edge_strength)}")
    encoded = encode_pairs(model, data) if encoded is None else encoded
    known = None if nature is None else checked_nature(nature, data)
    case = Case(model, data, encoded, edge_strength, fit_seconds, dci_seed, n_jobs, known)
    return {key: metric(case) for key, metric in METRICS.items() if key in keys}


def score_text(value: Any) -> str:
    """A score for a reader; a dash stands for null."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(score_text, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)
