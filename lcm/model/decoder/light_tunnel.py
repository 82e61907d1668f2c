"""A decoder whose observations are the nine sensors of the light tunnel of the Causal Chambers.

Sources: as in lcm/model/chamber.py, whose simulator gives the values. The formulas here are the same ones, for
derivatives and for the inverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lcm.base.requirement import require
from lcm.model.chamber import ACTUATORS, FIXED, PARAMETERS, SENSORS, import_simulators, simulate_light_tunnel
from lcm.model.decoder.base import Decoder, DecoderConfig

_LAMPS, _FEWEST, _MOST = 3, 5, len(ACTUATORS)
# ir_1, vis_1, ir_2, vis_2 and current are linear in the lamps
_LINEAR = (0, 1, 2, 3, 6)
_THIRD = (4, 5)
_MARGIN = 4.0


@final
class LightTunnelDecoder(Decoder):
    """x: the nine readings of `SENSORS`; z_i drives actuator i of `ACTUATORS`, n = 5 to 7, through 1 / (1 + exp(−z_i)).

    This is injective. Lamps follow from the light before and between the polarisers and the current, which are linear
    in them. Each polariser follows from its own angle sensor, and the exposures of the third sensor from what it reads,
    where lamps and polarisers are known. Without both angle sensors it is not: of the polarisers only
    cos²(pol_1 − pol_2) enters other readings, and images too (docs/instruments.md, Light tunnel).

    x off the image is projected along the angle sensors and the five linear readings, and into the ranges. z of more
    than about 14 in float32, or 33 in float64, cannot be told from larger ones.
    """

    kind = "light-tunnel"

    def __init__(self, n: int) -> None:
        """Raises ValueError for n outside 5 to 7, or without the extra `chamber`."""
        super().__init__()
        if not _FEWEST <= n <= _MOST:
            raise ValueError(f"Expected {_FEWEST} to {_MOST} variables for the light tunnel; got {n}.")
        import_simulators("lt")
        self.n, self.d = n, len(SENSORS)

    def settings(self) -> dict[str, Any]:
        return {"n": self.n}

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(z), self._log_volume(z.double()).to(z.dtype)

    def decode(self, z: Tensor) -> Tensor:
        settings = torch.sigmoid(z.double())
        actuators = self._actuators(settings)
        # the values are the simulator's, and the derivatives those of its formula
        correction: Tensor = _Correction.apply(settings, _read(actuators.detach()))
        return (_read(actuators) + correction).to(z.dtype)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self._encode(x)
        return z.to(x.dtype), -self._log_volume(z).to(x.dtype)

    def encode(self, x: Tensor) -> Tensor:
        return self._encode(x).to(x.dtype)

    def _encode(self, x: Tensor) -> Tensor:
        """z (N, n) in float64."""
        low, width = _ranges(x)
        margin = _MARGIN * torch.finfo(x.dtype).eps
        known = ((_actuators_of(x.double()) - low) / width).clamp(margin, 1.0 - margin)
        if self.n == _FEWEST:
            return torch.logit(known)
        # the same light as at the exposure 0, by the actuators as they will be decoded
        unexposed = torch.cat([known, torch.zeros_like(known[:, :2])], 1)
        all_low, all_width = _ranges(x, _MOST)
        light = _read(all_low + all_width * unexposed)[:, _THIRD]
        ratio = x.double()[:, _THIRD] / light
        exposure = ratio.clamp_min(margin).log2() / all_width[-2:]
        return torch.logit(torch.cat([known, exposure.clamp(margin, 1.0 - margin)], 1)[:, : self.n])

    def _actuators(self, settings: Tensor) -> Tensor:
        """All seven actuators (N, 7) of settings (N, n)."""
        low, width = _ranges(settings, _MOST)
        driven = low[: self.n] + width[: self.n] * settings
        rest = torch.tensor([FIXED[name] for name in list(ACTUATORS)[self.n :]]).to(low)
        return torch.cat([driven, rest.expand(len(settings), -1)], 1)

    def jacobian(self, z: Tensor) -> Tensor:
        """The derivatives (N, 9, n) of the readings by the settings 1 / (1 + exp(−z)), in float64."""
        settings = torch.sigmoid(z.double())
        columns = [
            torch.func.jvp(lambda part: _read(self._actuators(part)), (settings,), (axis.expand_as(settings),))[1]
            for axis in torch.eye(self.n, dtype=settings.dtype, device=settings.device)
        ]
        return torch.stack(columns, 2)

    def _log_volume(self, z: Tensor) -> Tensor:
        """½ log det JᵀJ (N,), J = ∂x/∂z."""
        jacobian = self.jacobian(z)
        # columns of length 1: in the dark, exposures hardly change any reading
        lengths = jacobian.norm(dim=1)
        unit = jacobian / lengths.unsqueeze(1)
        volume = 0.5 * torch.linalg.slogdet(unit.mT @ unit)[1] + lengths.log().sum(1)
        return volume + (logsigmoid(z) + logsigmoid(-z)).sum(1)


@final
@dataclass(frozen=True, kw_only=True)
class LightTunnelDecoderConfig(DecoderConfig):
    """The nine sensors of the light tunnel, so that `dim_x` is none; n is 5 to 7."""

    kind: Literal["light-tunnel"] = "light-tunnel"

    def __post_init__(self) -> None:
        sensors = len(SENSORS)
        require(self, ("dim_x",), lambda value: False, f"none for the {sensors} sensors of the light tunnel")

    def dimension(self, n: int) -> int:
        return len(SENSORS)

    def require_fitting(self, n: int) -> None:
        if not _FEWEST <= n <= _MOST:
            raise ValueError(f"n: Expected {_FEWEST} to {_MOST} for a decoder of kind {self.kind}; got {n}.")

    def draw(self, n: int, generator: torch.Generator) -> LightTunnelDecoder:
        return LightTunnelDecoder(n)


class _Correction(torch.autograd.Function):
    """What the simulator reads at settings (N, n), less other readings (N, 9): a constant, as rounding is."""

    @staticmethod
    def forward(settings: Tensor, readings: Tensor) -> Tensor:
        simulated = simulate_light_tunnel(settings.detach().cpu().numpy())
        return torch.from_numpy(simulated).to(readings.device) - readings.detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.shapes = *(part.shape for part in inputs), output.shape

    @staticmethod
    def backward(ctx: Any, *changes: Tensor) -> Any:
        return tuple(changes[0].new_zeros(shape) for shape in ctx.shapes[:2])

    @staticmethod
    def jvp(ctx: Any, *changes: Tensor) -> Any:
        return next(part for part in changes if part is not None).new_zeros(ctx.shapes[2])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
        size = info.batch_size
        parts = [
            part.expand(size, *part.shape) if dim is None else part.movedim(dim, 0)
            for part, dim in zip(inputs, in_dims, strict=True)
        ]
        found: Tensor = _Correction.apply(*(part.flatten(0, 1) for part in parts))
        return found.unflatten(0, (size, -1)), 0


def _ranges(like: Tensor, count: int = _FEWEST) -> tuple[Tensor, Tensor]:
    """Lower ends and widths (count,) of the ranges of the first actuators, in float64 on the device of `like`."""
    ends = torch.tensor(list(ACTUATORS.values())[:count], dtype=torch.float64, device=like.device)
    return ends[:, 0], ends[:, 1] - ends[:, 0]


def _parameter(name: str, like: Tensor) -> Tensor:
    return torch.tensor(PARAMETERS[name], dtype=torch.float64, device=like.device)


def _gains(like: Tensor) -> Tensor:
    """What the diodes of the infrared and the visible sensor multiply a reading by (2,), at an exposure of 0."""
    return torch.tensor([2.0 ** FIXED["diode_ir_3"], 2.0 ** FIXED["diode_vis_3"]], device=like.device).double()


def _linear(like: Tensor) -> Tensor:
    """The readings `_LINEAR` by the lamps (5, 3), without their offset."""
    S, between, Q = (_parameter(name, like) for name in ("S", "Ts", "Q"))
    scale = (_gains(like) * 2.0 ** FIXED["t_ir_1"]).unsqueeze(1) * S
    nearer = (PARAMETERS["d1"] / PARAMETERS["d2"]) ** 2
    return torch.cat([scale, scale * between * nearer, Q.unsqueeze(0)])


def _read(actuators: Tensor) -> Tensor:
    """The readings (N, 9) of all actuators (N, 7), by the formulas of appendix C."""
    lamps, first, second = actuators[:, :_LAMPS], actuators[:, 3], actuators[:, 4]
    linear = lamps @ _linear(lamps).T
    S, parallel, crossed, A, a1, a2, C0 = (_parameter(name, lamps) for name in ("S", "Tp", "Tc", "A", "a1", "a2", "C0"))
    passed = torch.cos(torch.deg2rad(first - second)).square().unsqueeze(1)
    light = (PARAMETERS["d1"] / PARAMETERS["d3"]) ** 2 * lamps * ((parallel - crossed) * passed + crossed)
    third = _gains(lamps) * torch.exp2(actuators[:, 5:]) * (light @ S.T)
    angles = torch.stack([A * first + a1, A * second + a2], 1)
    return torch.cat([linear[:, :4], third, linear[:, 4:] + C0, angles], 1)


def _actuators_of(x: Tensor) -> Tensor:
    """Lamps and polarisers (N, 5) of readings (N, 9)."""
    matrix, (A, a1, a2, C0) = _linear(x), (_parameter(name, x) for name in ("A", "a1", "a2", "C0"))
    # in units of its largest response to a lamp, so that no reading outweighs the others
    weights = 1.0 / matrix.amax(1)
    offset = torch.zeros(len(_LINEAR), dtype=x.dtype, device=x.device)
    offset[-1] = C0
    lamps = ((x[:, _LINEAR] - offset) * weights) @ torch.linalg.pinv(weights.unsqueeze(1) * matrix).T
    angles = torch.stack([(x[:, 7] - a1) / A, (x[:, 8] - a2) / A], 1)
    return torch.cat([lamps, angles], 1)
