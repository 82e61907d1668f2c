"""Adam in torch's fused kernel, without torch.optim, whose import costs 75 MB and most of a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

_BETAS = (0.9, 0.99)
_EPSILON = 1e-8


@final
class Adam:
    """Groups of parameters with a step size each; equal to `torch.optim.Adam(fused=True)` to the last digit."""

    def __init__(self, groups: Sequence[Sequence[Tensor]]) -> None:
        self._groups = [list(group) for group in groups]
        self._index = {parameter: i for i, parameter in enumerate(p for group in self._groups for p in group)}
        self._state: dict[int, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self._index:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rates: Sequence[float]) -> None:
        """Move every parameter that has a gradient by the step size of its group, one for each."""
        for group, rate in zip(self._groups, rates, strict=True):
            moved = [(parameter, parameter.grad) for parameter in group if parameter.grad is not None]
            if moved:
                self._move(moved, rate)

    def _move(self, moved: list[tuple[Tensor, Tensor]], rate: float) -> None:
        state = [self._slots(parameter) for parameter, _ in moved]
        first, second, steps = ([slots[name] for slots in state] for name in ("exp_avg", "exp_avg_sq", "step"))
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            [parameter for parameter, _ in moved],
            [gradient for _, gradient in moved],
            first,
            second,
            [],
            steps,
            lr=rate,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=0.0,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def _slots(self, parameter: Tensor) -> dict[str, Tensor]:
        index = self._index[parameter]
        if index not in self._state:
            self._state[index] = _initial(parameter)
        return self._state[index]

    def state(self) -> dict[int, dict[str, Tensor]]:
        """The moments and step counts of every parameter that has moved, by its place in the groups."""
        return self._state

    def load_state(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Continue from what `state` gave."""
        devices = [parameter.device for parameter in self._index]
        self._state = {i: {k: v.clone().to(devices[i]) for k, v in slots.items()} for i, slots in state.items()}


def _initial(parameter: Tensor) -> dict[str, Tensor]:
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
    }
