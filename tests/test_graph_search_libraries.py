"""Methods of kept libraries; skipped where the extra `discovery` is not installed, but for the error that says so."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from fitted_variables import CHAIN, chain_variables
from hypothesis import given, settings
from hypothesis import strategies as st

from lcm.model.graph import Graph
from lcm.peer.search import discover
from lcm.peer.search.config import LIBRARY_METHODS, SearchMethod
from lcm.peer.search.libraries import _marks, moves
from lcm.peer.search.variables import FittedVariables

PACKAGES = {"pc": "causallearn", "ges": "causallearn", "lingam": "causallearn", "gies": "gies"}
ON_NORMAL: tuple[SearchMethod, ...] = ("pc", "ges", "gies")


def needs(method: SearchMethod) -> None:
    pytest.importorskip(PACKAGES[method])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", ON_NORMAL)
@pytest.mark.parametrize("permutation", [[0, 1, 2], [1, 2, 0]])
def test_the_graph_of_true_variables_is_found_in_any_numbering(method: SearchMethod, permutation: list[int]) -> None:
    needs(method)
    found = discover(chain_variables().permuted(permutation), method)
    assert found.graph == Graph.from_edges(3, CHAIN).permuted(permutation)
    assert (found.edge_strength[found.graph.adjacency] > 0.2).all()
    assert not found.edge_strength[~found.graph.adjacency].any()


@pytest.mark.filterwarnings("ignore")
def test_lingam_finds_the_graph_of_variables_with_noise_that_is_not_normal() -> None:
    needs("lingam")
    random = np.random.default_rng(0)
    noise = random.laplace(size=(3000, 3))
    z = noise.copy()
    z[:, 0] += z[:, 2]
    z[:, 1] -= z[:, 0]
    import torch

    parts = [torch.from_numpy(part).float() for part in (z, z, noise, noise, np.zeros_like(z))]
    assert discover(FittedVariables(*parts), "lingam").graph == Graph.from_edges(3, CHAIN)


def test_interventions_move_descendants_alone() -> None:
    found = moves(chain_variables())
    assert ((found > 0.1) == Graph.from_edges(3, CHAIN).ancestors()).all()


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_marks_at_the_ends_are_edges(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    kind = np.triu(random.integers(0, 3, (n, n)), 1)
    edges, undirected = kind == 1, (kind == 2) | (kind == 2).T
    graph = np.zeros((n, n))
    graph[edges], graph[edges.T] = -1, 1
    graph[undirected] = -1
    found = _marks(graph)
    np.testing.assert_array_equal(found[0], edges)
    np.testing.assert_array_equal(found[1], undirected)


@pytest.mark.parametrize("method", LIBRARY_METHODS)
def test_a_missing_library_is_an_error_that_names_the_extra(
    method: SearchMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = PACKAGES[method]
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    named = "causal-learn" if package == "causallearn" else package
    expected = rf"Expected the package {named}; got none\. Install it: pip install 'latent-causal-models\[discovery\]'"
    with pytest.raises(ValueError, match=expected):
        discover(chain_variables(), method)
