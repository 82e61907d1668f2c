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
