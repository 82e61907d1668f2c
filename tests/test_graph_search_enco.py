"""ENCO of our own: its decision, its conditionals, its gradients, and that an interruption leaves no trace."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from fitted_variables import CHAIN, SHORT, any_variables, chain_variables
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import default_dtype, generator
from test_training_loop import Memory

from lcm.learn.training.loop import optimise
from lcm.learn.training.objective import Schedule
from lcm.model.graph import Graph
from lcm.peer.search.config import EncoConfig
from lcm.peer.search.enco import EncoObjective, Intervened, MaskedConditionals, decide, differences, turned_over
from lcm.peer.search.variables import FittedVariables

FEW = replace(SHORT.enco, steps=40, warm_up=0.25)


def objective(config: EncoConfig = FEW) -> EncoObjective:
    return EncoObjective(chain_variables(), config, generator())


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 7), seed=st.integers(0, 10**6), scale=st.sampled_from([0.0, 1.0, 100.0]))
def test_the_decision_is_acyclic_and_takes_probable_edges_alone(n: int, seed: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    edge, orientation = scale * random.normal(size=(2, n, n))
    antisymmetric = orientation - orientation.T
    graph = decide(edge, antisymmetric)
    assert not (graph.adjacency & ~((edge > 0) & (antisymmetric > 0))).any()
    order = np.argsort(random.random(n))
    along = order[:, None] - order[None, :]
    kept = decide(edge, along.astype(float))
    np.testing.assert_array_equal(kept.adjacency, (edge > 0) & (along > 0))


def test_conditionals_start_as_linear_regressions() -> None:
    with default_dtype(torch.float64):
        z = chain_variables().z.double()
        z = (z - z.mean(0)) / z.std(0)
        conditionals = MaskedConditionals(z.T @ z / len(z), 4, generator())
        graph = torch.tensor(Graph.from_edges(3, CHAIN).adjacency, dtype=z.dtype)
        found = conditionals.log_density(z.unsqueeze(0), graph.unsqueeze(0))[0]
        slope = (z[:, 2] @ z[:, 0]) / (z[:, 2] @ z[:, 2])
        residual = z[:, 0] - slope * z[:, 2]
        expected = torch.distributions.Normal(0.0, residual.std()).log_prob(residual)
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_conditionals_of_many_graphs_are_those_of_each_and_ignore_others_than_parents() -> None:
    n, rows = 4, 5
    covariance = torch.eye(n) * 0.7 + 0.3
    conditionals = MaskedConditionals(covariance, 6, generator())
    with torch.no_grad():
        conditionals.last.normal_(generator=generator(1))
    graphs = (torch.rand(3, n, n, generator=generator(2)) < 0.5).float() * (1.0 - torch.eye(n))
    z = torch.randn(3, rows, n, generator=generator(3))
    joint = conditionals.log_density(z, graphs)
    each = [conditionals.log_density(z[[k]], graphs[[k]])[0] for k in range(3)]
    torch.testing.assert_close(joint, torch.stack(each))
    for k, j, i in itertools.product(range(3), range(n), range(n)):
        moved = z.clone()
        moved[k, :, j] += 1.0
        changed = not torch.allclose(conditionals.log_density(moved, graphs)[k, :, i], joint[k, :, i], atol=1e-6)
        assert changed == (bool(graphs[k, j, i]) or i == j)


def test_every_edge_is_turned_over_once() -> None:
    bases = (torch.rand(2, 4, 4, generator=generator()) < 0.5).float() * (1.0 - torch.eye(4))
    graphs = turned_over(bases)
    torch.testing.assert_close(graphs[:, 0], bases)
    for i in range(4):
        changed = graphs[:, i + 1] != bases
        assert torch.equal(changed.nonzero()[:, 1].unique(), torch.tensor([i]))
        assert changed.sum() == 2 * 3


def test_differences_are_of_losses_with_and_without_each_edge() -> None:
    bases = (torch.rand(5, 3, 3, generator=generator()) < 0.5).float() * (1.0 - torch.eye(3))
    weight = torch.randn(3, 3, 3, generator=generator(1))
    # the loss [t, j] of a graph is linear in its edges i → j
    losses = torch.einsum("tij,sgij->sgtj", weight, turned_over(bases)) + 3.0
    expected = weight * (1.0 - torch.eye(3))
    torch.testing.assert_close(differences(losses, bases), expected, rtol=1e-4, atol=1e-5)


def test_a_step_favours_true_edges_and_their_direction() -> None:
    own = objective(replace(FEW, graphs=64, batch_size=1024))
    rows = own.batch(torch.arange(1024))
    bases = (torch.rand(16, 3, 3, generator=generator(1)) < 0.4).float() * (1.0 - torch.eye(3))
    own._update(Intervened(*rows[1:4]), bases, 1.0)
    for cause, effect in CHAIN:
        assert own.edge[cause, effect] > 0
        assert own.orientation[cause, effect] > 0
    torch.testing.assert_close(own.orientation, -own.orientation.T)
    assert own.edge[1, 2] < 0


def test_batches_hold_rows_with_their_target() -> None:
    own = objective()
    z, z_tilde, target, stays, draws = own.batch(torch.arange(100))
    assert z.shape == z_tilde.shape == stays.shape == (100, 3)
    assert torch.equal(target, torch.arange(100) % 3)
    assert not stays[torch.arange(100), target].any()
    assert draws.numel() >= own.config.graphs * 9


def test_variables_that_are_never_targets_count_for_nothing() -> None:
    variables = any_variables(2, 0)
    never = FittedVariables(
        variables.z, variables.z_tilde, variables.noise, variables.noise_tilde, torch.zeros_like(variables.z)
    )
    own = EncoObjective(never, FEW, generator())
    assert not own.batch(torch.arange(32))[3].any()


@pytest.mark.parametrize("event", [("record", 20), ("save", 10), ("save", 40)], ids=str)
def test_an_interrupted_search_ends_as_one_that_was_not(event: tuple[str, int]) -> None:
    schedule = Schedule(40, FEW.batch_size, 10, patience=20)
    whole, broken, resumed = objective(), objective(), objective()
    memory = Memory(fail=event)
    optimise(whole, schedule, whole._generator, Memory())
    with pytest.raises(KeyboardInterrupt):
        optimise(broken, schedule, broken._generator, memory)
    resumed._generator.manual_seed(99)
    optimise(resumed, schedule, resumed._generator, Memory(memory.saved))
    state = resumed.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())
    assert whole.updates > 0
