"""Steps for the parameter groups of a stack: Adam, and for matrices Adam in the eigenbases of their gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from lcm.learn.training.stack import Stack

_BETAS = (0.9, 0.99)
_EPSILON = 1e-8
_ROUNDING = 1e-5
_MEMORY_OF_FACTORS = 0.95
_STEPS_PER_BASIS = 25


@final
class Optimiser:
    """Steps of all groups of a stack, with a step size each."""

    def __init__(self, stack: Stack, state: Mapping[str, Tensor] | None = None, step: int = 0) -> None:
        """Start anew, or continue from the tensors (K, ...) that `state` gave after so many steps."""
        self._groups: list[_GroupSteps] = []
        for index, (parameters, gradients, shapes) in enumerate(
            zip(stack.parameters, stack.gradients, stack.matrices, strict=True)
        ):
            group = _InEigenbases(parameters, gradients, shapes) if shapes else Adam(parameters, gradients)
            for name, value in group.tensors.items():
                if state is not None:
                    value.copy_(state[f"{index}.{name}"])
            self._groups.append(group)
        self._step = step

    @torch.no_grad()
    def step(self, rates: Sequence[float]) -> None:
        """Move every group by its step size against its gradient."""
        self._step += 1
        for group, rate in zip(self._groups, rates, strict=True):
            group.step(rate, self._step)

    def state(self) -> dict[str, Tensor]:
        """All tensors that steps depend on besides parameters and gradients, (K, ...) each."""
        return {
            f"{index}.{name}": value
            for index, group in enumerate(self._groups)
            for name, value in group.tensors.items()
        }


class _GroupSteps(ABC):
    """Abstract: the steps of one group. Its `tensors` (K, ...) carry over from step to step."""

    tensors: dict[str, Tensor]

    @abstractmethod
    def step(self, rate: float, number: int) -> None:
        """Move the parameters by a step size against their gradients; `number` counts from 1."""


@final
class Adam(_GroupSteps):
    """Equal to `torch.optim.Adam(fused=True)` to the last digit."""

    def __init__(self, parameters: Tensor, gradients: Tensor) -> None:
        self._parameters, self._gradients = parameters, gradients
        self.tensors = {name: torch.zeros_like(parameters) for name in ("exp_avg", "exp_avg_sq")}

    def step(self, rate: float, number: int) -> None:
        torch._fused_adam_(
            [self._parameters],
            [self._gradients],
            [self.tensors["exp_avg"]],
            [self.tensors["exp_avg_sq"]],
            [],
            [torch.tensor(float(number), dtype=torch.float32, device=self._parameters.device)],
            lr=rate,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=0.0,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )


@final
class _InEigenbases(_GroupSteps):
    """Adam in the eigenbases of E[G Gᵀ] and E[Gᵀ G] of the gradients G of every matrix.

    Source: Vyas et al. 2024, "SOAP: Improving and stabilizing Shampoo using Adam". The bases follow the means by one
    step of orthogonal iteration every 25 steps. A single gradient would leave most of a basis to rounding.
    """

    def __init__(self, parameters: Tensor, gradients: Tensor, shapes: Sequence[torch.Size]) -> None:
        """Parameters and gradients (K, P), which are stacks of matrices (L, R, C) of these shapes."""
        self._parts = list(zip(_views(parameters, shapes), _views(gradients, shapes), strict=True))
        self.tensors = {}
        for index, (matrices, _) in enumerate(self._parts):
            for side, size in (("left", matrices.shape[2]), ("right", matrices.shape[3])):
                identity = torch.eye(size, dtype=matrices.dtype, device=matrices.device)
                identity = identity.expand(*matrices.shape[:2], -1, -1)
                self.tensors[f"{index}.{side}_basis"] = identity.clone()
                self.tensors[f"{index}.{side}_factor"] = torch.zeros_like(identity)
            for moment in ("exp_avg", "exp_avg_sq"):
                self.tensors[f"{index}.{moment}"] = torch.zeros_like(matrices)

    def step(self, rate: float, number: int) -> None:
        for index, (matrices, gradients) in enumerate(self._parts):
            self._step(index, matrices, gradients, rate, number)

    def _step(self, index: int, matrices: Tensor, gradients: Tensor, rate: float, number: int) -> None:
        tensors = self.tensors
        mean, square = tensors[f"{index}.exp_avg"], tensors[f"{index}.exp_avg_sq"]
        for side, product in (("left", gradients @ gradients.mT), ("right", gradients.mT @ gradients)):
            factor, basis = tensors[f"{index}.{side}_factor"], tensors[f"{index}.{side}_basis"]
            factor.lerp_(product, 1.0 - _MEMORY_OF_FACTORS)
            if number % _STEPS_PER_BASIS == 0:
                basis.copy_(torch.linalg.qr(factor @ basis)[0])
        left, right = tensors[f"{index}.left_basis"], tensors[f"{index}.right_basis"]
        mean.lerp_(gradients, 1.0 - _BETAS[0])
        square.lerp_((left.mT @ gradients @ right).square(), 1.0 - _BETAS[1])
        slope = (left.mT @ mean @ right) / (1.0 - _BETAS[0] ** number)
        size = (square / (1.0 - _BETAS[1] ** number)).sqrt()
        # where a gradient is zero but for rounding, as that of a masked weight, its step is to be small
        size = size + (_EPSILON + _ROUNDING * size.amax((2, 3), keepdim=True))
        matrices.sub_(left @ (slope / size) @ right.mT, alpha=rate)


def _views(joined: Tensor, shapes: Sequence[torch.Size]) -> Iterator[Tensor]:
    """The parts of joined tensors (K, P), (K, L, R, C) each."""
    for part, shape in zip(joined.split([shape.numel() for shape in shapes], 1), shapes, strict=True):
        yield part.view(len(joined), *shape)
