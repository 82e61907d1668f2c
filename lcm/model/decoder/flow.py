"""Normalizing-flow decoders on the coupling layers of nflows; the only module that imports nflows.

What nflows 0.14 gets wrong for this use is replaced here: its rational-quadratic spline reads back to the
host and fails on large logits (lcm/model/rational_quadratic.py does not), and its affine layer is not the identity at
zero parameters. Only coupling layers are used, never autoregressive ones, LU layers or its cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import torch
from nflows.transforms.coupling import AffineCouplingTransform, CouplingTransform
from torch import Tensor, nn
from torch.nn.utils import skip_init

from lcm.base.requirement import require_at_least
from lcm.model.decoder.base import Decoder, DecoderConfig, Flow
from lcm.model.decoder.composed import ChainDecoder
from lcm.model.decoder.linear import RotationDecoder
from lcm.model.elementwise import SplineMap
from lcm.model.rational_quadratic import monotone_spline, parameter_count

_LOG_SCALE_BOUND = 3.0
_RAW_BOUND = 6.0


class _Conditioner(nn.Module):
    """Two hidden layers from the unchanged half to the parameters of the other; weights are drawn by the decoder."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__()
        # nn.Linear's own initialisation would draw from the global generator
        first, second, self.head = (
            skip_init(nn.Linear, *sizes) for sizes in ((inputs, hidden), (hidden, hidden), (hidden, outputs))
        )
        self.body = nn.Sequential(first, nn.SiLU(), second, nn.SiLU())

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        outputs: Tensor = self.head(self.body(inputs))
        return outputs


