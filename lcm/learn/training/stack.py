"""Objectives of one structure as one batched computation: their tensors stacked along a leading axis of members."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lcm.learn.training.objective import Objective

_Named = Callable[[Objective], Iterable[tuple[str, Tensor]]]


@final
class Stack:
    """K objectives whose trained parameters, constants and floating-point buffers are rows of shared tensors.

    parameters, gradients: one (K, P) for each parameter group, all its parameters flattened and joined.
    matrices: the shapes (L, R, C) of the parameters of each group, if it is one of matrices.
    buffers: floating-point ones by name, (K, ...).

    The objectives' own tensors become views of these, so that each of them is always up to date. A stack of one
    evaluates its objective directly, at no cost; a larger one by `vmap` over `functional_call`.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = list(objectives)
        self.parameters: list[Tensor] = []
        self.gradients: list[Tensor] = []
        self.matrices = [
            [parameter.shape for parameter in group.parameters] if group.matrices else []
            for group in objectives[0].groups()
        ]
        self.learning_rates = [group.learning_rate for group in objectives[0].groups()]
        self._leaves: dict[str, Tensor] = {}
        self._names: list[list[str]] = []
        names = {id(parameter): name for name, parameter in objectives[0].named_parameters()}
        for groups in zip(*(objective.groups() for objective in objectives), strict=True):
            self._join([names[id(p)] for p in groups[0].parameters], [group.parameters for group in groups])
        # tensors equal in all, such as index tables, stay with the objectives and cost no batched indexing
        constants = {name: tensors for name, tensors in self._untrained() if not _all_equal(tensors)}
        self.buffers = {name: _joined(tensors) for name, tensors in self._floating_buffers()}
        self._batched = {name: _joined(tensors) for name, tensors in constants.items()} | self.buffers

    def _join(self, names: list[str], members: list[list[nn.Parameter]]) -> None:
        """Make the parameters of one group rows of a single tensor, and their gradients too."""
        rows = [torch.cat([parameter.detach().flatten() for parameter in member]) for member in members]
        joined = torch.stack(rows)
        gradient = torch.zeros_like(joined)
        self.parameters.append(joined)
        self.gradients.append(gradient)
        start = 0
        for name, *parameters in zip(names, *members, strict=True):
            end, shape = start + parameters[0].numel(), parameters[0].shape
            values = joined[:, start:end].view(len(rows), *shape)
            for parameter, value in zip(parameters, values, strict=True):
                parameter.data = value
            self._leaves[name] = values.requires_grad_()
            if len(parameters) == 1:
                parameters[0].grad = gradient[0, start:end].view(shape)
            start = end
        self._names.append(names)

    def _untrained(self) -> Iterator[tuple[str, list[Tensor]]]:
        """Tensors that no step changes: other parameters, and buffers of integers and flags."""
        for name, tensors in _by_name(self.objectives, lambda objective: objective.named_parameters()):
            if name not in self._leaves:
                yield name, tensors
        for name, tensors in _by_name(self.objectives, lambda objective: objective.named_buffers()):
            if not tensors[0].is_floating_point():
                yield name, tensors

    def _floating_buffers(self) -> Iterator[tuple[str, list[Tensor]]]:
        for name, tensors in _by_name(self.objectives, lambda objective: objective.named_buffers()):
            if tensors[0].is_floating_point():
                yield name, tensors

    def _loss(
        self, leaves: dict[str, Tensor], batched: dict[str, Tensor], batch: tuple[Tensor, ...], progress: float
    ) -> Tensor:
        loss: Tensor = functional_call(self.objectives[0], {**leaves, **batched}, (batch, progress))
        return loss

    def backward(self, batch: tuple[Tensor, ...], progress: float) -> Tensor:
        """Losses (K,) of a batch whose parts are (K, B, ...); their gradients go to `gradients`."""
        if len(self.objectives) == 1:
            for gradient in self.gradients:
                gradient.zero_()
            loss = self.objectives[0].loss(tuple(part[0] for part in batch), progress)
            loss.backward()
            return loss.detach().unsqueeze(0)
        # made each time: a stack that stored its own method would keep its objectives' data after the stage
        each = vmap(self._loss, in_dims=(0, 0, 0, None))
        losses: Tensor = each(self._leaves, self._batched, batch, progress)
        found = torch.autograd.grad(losses.sum(), list(self._leaves.values()), materialize_grads=True)
        slopes = dict(zip(self._leaves, found, strict=True))
        for names, gradient in zip(self._names, self.gradients, strict=True):
            torch.cat([slopes[name].flatten(1) for name in names], 1, out=gradient)
        return losses.detach()

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, (K, ...) each: parameters by group, and floating-point buffers."""
        groups = {f"group.{index}": joined for index, joined in enumerate(self.parameters)}
        return groups | {f"buffer.{name}": value for name, value in self.buffers.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Copy a state (K, ...) into the stack, and thereby into the objectives."""
        for name, value in self.state().items():
            value.copy_(state[name])

    def release(self) -> None:
        """Give every objective its own tensors again."""
        for objective in self.objectives:
            for tensor in (*objective.parameters(), *objective.buffers()):
                tensor.data = tensor.data.clone()
                tensor.grad = None


def structure(objective: Objective) -> Hashable:
    """What objectives must agree in to form a stack."""
    tensors = (*objective.named_parameters(), *objective.named_buffers())
    shapes = tuple((name, tensor.shape, tensor.dtype, tensor.device, tensor.requires_grad) for name, tensor in tensors)
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    groups = tuple(
        (*(names[id(p)] for p in group.parameters), group.learning_rate, group.matrices) for group in objective.groups()
    )
    return type(objective), objective.structure(), shapes, groups


def _by_name(objectives: Sequence[Objective], named: _Named) -> Iterator[tuple[str, list[Tensor]]]:
    for named_tensors in zip(*(named(objective) for objective in objectives), strict=True):
        yield named_tensors[0][0], [tensor for _, tensor in named_tensors]


def _all_equal(tensors: list[Tensor]) -> bool:
    return all(torch.equal(tensor, tensors[0]) for tensor in tensors[1:])


def _joined(tensors: list[Tensor]) -> Tensor:
    """The tensors stacked, each made a view of its row."""
    joined = torch.stack([tensor.detach() for tensor in tensors])
    for tensor, row in zip(tensors, joined, strict=True):
        tensor.data = row
    return joined
