"""The mechanisms of the circuit: an arm that presses buttons, and lights that drive each other, all in (0, 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn import functional

from lcm.model.elementwise import UnitIntervalMap
from lcm.model.graph import Graph
from lcm.model.mechanism.base import Mechanism, MechanismConfig, Prescribed
from lcm.model.noise import Noise, NormalNoise, PushforwardNoise

_RED, _GREEN, _BLUE, _ARM = range(4)
_PRESS_WIDTH = 0.1
_OFF = (-1.2, -0.9, -0.9, 0.0)
_PRESSED = 2.6
_LIT = 2.0
_SCALES = (0.8, 0.9, 0.9, 1.5)
_IMPOSED_SLOPE = 1.5


@final
class CircuitMechanism(Mechanism):
    """z_i = sigmoid(m_i(z_pa) + s_i ε_i) for the red, green and blue light and the arm: nonlinear, not normal.

    m_i of a light rises where the arm is over its button, smoothly, and that of red with green and blue too. The graph
    is that of CausalCircuit (Brehmer et al. 2022): arm → red, green, blue and green, blue → red.
    """

    kind = "circuit"
    in_unit_interval = True
    EDGES: ClassVar[tuple[tuple[int, int], ...]] = (
        (_ARM, _RED), (_ARM, _GREEN), (_ARM, _BLUE), (_GREEN, _RED), (_BLUE, _RED),
    )  # fmt: skip
    BUTTONS: ClassVar[tuple[float, float, float]] = (0.2, 0.5, 0.8)
    off: Tensor
    scale: Tensor
    buttons: Tensor

    def __init__(self) -> None:
        adjacency = torch.zeros(4, 4, dtype=torch.bool)
        adjacency[tuple(torch.tensor(self.EDGES).T)] = True
        super().__init__(adjacency)
        self.register_buffer("off", torch.tensor(_OFF))
        self.register_buffer("scale", torch.tensor(_SCALES))
        self.register_buffer("buttons", torch.tensor(self.BUTTONS))

    def settings(self) -> dict[str, Any]:
        return {}

    def forward(self, noise: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, scale = self._location(z, variables), self.scale if variables is None else self.scale[variables]
        value = location + scale * noise
        return torch.sigmoid(value), scale.log() + functional.logsigmoid(value) + functional.logsigmoid(-value)

    def inverse(self, value: Tensor, z: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        location, scale = self._location(z, variables), self.scale if variables is None else self.scale[variables]
        inside = value.clamp(torch.finfo(value.dtype).eps, 1.0 - torch.finfo(value.dtype).eps)
        return (torch.logit(inside) - location) / scale, -scale.log() - inside.log() - torch.log1p(-inside)

    def _location(self, z: Tensor, variables: Tensor | None) -> Tensor:
        """m_i (N, k) of the variables; only parents are read."""
        pressed = torch.exp(-((z[:, _ARM:] - self.buttons) / _PRESS_WIDTH).square())
        location = self.off + _PRESSED * functional.pad(pressed, (0, 1))
        lit = _LIT * (z[:, _GREEN] + z[:, _BLUE])
        location = location + functional.pad(lit.unsqueeze(1), (0, 3))
        return location if variables is None else location[:, variables]


@final
@dataclass(frozen=True, kw_only=True)
class CircuitMechanismConfig(MechanismConfig):
    """The circuit, which has no settings; imposed values lie in (0, 1) too, spread evenly over nearly all of it."""

    kind: Literal["circuit"] = "circuit"

    def draw(self, graph: Graph, noise: Noise, generator: torch.Generator) -> CircuitMechanism:
        return CircuitMechanism()

    def prescribed(self) -> Prescribed:
        n = len(_SCALES)
        imposed = PushforwardNoise(NormalNoise(n), UnitIntervalMap(n, _IMPOSED_SLOPE))
        return Prescribed(Graph.from_edges(n, CircuitMechanism.EDGES), imposed)
