"""Graphs that are learned by gradients: distributions over acyclic adjacencies (n, n), sampled from uniform draws.

Every sample is hard and acyclic, so likelihoods and solutions under it are exact. Its gradient is that of the relaxed
sample at temperature 1 (straight-through; Jang et al. 2017).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from lcm.model.graph import Graph

_LEAST_UNIFORM = 1e-6
_START_LOGIT = 3.0
_LEAST_PROBABILITY = 0.25


class GraphParameters(nn.Module, ABC):
    """Abstract: a distribution over acyclic graphs of n variables; `adjacency[i, j]` means i → j."""

    allowed: Tensor

    def __init__(self, allowed: Tensor) -> None:
        """`allowed` bool (n, n): edges that samples may have, apart from cycles."""
        super().__init__()
        self.register_buffer("allowed", allowed.to(torch.bool), persistent=False)

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.allowed)

    @property
    @abstractmethod
    def n_draws(self) -> int:
        """How many uniform draws a sample takes."""

    @abstractmethod
    def sample(self, draws: Tensor) -> Tensor:
        """A hard acyclic adjacency (n, n) of zeros and ones from uniform draws (n_draws,), with relaxed gradients."""

    @abstractmethod
    def mean(self) -> Tensor:
        """Marginal probabilities (n, n) of edges in [0, 1], those that acyclicity takes from samples included."""

    @abstractmethod
    def likely(self) -> Tensor:
        """Edges (n, n), bool, that are more likely than not where the order permits them; they may form cycles.

        Their marginal probability is at least a quarter, because an order that no edge depends on stays undecided.
        """

    @abstractmethod
    def expected_edges(self) -> Tensor:
        """Sum () of the probabilities of edges, given that the order permits them: what a sparsity penalty weighs.

        It leaves out the order, which would otherwise move towards one that permits the edges already removed.
        """

    def cyclicity(self) -> Tensor:
        """A penalty () ≥ 0 that is zero iff the mean is acyclic: tr (1 + M/n)ⁿ − n (Yu et al. 2019)."""
        step = torch.eye(self.n, dtype=self.mean().dtype, device=self.allowed.device) + self.mean() / self.n
        return torch.linalg.matrix_power(step, self.n).diagonal().sum() - self.n

    def decide(self) -> Graph:
        """The likely edges, the most probable first, each unless it closes a cycle with those before it."""
        mean = self.mean().detach().cpu().numpy()
        likely = self.likely().cpu().numpy()
        reaches = np.eye(self.n, dtype=np.bool_)
        adjacency = np.zeros_like(reaches)
        for index in np.argsort(-mean, axis=None, kind="stable"):
            cause, effect = divmod(int(index), self.n)
            if likely[cause, effect] and not reaches[effect, cause]:
                adjacency[cause, effect] = True
                reaches |= np.outer(reaches[:, cause], reaches[effect])
        return Graph(adjacency)


class _LearnedEdges(GraphParameters):
    """Abstract: independent edges with probability sigmoid(edge), where an order permits them."""

    def __init__(self, allowed: Tensor) -> None:
        super().__init__(allowed)
        self.edge = nn.Parameter(torch.full(allowed.shape, _START_LOGIT))

    def expected_edges(self) -> Tensor:
        return (torch.sigmoid(self.edge) * self.allowed).sum()

    def _sampled_edges(self, draws: Tensor) -> Tensor:
        """Zeros and ones (n, n) for draws (n²,): 1 with probability sigmoid(edge)."""
        return _straight_through(self.edge + _logistic(draws.view(self.n, self.n)))


@final
class EncoGraph(_LearnedEdges):
    """P(i → j) = sigmoid(edge_ij) sigmoid(orientation_ij − orientation_ji) (Lippe et al. 2022).

    A sample orients every pair of variables once. On a cycle, it leaves out the edges to a variable that precedes more
    others.
    """

    def __init__(self, n: int) -> None:
        super().__init__(_off_diagonal(n))
        self.orientation = nn.Parameter(torch.zeros(n, n))

    @property
    def n_draws(self) -> int:
        return 2 * self.n**2

    def _orientation(self) -> Tensor:
        """Logits (n, n), antisymmetric: positive where i more likely precedes j."""
        return self.orientation - self.orientation.T

    def sample(self, draws: Tensor) -> Tensor:
        of_edges, of_order = draws.view(2, self.n, self.n)
        # one draw for each pair of variables, or both directions could be sampled
        noise = _logistic(of_order).triu(1)
        logits = self._orientation() + noise - noise.T
        precedes = _straight_through(logits) * self.allowed
        order = _precedence(precedes.detach().sum(1) + _tie_break(logits))
        return self._sampled_edges(of_edges) * precedes * order

    def mean(self) -> Tensor:
        return torch.sigmoid(self.edge) * torch.sigmoid(self._orientation()) * self.allowed

    def likely(self) -> Tensor:
        return (self.edge > 0) & (self.mean() > _LEAST_PROBABILITY)


@final
class PermutationGraph(_LearnedEdges):
    """Edges under a random order: variables sorted by score + Gumbel noise (Gumbel-top-k; Kool et al. 2019).

    i precedes j with probability sigmoid(score_i − score_j). A sample is acyclic by construction. Its straight-through
    gradient is that of the pairwise relaxation.
    """

    def __init__(self, n: int) -> None:
        super().__init__(_off_diagonal(n))
        self.score = nn.Parameter(torch.zeros(n))

    @property
    def n_draws(self) -> int:
        return self.n**2 + self.n

    def sample(self, draws: Tensor) -> Tensor:
        of_edges, of_order = draws.split([self.n**2, self.n])
        score = self.score - torch.log(-torch.log(_inside(of_order)))
        precedes = _straight_through(score.unsqueeze(1) - score)
        return self._sampled_edges(of_edges) * precedes * self.allowed

    def mean(self) -> Tensor:
        return torch.sigmoid(self.edge) * torch.sigmoid(self.score.unsqueeze(1) - self.score) * self.allowed

    def cyclicity(self) -> Tensor:
        return self.score.new_zeros(())

    def likely(self) -> Tensor:
        return (self.edge > 0) & (self.mean() > _LEAST_PROBABILITY)


@final
class OrderedGraph(_LearnedEdges):
    """Edges from lower to higher variables only: the order 0, …, n − 1 is known."""

    def __init__(self, n: int) -> None:
        super().__init__(torch.ones(n, n).triu(1))

    @property
    def n_draws(self) -> int:
        return self.n**2

    def sample(self, draws: Tensor) -> Tensor:
        return self._sampled_edges(draws) * self.allowed

    def mean(self) -> Tensor:
        return torch.sigmoid(self.edge) * self.allowed

    def likely(self) -> Tensor:
        return (self.edge > 0) & self.allowed


@final
class FixedGraph(GraphParameters):
    """A known graph, which every sample equals."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(torch.from_numpy(graph.adjacency.copy()))

    @property
    def n_draws(self) -> int:
        return 0

    def sample(self, draws: Tensor) -> Tensor:
        return self.mean()

    def mean(self) -> Tensor:
        return self.allowed.to(torch.get_default_dtype())

    def expected_edges(self) -> Tensor:
        return self.mean().sum()

    def likely(self) -> Tensor:
        return self.allowed


