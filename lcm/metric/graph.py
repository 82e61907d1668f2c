"""A learned graph against the true one; `adjacency[i, j]` means i -> j in both.

The functions take any square arrays, cyclic ones too: a learned graph before it is made acyclic can be
scored. Bring the learned graph into the true variables' numbering first, with `aligned_adjacency`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lcm.isomorphism.matching import checked_permutation
from lcm.metric.case import Case, Metric
from lcm.model.graph import BoolArray, Graph, square_bool


class EdgeScores(NamedTuple):
    """Agreement of directed edges, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def aligned_adjacency(learned: ArrayLike, permutation: ArrayLike) -> NDArray[Any]:
    """The learned graph in the true variables' numbering, (n, n): `learned[permutation][:, permutation]`.

    A true variable without a match (-1) has no edges; learned variables that nothing is matched with are left
    out.

    Args:
        learned: (m, m), an adjacency or edge strengths; the result has its dtype.
        permutation: (n,), permutation[i] = j: true variable i is learned variable j, -1 where unmatched.

    Raises:
        ValueError: `learned` is not square, or the permutation does not fit it.
    """
    entries = np.asarray(learned)
    if entries.ndim != 2 or entries.shape[0] != entries.shape[1]:
        raise ValueError(f"Expected a square learned graph; got shape {entries.shape}.")
    permutation = checked_permutation(permutation, np.size(permutation), len(entries))
    matched = np.flatnonzero(permutation >= 0)
    matches = permutation[matched]
    aligned = np.zeros((len(permutation), len(permutation)), dtype=entries.dtype)
    aligned[np.ix_(matched, matched)] = entries[np.ix_(matches, matches)]
    return aligned


def structural_hamming_distance(true: ArrayLike, learned: ArrayLike) -> int:
    """Number of pairs of variables that are joined differently in the two graphs, 0..n(n-1)/2.

    A missing edge, an edge too many, and a **reversed edge each count as one error** (the convention of
    Tsamardinos et al. 2006; others count a reversal as two). A self-loop in one graph only is one error more.

    Args:
        true: (n, n), entries 0 or 1.
        learned: (n, n), entries 0 or 1, in the true variables' numbering.

    Raises:
        ValueError: the graphs are not square arrays of zeros and ones, or differ in size.
    """
    true_edges, learned_edges = _same_size(true, learned)
    differs = true_edges != learned_edges
    return int(np.triu(differs | differs.T).sum())


def edge_scores(true: ArrayLike, learned: ArrayLike) -> EdgeScores:
    """Precision, recall and F1 of directed edges, each in [0, 1]; a reversed edge is both wrong and missed.

    An empty denominator gives 1: no learned edge is wrong where none is learned, no true edge is missed where
    there is none.

    Args:
        true: (n, n), entries 0 or 1.
        learned: (n, n), entries 0 or 1, in the true variables' numbering.

    Raises:
        ValueError: the graphs are not square arrays of zeros and ones, or differ in size.
    """
    true_edges, learned_edges = _same_size(true, learned)
    n_true, n_learned = int(true_edges.sum()), int(learned_edges.sum())
    n_right = int((true_edges & learned_edges).sum())
    return EdgeScores(
        precision=_ratio(n_right, n_learned),
        recall=_ratio(n_right, n_true),
        f1=_ratio(2 * n_right, n_true + n_learned),
    )


def edge_auroc(true: ArrayLike, strength: ArrayLike) -> float | None:
    """Area under the ROC curve of edge strengths, in [0, 1]: how often an edge is stronger than a non-edge.

    Over all ordered pairs i != j; a tie counts one half (Mann & Whitney 1947).

    Args:
        true: (n, n), entries 0 or 1.
        strength: (n, n), larger for i -> j where an edge is surer, in the true variables' numbering.

    Returns:
        None where the true graph has no edge or no non-edge.

    Raises:
        ValueError: `true` is not a square array of zeros and ones, the sizes differ, or a strength is NaN.
    """
    true_edges = square_bool(true)
    strengths = np.asarray(strength, dtype=np.float64)
    if strengths.shape != true_edges.shape:
        raise ValueError(f"Expected strengths of shape {true_edges.shape}; got {strengths.shape}.")
    off_diagonal = ~np.eye(len(true_edges), dtype=np.bool_)
    is_edge, values = true_edges[off_diagonal], strengths[off_diagonal]
    if np.isnan(values).any():
        raise ValueError(f"Expected edge strengths without NaN; got {np.isnan(values).sum()} NaN.")
    if is_edge.all() or not is_edge.any():
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_edge, values))


def _same_size(true: ArrayLike, learned: ArrayLike) -> tuple[BoolArray, BoolArray]:
    true_edges, learned_edges = square_bool(true), square_bool(learned)
    if true_edges.shape != learned_edges.shape:
        raise ValueError(f"Expected graphs of the same size; got {len(true_edges)} and {len(learned_edges)} variables.")
    return true_edges, learned_edges


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 1.0


def _aligned(case: Case) -> NDArray[Any]:
    return aligned_adjacency(case.model.graph.adjacency, case.permutation)


def _of_edges(name: str) -> Callable[[Case], float]:
    return lambda case: float(getattr(edge_scores(case.adjacency, case.once(_aligned)), name))


def _auroc(case: Case) -> float | None:
    if case.edge_strength is None:
        return None
    return edge_auroc(case.adjacency, aligned_adjacency(case.edge_strength, case.permutation))


_NEEDS = ("z", "adjacency")
SHD = Metric(
    "shd",
    "structural Hamming distance, 0..n(n-1)/2; a reversed edge is one error (Tsamardinos et al. 2006)",
    lambda case: structural_hamming_distance(case.adjacency, case.once(_aligned)),
    _NEEDS,
    "graph",
)
EDGE_PRECISION = Metric(
    "edge_precision",
    "share of learned edges that are true, [0, 1]; 1 where none is learned",
    _of_edges("precision"),
    _NEEDS,
    "graph",
)
EDGE_RECALL = Metric(
    "edge_recall",
    "share of true edges that are learned, [0, 1]; 1 where there is none",
    _of_edges("recall"),
    _NEEDS,
    "graph",
)
EDGE_F1 = Metric(
    "edge_f1",
    "harmonic mean of precision and recall, [0, 1]; 1 where both graphs are empty",
    _of_edges("f1"),
    _NEEDS,
    "graph",
)
EDGE_AUROC = Metric(
    "edge_auroc",
    "how often a true edge is stronger than a non-edge, [0, 1]; null without strengths, true edges or non-edges",
    _auroc,
    (*_NEEDS, "edge_strength"),
    "graph",
)
GRAPH_ISOMORPHIC = Metric(
    "graph_isomorphic",
    "whether some relabelling makes the graphs equal, true or false; exact",
    lambda case: case.model.graph.is_isomorphic(Graph(case.adjacency)),
    ("adjacency",),
    "graph",
)
