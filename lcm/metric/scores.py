"""All scores of a model against the truth in a data set: what `lcm evaluate` writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcm.data.encode import encode_pairs
from lcm.data.pairs import PairData
from lcm.isomorphism.matching import IntArray, correlation_matrix, match_variables, mean_correlation
from lcm.metric.calibration import confidence_reliability
from lcm.metric.disentanglement import dci, r2_per_variable
from lcm.metric.graph import aligned_adjacency, edge_auroc, edge_scores, structural_hamming_distance
from lcm.metric.intervention import intervention_accuracy
from lcm.model.graph import Graph
from lcm.model.pair_model import EncodedPairs, PairModel

DCI_ROWS = 10_000
_MIN_ROWS = 10

KEYS = (
    "n_variables",
    "mcc",
    "mcc_pearson",
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness_r2",
    "r2",
    "r2_per_variable",
    "intervention_accuracy",
    "intervention_calibration_error",
    "shd",
    "edge_precision",
    "edge_recall",
    "edge_f1",
    "edge_auroc",
    "graph_isomorphic",
    "permutation",
    "nll",
    "fit_seconds",
)


def evaluate(
    model: PairModel,
    data: PairData,
    *,
    edge_strength: ArrayLike | None = None,
    fit_seconds: float | None = None,
    dci_seed: int = 0,
    n_jobs: int = -1,
    encoded: EncodedPairs | None = None,
) -> dict[str, Any]:
    """Score a model, learned or true, against the truth in `data`; every value is one that JSON holds.

    A key whose truth is missing is None, and no value is NaN. n is the number of true variables.

    ======================  ============================================================================== ========
    key                     meaning, range, source                                                          needs
    ======================  ============================================================================== ========
    n_variables             number of learned variables, >= 1
    mcc                     mean |Spearman| of true variables with their match, [0, 1]; an unmatched one
                            and a constant one count 0 (`lcm.isomorphism.matching`)                              z
    mcc_pearson             the same with |Pearson|, same match, [0, 1]                                     z
    dci_disentanglement     [0, 1]; gradient boosting on the first 10,000 rows of z, 80/20
                            (Eastwood & Williams 2018; `lcm.metric.disentanglement.dci`)                    z
    dci_completeness        [0, 1]; likewise                                                                z
    dci_informativeness_r2  held-out R² of the true variables on all learned ones, <= 1; likewise           z
    r2                      mean of r2_per_variable, <= 1                                                   z
    r2_per_variable         (n,) held-out R² of true variable i on a cubic spline of its match alone,
                            <= 1; 0 where unmatched                                                         z
    intervention_accuracy   share of pairs whose most probable set, mapped by permutation, is the true
                            one, [0, 1]; the empty set is a class, a set the model lacks counts as
                            wrong (`lcm.metric.intervention`)                                               z, targets
    intervention_calibration_error
                            expected calibration error of the most probable set's probability, [0, 1], in
                            ten bins (Guo et al. 2017; `lcm.metric.calibration`)                            z, targets
    shd                     structural Hamming distance, 0..n(n-1)/2; a reversal is one error
                            (Tsamardinos et al. 2006; `lcm.metric.graph`)                                   z, adjacency
    edge_precision          share of learned edges that are true, [0, 1]; 1 where none is learned           z, adjacency
    edge_recall             share of true edges that are learned, [0, 1]; 1 where there is none             z, adjacency
    edge_f1                 their harmonic mean, [0, 1]; 1 where both graphs are empty                      z, adjacency
    edge_auroc              how often a true edge is stronger than a non-edge, [0, 1]; None without
                            `edge_strength`, true edges or non-edges                                        z, adjacency
    graph_isomorphic        whether some relabelling makes the graphs equal, bool; exact                    adjacency
    permutation             (n,) ints, permutation[i] = j: true variable i is learned variable j,
                            maximising the sum of |Spearman| over all rows of x; -1 where unmatched         z
    nll                     mean of -log p(x, x̃) in nats a pair, data's units, at the model's thickness
                            floored at 1e-3 (docs/theory.md section 2); None where it is not finite;
                            comparable only between models on the same data
    fit_seconds             as given, >= 0: from data in memory to the written model, all restarts
    ======================  ============================================================================== ========

    The dci keys and r2 are None too where there are fewer than 10 rows.

    Args:
        model: its precision is the one that is computed in.
        data: pairs (N, d) of the model's dimension.
        edge_strength: (m, m) of the m learned variables, as in graph.json.
        fit_seconds: passed on.
        dci_seed: of the gradient boosting.
        n_jobs: regressors fitted at once, -1 for one a core; no score depends on it.
        encoded: what `encode_pairs` gave for this model and data, where it is at hand.

    Raises:
        ValueError: images, another dimension than the model's, edge strengths of another size, or encodings that are
            not finite.
    """
    if edge_strength is not None and np.shape(edge_strength) != (model.n, model.n):
        raise ValueError(f"edge_strength: Expected shape ({model.n}, {model.n}); got {np.shape(edge_strength)}")
    encoded = encode_pairs(model, data) if encoded is None else encoded
    scores: dict[str, Any] = dict.fromkeys(KEYS)
    nll = -float(encoded.log_density.double().mean())
    scores |= {"n_variables": model.n, "nll": nll if math.isfinite(nll) else None, "fit_seconds": fit_seconds}
    if data.adjacency is not None:
        scores["graph_isomorphic"] = model.graph.is_isomorphic(Graph(data.adjacency))
    if data.z is None:
        return scores
    learned = encoded.z.double().cpu().numpy()
    spearman = correlation_matrix(data.z, learned)
    permutation = match_variables(spearman)
    scores["permutation"] = permutation.tolist()
    scores["mcc"] = mean_correlation(spearman, permutation)
    scores["mcc_pearson"] = mean_correlation(correlation_matrix(data.z, learned, "pearson"), permutation)
    scores |= _disentanglement(data.z, learned, permutation, dci_seed, n_jobs)
    if data.targets is not None:
        sets = model.target_distribution.target_sets.cpu().numpy()
        posterior = encoded.posterior.cpu().numpy()
        scores["intervention_accuracy"] = intervention_accuracy(data.targets, posterior, sets, permutation)
        curve = confidence_reliability(data.targets, posterior, sets, permutation)
        scores["intervention_calibration_error"] = curve.error()
    if data.adjacency is not None:
        scores |= _graph(data.adjacency, model.graph.adjacency, edge_strength, permutation)
    return scores


def _disentanglement(
    true: NDArray[Any], learned: NDArray[Any], permutation: IntArray, seed: int, n_jobs: int
) -> dict[str, Any]:
    if len(true) < _MIN_ROWS:
        return {}
    found = dci(true, learned, seed=seed, max_rows=DCI_ROWS, n_jobs=n_jobs)
    r2 = r2_per_variable(true, learned, permutation)
    return {
        "dci_disentanglement": found.disentanglement,
        "dci_completeness": found.completeness,
        "dci_informativeness_r2": found.informativeness_r2,
        "r2": float(np.mean(r2)),
        "r2_per_variable": r2.tolist(),
    }


def _graph(
    true: NDArray[Any], learned: NDArray[Any], edge_strength: ArrayLike | None, permutation: IntArray
) -> dict[str, Any]:
    aligned = aligned_adjacency(learned, permutation)
    edges = edge_scores(true, aligned)
    auroc = None if edge_strength is None else edge_auroc(true, aligned_adjacency(edge_strength, permutation))
    return {
        "shd": structural_hamming_distance(true, aligned),
        "edge_precision": edges.precision,
        "edge_recall": edges.recall,
        "edge_f1": edges.f1,
        "edge_auroc": auroc,
    }
