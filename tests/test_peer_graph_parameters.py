"""Laws of learned graphs: samples and decisions are acyclic, follow the probabilities, and have gradients."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.func import functional_call, vmap

from lcm.data.nature.graphs import erdos_renyi
from lcm.model.graph import Graph
from lcm.peer.explicit import ExplicitConfig
from lcm.peer.explicit.fit import _graph_penalty
from lcm.peer.explicit.graph_parameters import (
    EncoGraph,
    FixedGraph,
    GraphParameters,
    OrderedGraph,
    PermutationGraph,
    _logistic,
    _straight_through,
    build_graph_parameters,
    topological_order,
)

KINDS: dict[str, Callable[[int], GraphParameters]] = {
    "enco": EncoGraph,
    "gumbel-top-k": PermutationGraph,
    "order": OrderedGraph,
    "fixed": lambda n: FixedGraph(erdos_renyi(n, np.random.default_rng(n), edge_probability=0.5)),
}
LEARNED = ("enco", "gumbel-top-k", "order")
UNORDERED = ("enco", "gumbel-top-k")

sizes = st.integers(1, 6)
seeds = st.integers(0, 10_000)
scales = st.sampled_from([0.0, 0.3, 3.0, 30.0])


def drawn(kind: str, n: int, seed: int, scale: float = 2.0) -> GraphParameters:
    """Parameters of a kind, normal of a scale."""
    graph = KINDS[kind](n)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in graph.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return graph


def uniform(graph: GraphParameters, seed: int) -> Tensor:
    return torch.rand(graph.n_draws, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(n=sizes, seed=seeds, scale=scales)
def test_samples_are_hard_and_acyclic_and_decisions_are_graphs(kind: str, n: int, seed: int, scale: float) -> None:
    graph = drawn(kind, n, seed, scale)
    sample = graph.sample(uniform(graph, seed)).detach()
    # the constructor refuses cycles and entries other than 0 and 1
    assert Graph(sample.numpy()).n == n
    assert torch.equal(sample, graph.sample(uniform(graph, seed)))
    decided = torch.from_numpy(graph.decide().adjacency.copy())
    assert bool((decided <= graph.likely()).all()) and bool((decided <= graph.allowed).all())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(n=sizes, seed=seeds, scale=scales)
def test_means_are_probabilities_of_allowed_edges(kind: str, n: int, seed: int, scale: float) -> None:
    graph = drawn(kind, n, seed, scale)
    mean = graph.mean()
    assert bool(((mean >= 0) & (mean <= 1)).all())
    assert not bool(mean[~graph.allowed].any())
    assert graph.cyclicity().item() >= -1e-5
    assert graph.expected_edges().item() >= mean.sum().item() - 1e-5


@pytest.mark.parametrize("kind", ["gumbel-top-k", "order", "fixed"])
def test_samples_have_the_mean(kind: str) -> None:
    graph = drawn(kind, 4, 3)
    many = torch.rand(20_000, graph.n_draws, generator=torch.Generator().manual_seed(0))
    frequency = vmap(graph.sample)(many).mean(0)
    torch.testing.assert_close(frequency, graph.mean(), atol=0.02, rtol=0.0)


def test_samples_of_enco_have_at_most_the_mean_and_of_two_variables_the_mean() -> None:
    many = torch.rand(20_000, 2 * 4**2, generator=torch.Generator().manual_seed(0))
    graph = drawn("enco", 4, 3)
    assert bool((vmap(graph.sample)(many).mean(0) <= graph.mean() + 0.02).all())
    pair = drawn("enco", 2, 3)
    torch.testing.assert_close(vmap(pair.sample)(many[:, :8]).mean(0), pair.mean(), atol=0.02, rtol=0.0)


@pytest.mark.parametrize("kind", LEARNED)
def test_every_parameter_has_a_gradient(kind: str) -> None:
    graph = drawn(kind, 4, 1, scale=1.0)
    weights = torch.randn(4, 4, generator=torch.Generator().manual_seed(5))
    for seed in range(30):
        (graph.sample(uniform(graph, seed)) * weights).sum().backward()
    for parameter in graph.parameters():
        gradient = parameter.grad
        assert gradient is not None
        relevant = gradient[graph.allowed] if gradient.dim() == 2 else gradient
        assert bool((relevant != 0).all())


@pytest.mark.parametrize("kind", LEARNED)
def test_gradients_lead_to_the_edges_that_pay(kind: str) -> None:
    truth = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    graph = drawn(kind, 3, 2, scale=0.5)
    optimiser = torch.optim.Adam(graph.parameters(), 0.1)
    for seed in range(200):
        optimiser.zero_grad()
        (graph.sample(uniform(graph, seed)) - truth).square().sum().backward()
        optimiser.step()
    assert graph.decide() == Graph(truth.numpy())


@pytest.mark.parametrize("kind", UNORDERED)
@settings(max_examples=30, deadline=None)
@given(n=sizes, seed=seeds)
def test_relabelling_the_parameters_relabels_all_that_follows(kind: str, n: int, seed: int) -> None:
    graph, order = drawn(kind, n, seed), np.random.default_rng(seed).permutation(n)
    relabelled = KINDS[kind](n)
    with torch.no_grad():
        for parameter, original in zip(relabelled.parameters(), graph.parameters(), strict=True):
            parameter.copy_(original[order][:, order] if original.dim() == 2 else original[order])
    torch.testing.assert_close(relabelled.mean(), graph.mean()[order][:, order])
    torch.testing.assert_close(relabelled.expected_edges(), graph.expected_edges())
    torch.testing.assert_close(relabelled.cyclicity(), graph.cyclicity(), atol=1e-4, rtol=1e-4)
    assert relabelled.decide() == graph.decide().permuted(order)


def test_relabelling_draws_of_a_permutation_relabels_its_sample() -> None:
    graph, order = drawn("gumbel-top-k", 4, 0), [2, 0, 3, 1]
    relabelled = PermutationGraph(4)
    assert isinstance(graph, PermutationGraph)
    with torch.no_grad():
        relabelled.edge.copy_(graph.edge[order][:, order])
        relabelled.score.copy_(graph.score[order])
    of_edges, of_order = uniform(graph, 1).split([16, 4])
    draws = torch.cat([of_edges.view(4, 4)[order][:, order].flatten(), of_order[order]])
    expected = graph.sample(uniform(graph, 1))[order][:, order]
    assert torch.equal(relabelled.sample(draws), expected)


def test_cyclicity_counts_cycles_alone() -> None:
    graph = EncoGraph(3)
    with torch.no_grad():
        graph.edge.fill_(30.0)
        graph.orientation.copy_(torch.tensor([[0.0, 30.0, -30.0], [0.0, 0.0, 30.0], [0.0, 0.0, 0.0]]))
        cyclic = graph.cyclicity().item()
        graph.orientation[0, 2] = 30.0
    assert cyclic > 0.1
    assert graph.cyclicity().item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_cyclicity_of_one_cycle_is_that_of_its_only_closed_walk(n: int) -> None:
    graph, strength = FixedGraph(Graph(np.zeros((n, n), dtype=np.bool_))), 0.7
    mean = torch.zeros(n, n)
    mean[torch.arange(n), (torch.arange(n) + 1) % n] = strength
    graph.mean = lambda: mean  # type: ignore[method-assign]
    # tr (1 + M/n)^n counts the closed walks of length n, each of the n variables once: n (strength / n)^n
    assert float(graph.cyclicity()) == pytest.approx(n * (strength / n) ** n, rel=1e-3, abs=1e-7)


def test_the_weight_of_cycles_rises_with_the_square_of_progress() -> None:
    graph = EncoGraph(3)
    with torch.no_grad():
        graph.edge.fill_(30.0)
        graph.orientation.copy_(torch.tensor([[0.0, 30.0, -30.0], [0.0, 0.0, 30.0], [0.0, 0.0, 0.0]]))
    config = ExplicitConfig(sparsity=0.0)
    none, half, full = (float(_graph_penalty(graph, config, progress).detach()) for progress in (0.0, 0.5, 1.0))
    assert none == 0.0 and full > 0.1 and half == pytest.approx(0.25 * full)


def test_a_sample_of_a_cycle_leaves_an_edge_out() -> None:
    graph = EncoGraph(3)
    with torch.no_grad():
        graph.edge.fill_(30.0)
        graph.orientation.copy_(torch.tensor([[0.0, 30.0, -30.0], [0.0, 0.0, 30.0], [0.0, 0.0, 0.0]]))
    for seed in range(10):
        assert int(graph.sample(uniform(graph, seed)).sum().item()) in (1, 2)


@settings(max_examples=40, deadline=None)
@given(n=sizes, seed=seeds)
def test_topological_order_puts_causes_first(n: int, seed: int) -> None:
    graph = erdos_renyi(n, np.random.default_rng(seed), edge_probability=0.5)
    order = topological_order(torch.from_numpy(graph.adjacency.astype(np.float32)))
    assert sorted(order.tolist()) == list(range(n))
    place = order.argsort().tolist()
    assert all(place[cause] < place[effect] for cause, effect in graph.edges())


@pytest.mark.parametrize("kind", LEARNED)
def test_samples_of_several_parameters_are_one_batched_computation(kind: str) -> None:
    graphs = [drawn(kind, 4, seed) for seed in range(3)]
    draws = torch.stack([uniform(graphs[0], seed) for seed in range(3)])
    names = [name for name, _ in graphs[0].named_parameters()]
    stacked = {name: torch.stack([dict(graph.named_parameters())[name] for graph in graphs]) for name in names}

    class Sampled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.graph = graphs[0]

        def forward(self, uniform_draws: Tensor) -> tuple[Tensor, Tensor]:
            sample = self.graph.sample(uniform_draws)
            return sample, topological_order(sample) + 0 * self.graph.cyclicity().long()

    def one(parameters: dict[str, Tensor], uniform_draws: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = functional_call(
            Sampled(), {f"graph.{name}": value for name, value in parameters.items()}, (uniform_draws,)
        )
        return found

    together, orders = vmap(one)(stacked, draws)
    for graph, draw, sample, order in zip(graphs, draws, together, orders, strict=True):
        assert torch.equal(graph.sample(draw), sample)
        assert torch.equal(topological_order(sample), order)


def test_straight_through_is_hard_forward_and_soft_backward() -> None:
    logits = torch.tensor([-2.0, -0.1, 0.1, 7.0], requires_grad=True)
    hard = _straight_through(logits)
    assert hard.tolist() == [0.0, 0.0, 1.0, 1.0]
    hard.sum().backward()
    soft = torch.sigmoid(logits.detach())
    torch.testing.assert_close(logits.grad, soft * (1 - soft))


def test_draws_at_the_ends_stay_finite() -> None:
    assert bool(_logistic(torch.tensor([0.0, 1.0])).isfinite().all())
    graph = PermutationGraph(2)
    assert bool(graph.sample(torch.zeros(graph.n_draws)).isfinite().all())


def test_kinds_are_built_by_name() -> None:
    graph = Graph.from_edges(3, [(0, 1)])
    kinds = [type(build_graph_parameters(kind, 3)) for kind in LEARNED]
    assert kinds == [EncoGraph, PermutationGraph, OrderedGraph]
    assert build_graph_parameters("fixed", 3, graph).decide() == graph


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fixed", 3), r"graph: Expected a graph where, and only where, it is fixed; got None for fixed\."),
        (("enco", 2, Graph.from_edges(2, [])), r"only where, it is fixed; got Graph.from_edges\(2, \[\]\) for enco\."),
        (("fixed", 3, Graph.from_edges(2, [])), r"graph: Expected a graph of 3 variables; got 2\."),
        (("dagma", 3), r"graph: Expected enco, gumbel-top-k, order or fixed; got 'dagma'\."),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_graph_parameters(*arguments)  # type: ignore[arg-type]