def build_graph_parameters(kind: str, n: int, graph: Graph | None = None) -> GraphParameters:
    """The graph parameters of a kind: enco, gumbel-top-k, order or fixed, the last with a graph.

    Raises:
        ValueError: an unknown kind, a graph of another size, or a graph that is missing or of no use.
    """
    if (graph is None) == (kind == "fixed"):
        raise ValueError(f"graph: Expected a graph where, and only where, it is fixed; got {graph} for {kind}.")
    if graph is not None:
        if graph.n != n:
            raise ValueError(f"graph: Expected a graph of {n} variables; got {graph.n}.")
        return FixedGraph(graph)
    kinds: dict[str, Callable[[int], GraphParameters]] = {
        "enco": EncoGraph,
        "gumbel-top-k": PermutationGraph,
        "order": OrderedGraph,
    }
    if kind not in kinds:
        raise ValueError(f"graph: Expected enco, gumbel-top-k, order or fixed; got {kind!r}.")
    return kinds[kind](n)


def topological_order(adjacency: Tensor) -> Tensor:
    """Variables (n,), causes first, of an acyclic adjacency (n, n) of zeros and ones, without control flow on values.

    A variable has more ancestors than any of its ancestors, so the number of ancestors sorts the variables.
    """
    n = len(adjacency)
    reaches = torch.eye(n, dtype=adjacency.dtype, device=adjacency.device) + adjacency.detach()
    for _ in range(max(1, (n - 1).bit_length())):
        reaches = (reaches @ reaches).clamp_max(1.0)
    return torch.argsort(reaches.sum(0), stable=True)


def _logistic(draws: Tensor) -> Tensor:
    """Standard logistic noise from uniform draws."""
    return torch.logit(_inside(draws))


def _straight_through(logits: Tensor) -> Tensor:
    """1 where a logit is positive, else 0, with the gradient of sigmoid(logit)."""
    soft = torch.sigmoid(logits)
    return (logits > 0).to(soft.dtype) + (soft - soft.detach())


def _inside(draws: Tensor) -> Tensor:
    return draws.clamp(_LEAST_UNIFORM, 1.0 - _LEAST_UNIFORM)


def _off_diagonal(n: int) -> Tensor:
    return ~torch.eye(n, dtype=torch.bool)


def _tie_break(logits: Tensor) -> Tensor:
    """Numbers (n,) in (−1, 1) / 2 that separate variables with equally many wins, whatever their numbering."""
    return torch.nn.functional.softsign(logits.detach()).sum(1) / (2 * len(logits))


def _precedence(score: Tensor) -> Tensor:
    """[i, j] is 1 where i has the higher score (n,), else 0: (n, n), acyclic."""
    return (score.unsqueeze(1) > score).to(score.dtype)
