"""The optimiser is torch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lcm.learn.training.stack import Adam

RATES = (1e-2, 3e-3)


def network() -> tuple[nn.Sequential, list[list[nn.Parameter]]]:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    return layers, [list(layers[0].parameters()), list(layers[2].parameters())]


def descend(layers: nn.Sequential, x: torch.Tensor) -> None:
    layers(x).square().mean().backward()


@pytest.mark.parametrize("frozen", [False, True])
def test_steps_equal_those_of_torch_to_the_last_digit(frozen: bool) -> None:
    layers, groups = network()
    theirs = copy.deepcopy(layers)
    for one in (layers, theirs):
        one[0].bias.requires_grad_(not frozen)
    ours = Adam(groups)
    parts = [{"params": list(theirs[k].parameters()), "lr": rate} for k, rate in zip((0, 2), RATES, strict=True)]
    reference = torch.optim.Adam(parts, betas=(0.9, 0.99), fused=True)
    for _ in range(20):
        x = torch.randn(16, 3)
        for model, optimiser in ((layers, ours), (theirs, reference)):
            optimiser.zero_grad()  # type: ignore[attr-defined]
            descend(model, x)
        ours.step(RATES)
        reference.step()
    for mine, other in zip(layers.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_state_that_is_loaded_continues_exactly() -> None:
    layers, groups = network()
    first = Adam(groups)
    batches = torch.randn(6, 16, 3)
    for x in batches[:3]:
        first.zero_grad()
        descend(layers, x)
        first.step(RATES)
    other = copy.deepcopy(layers)
    second = Adam([list(other[0].parameters()), list(other[2].parameters())])
    second.load_state(first.state())
    for x in batches[3:]:
        for model, optimiser in ((layers, first), (other, second)):
            optimiser.zero_grad()
            descend(model, x)
            optimiser.step(RATES)
    for mine, theirs in zip(layers.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
