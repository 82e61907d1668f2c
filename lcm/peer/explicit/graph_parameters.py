"""Graphs that are learned by gradients: distributions over acyclic adjacencies (n, n), sampled from uniform draws.

Every sample is hard and acyclic, so that likelihoods and solutions under it are exact; its gradient is that of the
relaxed sample (straight-through; Jang et al. 2017). Parameters that all variables share are enough for a whole batch.
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

    def __init__(self, allowed: Tensor, temperature: float = 1.0) -> None:
        """`allowed` bool (n, n): edges that samples may have, apart from cycles; `temperature` of the relaxation.

        Raises:
            ValueError: a temperature that is not positive.
        """
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"Expected a positive temperature; got {temperature}.")
        self.temperature = temperature
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
        """Edges (n, n), bool, that are more likely than not where the order permits them; perhaps cyclic.

        All in all they have a probability of a quarter at least: an order that no edge depends on is left open.
        """

    @abstractmethod
    def expected_edges(self) -> Tensor:
        """Sum () of the probabilities of edges wherever the order permits them: what a sparsity penalty weighs.

        The order has no part in it: it would be drawn towards one that permits the edges that are gone already.
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
    """Abstract: independent edges of probability sigmoid(edge), as far as an order permits them."""

    def __init__(self, allowed: Tensor, temperature: float = 1.0) -> None:
        super().__init__(allowed, temperature)
        self.edge = nn.Parameter(torch.full(allowed.shape, _START_LOGIT))

    def expected_edges(self) -> Tensor:
        return (torch.sigmoid(self.edge) * self.allowed).sum()

    def _sampled_edges(self, draws: Tensor) -> Tensor:
        """Zeros and ones (n, n) for draws (n²,): 1 with probability sigmoid(edge)."""
        return straight_through(self.edge + logistic(draws.view(self.n, self.n)), self.temperature)


@final
class EncoGraph(_LearnedEdges):
    """P(i → j) = sigmoid(edge_ij) sigmoid(orientation_ij − orientation_ji) (Lippe et al. 2022).

    A sample orients every pair of variables once; of edges on cycles, those to a variable that precedes more others are
    left out.
    """

    def __init__(self, n: int, temperature: float = 1.0) -> None:
        super().__init__(_off_diagonal(n), temperature)
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
        noise = logistic(of_order).triu(1)
        logits = self._orientation() + noise - noise.T
        precedes = straight_through(logits, self.temperature) * self.allowed
        order = _precedence(precedes.detach().sum(1) + _tie_break(logits))
        return self._sampled_edges(of_edges) * precedes * order

    def mean(self) -> Tensor:
        return torch.sigmoid(self.edge) * torch.sigmoid(self._orientation()) * self.allowed

    def likely(self) -> Tensor:
        return (self.edge > 0) & (self.mean() > _LEAST_PROBABILITY)


@final
class PermutationGraph(_LearnedEdges):
    """Edges under a random order: variables sorted by score + Gumbel noise (Gumbel-top-k; Kool et al. 2019).

    i precedes j with probability sigmoid(score_i − score_j). All that is needed of the permutation is who precedes
    whom, an (n, n) matrix; its straight-through gradient is that of the pairwise relaxation. Acyclic by construction.
    """

    def __init__(self, n: int, temperature: float = 1.0) -> None:
        super().__init__(_off_diagonal(n), temperature)
        self.score = nn.Parameter(torch.zeros(n))

    @property
    def n_draws(self) -> int:
        return self.n**2 + self.n

    def sample(self, draws: Tensor) -> Tensor:
        of_edges, of_order = draws.split([self.n**2, self.n])
        score = self.score - torch.log(-torch.log(_inside(of_order)))
        precedes = straight_through(score.unsqueeze(1) - score, self.temperature)
        return self._sampled_edges(of_edges) * precedes * self.allowed

    def mean(self) -> Tensor:
        return torch.sigmoid(self.edge) * torch.sigmoid(self.score.unsqueeze(1) - self.score) * self.allowed

    def cyclicity(self) -> Tensor:
        return self.score.new_zeros(())

    def likely(self) -> Tensor:
        return (self.edge > 0) & (self.mean() > _LEAST_PROBABILITY)


@final
class OrderedGraph(_LearnedEdges):
    """Edges from lower to higher variables alone: the order 0, …, n − 1 is known."""

    def __init__(self, n: int, temperature: float = 1.0) -> None:
        super().__init__(torch.ones(n, n).triu(1), temperature)

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
    """A known graph: every sample is it."""

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


def build_graph_parameters(kind: str, n: int, graph: Graph | None = None, temperature: float = 1.0) -> GraphParameters:
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
    kinds: dict[str, Callable[[int, float], GraphParameters]] = {
        "enco": EncoGraph,
        "gumbel-top-k": PermutationGraph,
        "order": OrderedGraph,
    }
    if kind not in kinds:
        raise ValueError(f"graph: Expected enco, gumbel-top-k, order or fixed; got {kind!r}.")
    return kinds[kind](n, temperature)


def topological_order(adjacency: Tensor) -> Tensor:
    """Variables (n,), causes first, of an acyclic adjacency (n, n) of zeros and ones, without control flow on values.

    A variable has more ancestors than any of its ancestors, so that their number sorts the variables.
    """
    n = len(adjacency)
    reaches = torch.eye(n, dtype=adjacency.dtype, device=adjacency.device) + adjacency.detach()
    for _ in range(max(1, (n - 1).bit_length())):
        reaches = (reaches @ reaches).clamp_max(1.0)
    return torch.argsort(reaches.sum(0), stable=True)


def logistic(draws: Tensor) -> Tensor:
    """Standard logistic noise from uniform draws."""
    return torch.logit(_inside(draws))


def straight_through(logits: Tensor, temperature: float) -> Tensor:
    """1 where a logit is positive, else 0, with the gradient of sigmoid(logit / temperature)."""
    soft = torch.sigmoid(logits / temperature)
    return (logits > 0).to(soft.dtype) + (soft - soft.detach())


def _inside(draws: Tensor) -> Tensor:
    return draws.clamp(_LEAST_UNIFORM, 1.0 - _LEAST_UNIFORM)


def _off_diagonal(n: int) -> Tensor:
    return ~torch.eye(n, dtype=torch.bool)


def _tie_break(logits: Tensor) -> Tensor:
    """Numbers (n,) in (−1, 1) / 2 that part variables of equally many wins, whatever they are called."""
    return torch.nn.functional.softsign(logits.detach()).sum(1) / (2 * len(logits))


def _precedence(score: Tensor) -> Tensor:
    """[i, j] is 1 where i has the higher score (n,), else 0: (n, n), acyclic."""
    return (score.unsqueeze(1) > score).to(score.dtype)