class _AffineCoupling(AffineCouplingTransform):
    """nflows' affine coupling with a bounded log-scale that is zero, the identity, at zero parameters."""

    def _scale_and_shift(self, transform_params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = transform_params.chunk(2, dim=1)
        return torch.exp(_LOG_SCALE_BOUND * torch.tanh(raw / _LOG_SCALE_BOUND)), shift


class _SplineCoupling(CouplingTransform):
    """A coupling layer that shifts half of the variables and bends them by this package's monotone spline.

    Fits run from x to noise, so that direction gets the spline itself and decoding its costlier inverse.
    """

    def __init__(self, mask: Tensor, conditioner: Any, bins: int, bound: float) -> None:
        self.bins, self.bound = bins, bound
        super().__init__(mask, conditioner)

    def _transform_dim_multiplier(self) -> int:
        return 1 + parameter_count(self.bins)

    def _shift_and_raw(self, transform_params: Tensor) -> tuple[Tensor, Tensor]:
        parameters = transform_params.unflatten(1, (-1, self._transform_dim_multiplier()))
        return parameters[..., 0], _RAW_BOUND * torch.tanh(parameters[..., 1:] / _RAW_BOUND)

    def _coupling_transform_forward(self, inputs: Tensor, transform_params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self._shift_and_raw(transform_params)
        outputs, log_derivative = monotone_spline(inputs - shift, raw, self.bound, inverse=True)
        return outputs, log_derivative.sum(1)

    def _coupling_transform_inverse(self, inputs: Tensor, transform_params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = self._shift_and_raw(transform_params)
        outputs, log_derivative = monotone_spline(inputs, raw, self.bound)
        return outputs + shift, log_derivative.sum(1)


@final
class FlowDecoder(Decoder):
    """g = elementwise spline, then coupling layers with alternating halves, ℝⁿ to ℝⁿ; starts at the identity.

    `coupling` is "affine" (Dinh et al. 2017) or "spline" (Durkan et al. 2019). With n = 1 only the
    elementwise spline remains.
    """

    kind = "flow"

    def __init__(
        self,
        n: int,
        coupling: Literal["affine", "spline"] = "spline",
        layers: int = 6,
        hidden: int = 64,
        bins: int = 8,
        bound: float = 5.0,
    ) -> None:
        """`hidden`: width of the conditioners; `bins`, `bound`: of splines. Raises ValueError for another coupling."""
        super().__init__()
        if coupling not in ("affine", "spline"):
            raise ValueError(f"Expected a coupling of affine or spline; got {coupling!r}.")
        self.n = self.d = n
        self.coupling, self.hidden, self.bins, self.bound = coupling, hidden, bins, bound
        self.marginal = SplineMap(n, bins, bound)
        self.layers = nn.ModuleList(self._layer(index) for index in range(layers if n > 1 else 0))
        self.draw_conditioners(torch.Generator().manual_seed(0))

    def _layer(self, index: int) -> nn.Module:
        mask = (torch.arange(self.n) + index) % 2

        def conditioner(inputs: int, outputs: int) -> nn.Module:
            return _Conditioner(inputs, outputs, self.hidden)

        if self.coupling == "affine":
            return _AffineCoupling(mask, conditioner)
        return _SplineCoupling(mask, conditioner, self.bins, self.bound)

    def settings(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "coupling": self.coupling,
            "layers": len(self.layers),
            "hidden": self.hidden,
            "bins": self.bins,
            "bound": self.bound,
        }

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator, strength: float) -> None:
        """Draw every layer at random; `strength` scales the last layers, so how nonlinear g is."""
        for conditioner in (module for module in self.layers.modules() if isinstance(module, _Conditioner)):
            hidden = [layer for layer in conditioner.body if isinstance(layer, nn.Linear)]
            for linear, gain in [*((layer, 1.0) for layer in hidden), (conditioner.head, strength)]:
                linear.weight.copy_(_normal(linear.weight.shape, generator) * gain / linear.in_features**0.5)
                linear.bias.copy_(_normal(linear.bias.shape, generator) * gain * 0.5)

    @torch.no_grad()
    def draw_conditioners(self, generator: torch.Generator) -> None:
        """Draw the hidden layers and leave the last ones at zero: a seeded start at the identity."""
        self.draw_weights(generator, strength=0.0)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        values, log_derivative = self.marginal(z)
        log_det = log_derivative.sum(1)
        for layer in self.layers:
            values, log_layer = layer(values)
            log_det = log_det + log_layer
        return values, log_det

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, log_det = x, x.new_zeros(len(x))
        for layer in reversed(self.layers):
            values, log_layer = layer.inverse(values)  # type: ignore[operator]
            log_det = log_det + log_layer
        values, log_derivative = self.marginal.inverse(values)
        return values, log_det + log_derivative.sum(1)


@final
@dataclass(frozen=True, kw_only=True)
class FlowDecoderConfig(DecoderConfig):
    """A random rotation, which mixes all variables, then random coupling layers.

    layers: couplings, at least 1. hidden: units of a hidden layer, at least 1.
    strength: how nonlinear, at least 0; 0 is linear, 0.2 is clearly curved.
    """

    kind: Literal["flow"] = "flow"
    coupling: Literal["affine", "spline"] = "affine"
    layers: int = 6
    hidden: int = 32
    strength: float = 0.2

    def __post_init__(self) -> None:
        require_at_least(self, 1, "layers", "hidden")
        require_at_least(self, 0.0, "strength")

    def draw(self, n: int, generator: torch.Generator) -> ChainDecoder:
        rotation, flow = RotationDecoder(n, generator), FlowDecoder(n, self.coupling, self.layers, self.hidden)
        flow.draw_weights(generator, self.strength)
        return ChainDecoder([rotation, flow])


class CouplingFlow(Flow):
    """Abstract: couplings as a noise encoder."""

    layers, hidden, learning_rate = 6, 48, 3e-3
    coupling: ClassVar[Literal["affine", "spline"]]

    @classmethod
    def start(cls, n: int, layers: int, hidden: int, bins: int, generator: torch.Generator) -> FlowDecoder:
        flow = FlowDecoder(n, cls.coupling, layers, hidden, bins).to(generator.device)
        flow.draw_conditioners(generator)
        return flow


@final
class SplineFlow(CouplingFlow):
    """Couplings by monotone splines."""

    kind, coupling = "spline", "spline"


@final
class AffineFlow(CouplingFlow):
    """Couplings by affine maps."""

    kind, coupling = "affine", "affine"


def _normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)
