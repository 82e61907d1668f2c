"""Searches by libraries, the extra `discovery`: PC, GES and DirectLiNGAM of causal-learn, GIES of gies.

PC, GES and LiNGAM read only z before the interventions, GIES also z̃ by target. PC, GES and GIES find classes of graphs:
an edge that they leave undirected points along the order in which interventions move the variables.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lcm.model.graph import BoolArray
from lcm.peer.search.config import SearchMethod
from lcm.peer.search.variables import FittedVariables
from lcm.readout.ancestors import causes_first
from lcm.readout.evidence import FoundGraph, directed, strongest_acyclic

FloatArray = NDArray[np.float64]
_MOST_ROWS = 10_000
_LEAST_ROWS_PER_VARIABLE = 10
_RIDGE = 1e-6


def find_by_library(variables: FittedVariables, method: SearchMethod, threshold: float, level: float) -> FoundGraph:
    """The graph that a library finds, with the strengths of linear regressions on the parents.

    Args:
        variables: encodings of pairs; the first 10,000 are used.
        method: pc, ges, gies or lingam.
        threshold: least strength of an edge of lingam.
        level: of every conditional independence test of pc.

    Raises:
        ValueError: a library that is not installed.
    """
    z = _standard(variables.z, variables.z)
    if method == "lingam":
        coefficients = np.abs(_lingam(z))
        graph = strongest_acyclic(coefficients, coefficients > threshold)
        return FoundGraph(graph, coefficients, graph.order())
    classes: dict[str, Callable[[], tuple[BoolArray, BoolArray]]] = {
        "pc": lambda: _pc(z, level),
        "ges": lambda: _ges(z),
        "gies": lambda: _gies(z, variables),
    }
    edges, undirected = classes[method]()
    graph = directed(edges, undirected, causes_first(moves(variables)))
    return FoundGraph(graph, _regression_strengths(z, graph.adjacency), graph.order())


def moves(variables: FittedVariables) -> FloatArray:
    """[i, j] (n, n): RMS of z̃_j − z_j in standard deviations among pairs with target i; 0 on the diagonal."""
    weights = variables.target_weights.double()
    squares = ((variables.z_tilde - variables.z).double() / variables.z.double().std(0).clamp_min(1e-12)).square()
    mean = weights.T @ squares / weights.sum(0).clamp_min(1e-6).unsqueeze(1)
    found: FloatArray = mean.sqrt().fill_diagonal_(0.0).cpu().numpy()
    return found


def _library(module: str, name: str) -> Any:
    """A name of a library's module, imported without its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(import_module(module), name)
    except ImportError as error:
        package = {"causallearn": "causal-learn"}.get(module.split(".")[0], module)
        raise ValueError(
            f"Expected the package {package}; got none. Install it: pip install 'latent-causal-models[discovery]'"
        ) from error


def _called(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


def _pc(z: FloatArray, level: float) -> tuple[BoolArray, BoolArray]:
    pc = _library("causallearn.search.ConstraintBased.PC", "pc")
    return _marks(_called(pc, z, alpha=level, indep_test="fisherz", show_progress=False).G.graph)


def _ges(z: FloatArray) -> tuple[BoolArray, BoolArray]:
    ges = _library("causallearn.search.ScoreBased.GES", "ges")
    return _marks(_called(ges, z, score_func="local_score_BIC")["G"].graph)


def _marks(graph: NDArray[Any]) -> tuple[BoolArray, BoolArray]:
    """Directed and undirected edges from the marks at their ends: −1 at the tail, 1 at the head, at row of the end."""
    edges: BoolArray = (graph == -1) & (graph.T == 1)
    joined: BoolArray = (graph != 0) & (graph.T != 0) & ~edges & ~edges.T
    return edges, joined


def _gies(z: FloatArray, variables: FittedVariables) -> tuple[BoolArray, BoolArray]:
    fit_bic = _library("gies", "fit_bic")
    after, weights = _standard(variables.z_tilde, variables.z), variables.target_weights[:_MOST_ROWS].cpu().numpy()
    samples: list[FloatArray] = [z]
    targets: list[list[int]] = [[]]
    for i in range(variables.n):
        chosen = after[weights[:, i] > 0.5]
        if len(chosen) >= _LEAST_ROWS_PER_VARIABLE * variables.n:
            samples.append(chosen)
            targets.append([i])
    found = np.asarray(_called(fit_bic, samples, targets)[0]) != 0
    return found & ~found.T, found & found.T


def _lingam(z: FloatArray) -> FloatArray:
    """Coefficients (n, n), [i, j] of i → j."""
    model = _library("causallearn.search.FCMBased.lingam", "DirectLiNGAM")()
    _called(model.fit, z)
    return np.nan_to_num(np.asarray(model.adjacency_matrix_, dtype=np.float64)).T


def _standard(values: Tensor, reference: Tensor) -> FloatArray:
    """The first rows, in standard deviations of the reference from its mean."""
    center, spread = reference.double().mean(0), reference.double().std(0).clamp_min(1e-12)
    found: FloatArray = ((values[:_MOST_ROWS].double() - center) / spread).cpu().numpy()
    return found


def _regression_strengths(z: FloatArray, adjacency: BoolArray) -> FloatArray:
    """|coefficients| (n, n), [i, j], of every variable's regression on its parents, all standardised."""
    parents = adjacency.T.astype(np.float64)
    covariance = z.T @ z / len(z)
    gram = parents[:, :, None] * parents[:, None, :] * covariance
    gram += (1.0 - parents + _RIDGE)[:, :, None] * np.eye(len(parents))
    slopes = np.linalg.solve(gram, (parents * covariance)[:, :, None])[:, :, 0]
    strengths: FloatArray = np.abs(slopes.T)
    return strengths
