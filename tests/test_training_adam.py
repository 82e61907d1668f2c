"""Steps of Adam over the groups of a stack: equal to torch's, and exact when they continue."""

from __future__ import annotations

from typing import Any

import torch
from test_training_loop import Quadratic
from torch import Tensor, nn

from lcm.learn.training.objective import ParameterGroup
from lcm.learn.training.optimiser import Optimiser
from lcm.learn.training.stack import Stack

RATES = (1e-2, 3e-3)


class Network(Quadratic):
    """Two layers, a group each."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.layers[k].parameters()), rate) for k, rate in zip((0, 2), RATES, strict=True)]

    def loss(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        loss: Tensor = self.layers(batch[0]).square().mean()
        return loss


def step(stack: Stack, optimiser: Optimiser, x: Tensor) -> None:
    stack.backward((x.unsqueeze(0),), 0.0)
    optimiser.step(RATES)


def test_steps_equal_those_of_torch_to_the_last_digit() -> None:
    torch.manual_seed(0)
    stack = Stack([Network()])
    ours, theirs = Optimiser(stack), [nn.Parameter(joined.detach().clone()) for joined in stack.parameters]
    parts: list[Any] = [{"params": [group], "lr": rate} for group, rate in zip(theirs, RATES, strict=True)]
    reference = torch.optim.Adam(parts, betas=(0.9, 0.99), fused=True)
    for x in torch.randn(20, 16, 3):
        step(stack, ours, x)
        for group, gradient in zip(theirs, stack.gradients, strict=True):
            group.grad = gradient.clone()
        reference.step()
        for mine, other in zip(stack.parameters, theirs, strict=True):
            assert torch.equal(mine, other)


def test_moments_that_are_given_continue_exactly() -> None:
    torch.manual_seed(0)
    network, batches = Network(), torch.randn(6, 16, 3)
    stack = Stack([network])
    first = Optimiser(stack)
    for x in batches[:3]:
        step(stack, first, x)
    other = Network()
    other.layers.load_state_dict(network.layers.state_dict())
    second_stack = Stack([other])
    second = Optimiser(second_stack, first.state(), 3)
    for x in batches[3:]:
        step(stack, first, x)
        step(second_stack, second, x)
    for mine, theirs in zip(network.layers.parameters(), other.layers.parameters(), strict=True):
        assert torch.equal(mine, theirs)


class Matrices(Quadratic):
    """Stacks of two matrices, whose gradients a test sets."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.stacks = nn.ParameterList([nn.Parameter(torch.zeros(2, rows, columns)) for _ in range(2)])

    def groups(self) -> list[ParameterGroup]:
        return [ParameterGroup(list(self.stacks), 0.1, matrices=True)]


def moved(objective: Matrices, gradients: Tensor) -> list[Tensor]:
    """The matrices (2, 2, R, C) after each step along gradients (T, 2, 2, R, C)."""
    stack = Stack([objective])
    optimiser, places = Optimiser(stack), []
    for gradient in gradients:
        stack.gradients[0].copy_(gradient.reshape(1, -1))
        optimiser.step([0.1])
        places.append(torch.stack(list(objective.stacks)).detach().clone())
    return places


def test_matrices_with_diagonal_gradients_move_as_by_adam() -> None:
    # E[G Gᵀ] and E[Gᵀ G] are then diagonal, and their eigenbases the axes
    sizes = 0.5 + torch.rand(80, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    gradients = torch.diag_embed(sizes)
    plain = nn.Parameter(torch.zeros(2, 2, 3, 3))
    reference = torch.optim.Adam([plain], 0.1, betas=(0.9, 0.99))
    places = moved(Matrices(3, 3), gradients)
    for gradient in gradients:
        plain.grad = gradient.clone()
        reference.step()
    torch.testing.assert_close(places[-1], plain.detach(), rtol=1e-3, atol=1e-4)


def test_bases_become_those_of_the_gradients() -> None:
    draw = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=draw))[0]
    gradients = turn @ (torch.tensor([8.0, 4.0, 2.0, 1.0])[:, None] * torch.randn(500, 2, 2, 4, 3, generator=draw))
    stack = Stack([Matrices(4, 3)])
    optimiser = Optimiser(stack)
    for gradient in gradients:
        stack.gradients[0].copy_(gradient.reshape(1, -1))
        optimiser.step([0.1])
    state = optimiser.state()
    for side, size in (("left", 4), ("right", 3)):
        basis = state[f"0.0.{side}_basis"]
        torch.testing.assert_close(basis.mT @ basis, torch.eye(size).expand(1, 2, -1, -1), atol=1e-5, rtol=0)
    # the means of 20 gradients differ, but their largest direction is clear
    assert bool(((turn.T @ state["0.0.left_basis"])[..., 0, 0].abs() > 0.95).all())


def test_a_gradient_that_is_rounding_alone_moves_nothing() -> None:
    gradients = torch.randn(60, 2, 2, 4, 3, generator=torch.Generator().manual_seed(2))
    gradients[..., 2, :] = 1e-9 * gradients[..., 2, :]
    places = moved(Matrices(4, 3), gradients)
    assert float(places[-1][..., 2, :].abs().max()) < 0.05 * float(places[-1].abs().max())


def test_matrices_continue_exactly_from_a_state() -> None:
    gradients = torch.randn(60, 2, 2, 4, 3, generator=torch.Generator().manual_seed(3))
    objective, other = Matrices(4, 3), Matrices(4, 3)
    stack = Stack([objective])
    first = Optimiser(stack)
    for gradient in gradients[:40]:
        stack.gradients[0].copy_(gradient.reshape(1, -1))
        first.step([0.1])
    other.load_state_dict(objective.state_dict())
    second_stack = Stack([other])
    second = Optimiser(second_stack, first.state(), 40)
    for gradient in gradients[40:]:
        for each, optimiser in ((stack, first), (second_stack, second)):
            each.gradients[0].copy_(gradient.reshape(1, -1))
            optimiser.step([0.1])
    for mine, theirs in zip(objective.stacks, other.stacks, strict=True):
        assert torch.equal(mine, theirs)
