"""Directed acyclic graphs over causal variables, and the one place where a graph is validated.

The convention holds in the whole package: `adjacency[i, j]` means i -> j, i is a parent (a direct cause) of
j. Row i lists the children of i, column j the parents of j.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import networkx as nx


BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


def square_bool(array: ArrayLike) -> BoolArray:
    """Copy a square array of zeros and ones, cyclic or not, to a bool (n, n) array.

    Raises:
        ValueError: the array is not square, or an entry is neither 0 nor 1.
    """
    entries = np.asarray(array)
    if entries.ndim != 2 or entries.shape[0] != entries.shape[1]:
        raise ValueError(f"Expected a square (n, n) adjacency; got shape {entries.shape}.")
    wrong = np.argwhere((entries != 0) & (entries != 1))
    if wrong.size:
        row, column = wrong[0]
        raise ValueError(f"Expected adjacency entries 0 or 1; got {entries[row, column]} at [{row}, {column}].")
    return entries.astype(np.bool_)


def validate_adjacency(array: ArrayLike) -> BoolArray:
    """Copy the adjacency of a directed acyclic graph, `array[i, j]`: i -> j, to a bool (n, n) array.

    Raises:
        ValueError: the array is not square, an entry is neither 0 nor 1, or there is a cycle (the message
            names one).
    """
    adjacency = square_bool(array)
    remaining = np.ones(len(adjacency), dtype=np.bool_)
    for generation in _peel(adjacency):
        remaining[generation] = False
    if remaining.any():
        cycle = " -> ".join(str(node) for node in _find_cycle(adjacency, remaining))
        raise ValueError(f"Expected an acyclic adjacency; got the cycle {cycle}.")
    return adjacency


def transitive_closure(adjacency: ArrayLike) -> BoolArray:
    """Reachability along at least one edge, bool (n, n): [i, j] holds iff a directed path leads from i to j.

    Works for any square array of zeros and ones; the diagonal marks the nodes that lie on a cycle. By
    repeated squaring: about log2(n) matrix products.

    Raises:
        ValueError: the array is not square, or an entry is neither 0 nor 1.
    """
    reachable = square_bool(adjacency)
    while True:
        # numpy multiplies bool matrices without BLAS, hence floats; no sum exceeds n.
        legs = reachable.astype(np.float32)
        wider = reachable | (legs @ legs > 0)
        if np.array_equal(wider, reachable):
            return reachable
        reachable = wider


@final
@dataclass(frozen=True, eq=False, init=False, repr=False)
class Graph:
    """A directed acyclic graph over the variables 0..n-1.

    Attributes:
        adjacency: (n, n) bool, read-only; `adjacency[i, j]` means i -> j.

    Example:
        >>> import lcm
        >>> graph = lcm.Graph.from_edges(3, [(0, 1), (1, 2)])
        >>> graph.order(), graph.adjacency[0, 1]
        ((0, 1, 2), np.True_)
    """

    adjacency: BoolArray

    def __init__(self, adjacency: ArrayLike) -> None:
        """Copy and validate `adjacency` (n, n), as `validate_adjacency` does; raises its ValueError."""
        validated = validate_adjacency(adjacency)
        validated.setflags(write=False)
        object.__setattr__(self, "adjacency", validated)

    @classmethod
    def from_edges(cls, n: int, edges: Iterable[Sequence[int]]) -> Graph:
        """The graph on n variables with an edge i -> j for each pair (i, j); repeated pairs count once.

        Raises:
            ValueError: an edge is not a pair of integers in 0..n-1, or the edges form a cycle.
        """
        pairs = np.asarray(list(edges))
        adjacency = np.zeros((n, n), dtype=np.bool_)
        if pairs.size == 0:
            return cls(adjacency)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise ValueError(f"Expected edges as pairs of integers; got {pairs.dtype} of shape {pairs.shape}.")
        outside = np.flatnonzero(((pairs < 0) | (pairs >= n)).any(axis=1))
        if outside.size:
            source, target = pairs[outside[0]]
            raise ValueError(f"Expected edges between variables 0..{n - 1}; got {source} -> {target}.")
        adjacency[pairs[:, 0], pairs[:, 1]] = True
        return cls(adjacency)

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph) -> Graph:
        """The graph of a directed networkx graph whose nodes are the integers 0..n-1, in any order.

        Raises:
            ValueError: the graph is undirected, has other nodes, or has a cycle.
        """
        if not graph.is_directed():
            raise ValueError(f"Expected a directed networkx graph; got {type(graph).__name__}.")
        n = graph.number_of_nodes()
        if set(graph.nodes) != set(range(n)):
            raise ValueError(f"Expected the nodes 0..{n - 1}; got {list(graph.nodes)}.")
        return cls.from_edges(n, ((source, target) for source, target in graph.edges()))

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.adjacency)

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return int(self.adjacency.sum())

    def edges(self) -> list[tuple[int, int]]:
        """Every edge i -> j as a pair (i, j), sorted."""
        return [(int(source), int(target)) for source, target in np.argwhere(self.adjacency)]

    def generations(self) -> list[IntArray]:
        """Topological generations, causes first: a variable comes right after the last of its parents."""
        return _peel(self.adjacency)

    def order(self) -> tuple[int, ...]:
        """A topological order, causes first: by generation, then by index."""
        return tuple(int(variable) for generation in self.generations() for variable in generation)

    def ancestors(self) -> BoolArray:
        """Proper ancestors, bool (n, n): [i, j] holds iff a directed path leads from i to j."""
        return transitive_closure(self.adjacency)

    def permuted(self, permutation: Sequence[int] | IntArray) -> Graph:
        """The graph with new labels: `new.adjacency[a, b] = old.adjacency[permutation[a], permutation[b]]`.

        So `permutation[a]` is the old label of the variable that is called a in the new graph.

        Raises:
            ValueError: `permutation` does not hold each of 0..n-1 exactly once.
        """
        old_labels = np.asarray(permutation)
        if old_labels.shape != (self.n,) or not np.array_equal(np.sort(old_labels), np.arange(self.n)):
            raise ValueError(f"Expected a permutation of 0..{self.n - 1}; got {old_labels.tolist()}.")
        old_labels = old_labels.astype(np.int64)
        return Graph(self.adjacency[old_labels][:, old_labels])

    def is_isomorphic(self, other: Graph) -> bool:
        """Whether some relabelling of the variables turns this graph into the other; exact, for any n.

        Colour refinement refuses most pairs at once and narrows the exact search for the rest.
        """
        if self.n != other.n or self.n_edges != other.n_edges:
            return False
        if self == other:
            return True
        colours, other_colours = _refined_colours(self.adjacency, other.adjacency)
        if not np.array_equal(np.sort(colours), np.sort(other_colours)):
            return False
        import networkx as nx

        first, second = self.to_networkx(), other.to_networkx()
        nx.set_node_attributes(first, dict(enumerate(colours)), "colour")
        nx.set_node_attributes(second, dict(enumerate(other_colours)), "colour")
        same_colour = nx.algorithms.isomorphism.categorical_node_match("colour", None)
        return bool(nx.is_isomorphic(first, second, node_match=same_colour))

    def to_networkx(self, strength: ArrayLike | None = None) -> nx.DiGraph:
        """A networkx graph with the nodes 0..n-1 and the same edges.

        strength: (n, n) of the edges [i, j], i -> j, as their attribute `strength`; ValueError for another shape.
        """
        # slow to load, and a fit has no use for it
        import networkx as nx

        graph = nx.DiGraph()
        graph.add_nodes_from(range(self.n))
        graph.add_edges_from(self.edges())
        if strength is not None:
            nx.set_edge_attributes(graph, self._of_edges(strength), "strength")
        return graph

    def to_graphml(
        self, path: str | Path | None = None, names: Sequence[str] | None = None, strength: ArrayLike | None = None
    ) -> str:
        """The graph as GraphML text, also written to `path` (whole or not at all) where one is given.

        names: of the variables, as the attribute `label` of the nodes. strength: as for `to_networkx`.
        """
        import networkx as nx

        graph = self.to_networkx(strength)
        if names is not None:
            nx.set_node_attributes(graph, dict(enumerate(names)), "label")
        text = "\n".join(nx.generate_graphml(graph)) + "\n"
        if path is not None:
            # Imported here, since the rest of the module has no use for tensor files.
            from lcm.base.files import write_text

            write_text(path, text)
        return text

    def to_dot(self, names: Sequence[str] | None = None, strength: ArrayLike | None = None) -> str:
        """The graph in the DOT language of Graphviz, every variable listed before the edges, with its name if given.

        strength: as for `to_networkx`; an edge is labelled with three decimals of it.
        """
        labels = [""] * self.n if names is None else [f' [label="{name}"]' for name in names]
        nodes = [f"  {node}{label};" for node, label in enumerate(labels)]
        edges = self.edges()
        shown = dict.fromkeys(edges, "")
        if strength is not None:
            shown = {edge: f' [label="{value:.3f}"]' for edge, value in self._of_edges(strength).items()}
        lines = [f"  {source} -> {target}{shown[source, target]};" for source, target in edges]
        return "\n".join(["digraph {", *nodes, *lines, "}"]) + "\n"

    def _of_edges(self, strength: ArrayLike) -> dict[tuple[int, int], float]:
        values = np.asarray(strength, dtype=np.float64)
        if values.shape != self.adjacency.shape:
            raise ValueError(f"strength: Expected shape {self.adjacency.shape}; got {values.shape}.")
        return {edge: float(values[edge]) for edge in self.edges()}

    def __eq__(self, other: object) -> bool:
        """Equal iff the labelled graphs are: same n, same edges."""
        if not isinstance(other, Graph):
            return NotImplemented
        return np.array_equal(self.adjacency, other.adjacency)

    def __hash__(self) -> int:
        return hash((self.n, self.adjacency.tobytes()))

    def __repr__(self) -> str:
        return f"Graph.from_edges({self.n}, {self.edges()})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Copied or unpickled by itself, the array would be writable again.
        return Graph, (self.adjacency,)


def _peel(adjacency: BoolArray) -> list[IntArray]:
    """Topological generations of the part of a directed graph (n, n) that no cycle leads to."""
    parents_left = adjacency.sum(axis=0)
    remaining = np.ones(len(adjacency), dtype=np.bool_)
    generations = []
    while (sources := np.flatnonzero(remaining & (parents_left == 0))).size:
        generations.append(sources)
        remaining[sources] = False
        parents_left -= adjacency[sources].sum(axis=0)
    return generations


def _find_cycle(adjacency: BoolArray, remaining: BoolArray) -> list[int]:
    """A cycle among `remaining`, nodes with a remaining parent each; starts and ends at its least node."""
    path = [int(np.flatnonzero(remaining)[0])]
    while True:
        parent = int(np.flatnonzero(adjacency[:, path[-1]] & remaining)[0])
        if parent in path:
            break
        path.append(parent)
    # The walk went from child to parent, so the edges run against it.
    cycle = path[path.index(parent) :][::-1]
    start = cycle.index(min(cycle))
    return [*cycle[start:], *cycle[:start], cycle[start]]


def _refined_colours(adjacency: BoolArray, other: BoolArray) -> tuple[IntArray, IntArray]:
    """Colours (n,) of the nodes of two graphs, equal wherever an isomorphism can match two nodes."""
    n = len(adjacency)
    union = np.zeros((2 * n, 2 * n))
    union[:n, :n], union[n:, n:] = adjacency, other
    colours = np.zeros(2 * n, dtype=np.int64)
    while True:
        members = np.eye(colours.max() + 1)[colours]
        # A node's next colour: its own, how many children of each colour it has, and how many parents.
        signatures = np.column_stack([colours, union @ members, union.T @ members])
        refined = np.unique(signatures, axis=0, return_inverse=True)[1].reshape(-1)
        if refined.max() == colours.max():
            return colours[:n], colours[n:]
        colours = refined
