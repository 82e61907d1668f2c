"""Distributions of independent noise, each a push-forward of the standard normal by a monotone map.

The inverse map u_i = Φ⁻¹(F_i(ε_i)) is the standard-normal gauge in which the thickness of an LCM is defined
(docs/theory.md section 2, caution iii); density, sampling and gauge all follow from the one pair of maps.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.nn import functional
from torch.special import log_ndtr, ndtri

from lcm.base.component import Component, describe
from lcm.base.kinds import KindConfig
from lcm.model.elementwise import ElementwiseMap, Relabelling

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def standard_normal_log_density(values: Tensor) -> Tensor:
    """log N(v; 0, 1), elementwise, in nats."""
    return -0.5 * values.square() - _LOG_SQRT_2PI


class Noise(Component, family=True):
    """Abstract: n independent distributions p_i, each with full support on ℝ, or on the circle where `circular`."""

    n: int

    @property
    def circular(self) -> Tensor:
        """Which variables are angles in (−π, π], bool (n,): none, unless a subclass says so."""
        return torch.zeros(self.n, dtype=torch.bool)

    @abstractmethod
    def from_normal(self, normal: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map standard-normal u (..., k) to noise ε; returns ε and log dε/du, both (..., k)."""

    @abstractmethod
    def to_normal(self, noise: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gauge u = Φ⁻¹(F(ε)) of noise (..., k); returns u and log du/dε, both (..., k)."""

    def log_density(self, noise: Tensor, variables: Tensor | None = None) -> Tensor:
        """log p_i(ε_i) of noise (..., k), in nats, elementwise."""
        normal, log_derivative = self.to_normal(noise, variables)
        return standard_normal_log_density(normal) + log_derivative

    def sample(self, n_samples: int, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
        """Draw (n_samples, n) independent noise, on the generator's device."""
        device = generator.device
        normal = torch.randn(n_samples, self.n, generator=generator, device=device, dtype=dtype)
        return self.from_normal(normal)[0]


class _StandardNoise(Noise):
    """A fixed law given by its quantile map; subclasses fill in the map from and to the standard normal."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def settings(self) -> dict[str, Any]:
        return {"n": self.n}


@final
class NormalNoise(_StandardNoise):
    """Standard normal noise: the gauge is the identity."""

    kind = "normal"

    def from_normal(self, normal: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return normal, torch.zeros_like(normal)

    def to_normal(self, noise: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return noise, torch.zeros_like(noise)


class _TailNoise(_StandardNoise):
    """A law symmetric about 0 by its log-density and lower tail; both maps use the tail, to keep digits."""

    @abstractmethod
    def _log_density(self, noise: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_lower_tail(self, noise: Tensor) -> Tensor:
        """log F(ε) for ε ≤ 0."""

    @abstractmethod
    def _lower_quantile(self, log_probability: Tensor) -> Tensor:
        """F⁻¹(exp(log_probability)) for probabilities ≤ 1/2."""

    def from_normal(self, normal: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # by its sign, since |u| has no derivative at 0
        is_lower = normal < 0.0
        quantile = self._lower_quantile(log_ndtr(torch.where(is_lower, normal, -normal)))
        noise = torch.where(is_lower, quantile, -quantile)
        return noise, standard_normal_log_density(normal) - self._log_density(noise)

    def to_normal(self, noise: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # clamped where the tail underflows (|u| of 37 in float64, 12 in float32), or u would be infinite
        is_lower = noise < 0.0
        tail = self._log_lower_tail(torch.where(is_lower, noise, -noise)).exp()
        quantile = ndtri(tail.clamp_min(torch.finfo(noise.dtype).tiny))
        normal = torch.where(is_lower, quantile, -quantile)
        return normal, self._log_density(noise) - standard_normal_log_density(normal)


@final
class LaplaceNoise(_TailNoise):
    """Laplace noise of unit variance: heavier tails than the normal, a kink at 0."""

    kind = "laplace"
    _scale = math.sqrt(0.5)

    def _log_density(self, noise: Tensor) -> Tensor:
        return -noise.abs() / self._scale - math.log(2.0 * self._scale)

    def _log_lower_tail(self, noise: Tensor) -> Tensor:
        return noise / self._scale - math.log(2.0)

    def _lower_quantile(self, log_probability: Tensor) -> Tensor:
        return self._scale * (log_probability + math.log(2.0))


@final
class LogisticNoise(_TailNoise):
    """Logistic noise of unit variance."""

    kind = "logistic"
    _scale = math.sqrt(3.0) / math.pi

    def _log_density(self, noise: Tensor) -> Tensor:
        scaled = noise / self._scale
        return functional.logsigmoid(scaled) + functional.logsigmoid(-scaled) - math.log(self._scale)

    def _log_lower_tail(self, noise: Tensor) -> Tensor:
        return functional.logsigmoid(noise / self._scale)

    def _lower_quantile(self, log_probability: Tensor) -> Tensor:
        return self._scale * (log_probability - torch.log1p(-log_probability.exp()))


@final
class SkewedNoise(_StandardNoise):
    """Sinh-arcsinh noise (Jones & Pewsey 2009): ε = sinh(arcsinh(u) + skew) − sinh(skew)."""

    kind = "skewed"

    def __init__(self, n: int, skew: float = 0.5) -> None:
        super().__init__(n)
        self.skew = skew

    def settings(self) -> dict[str, Any]:
        return {"n": self.n, "skew": self.skew}

    def from_normal(self, normal: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        angle = torch.asinh(normal) + self.skew
        return torch.sinh(angle) - math.sinh(self.skew), _log_cosh(angle) - 0.5 * torch.log1p(normal.square())

    def to_normal(self, noise: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shifted = noise + math.sinh(self.skew)
        angle = torch.asinh(shifted) - self.skew
        return torch.sinh(angle), _log_cosh(angle) - 0.5 * torch.log1p(shifted.square())


def _log_cosh(values: Tensor) -> Tensor:
    magnitude = values.abs()
    return magnitude + torch.log1p(torch.exp(-2.0 * magnitude)) - math.log(2.0)


@final
class UniformNoise(_TailNoise):
    """A uniform variable on (−√3, √3) mapped to ℝ by a diffeomorphism that is nearly the identity inside.

    F(ε) = δ/w · [softplus((ε − a)/δ) − softplus((ε − b)/δ)] with w = b − a; the edges are smooth over a width
    δ and both F and its inverse are in closed form.
    """

    kind = "uniform"
    _half_width = math.sqrt(3.0)

    def __init__(self, n: int, edge: float = 0.1) -> None:
        super().__init__(n)
        self.edge = edge

    def settings(self) -> dict[str, Any]:
        return {"n": self.n, "edge": self.edge}

    def _log_density(self, noise: Tensor) -> Tensor:
        # σ(s) − σ(t) = σ(s) σ(−t) (1 − e^{t−s}), which keeps its digits in both tails
        upper = (noise + self._half_width) / self.edge
        lower = (noise - self._half_width) / self.edge
        ramp = math.log(-math.expm1(-2.0 * self._half_width / self.edge))
        return functional.logsigmoid(upper) + functional.logsigmoid(-lower) + ramp - math.log(2.0 * self._half_width)

    def _log_lower_tail(self, noise: Tensor) -> Tensor:
        upper = (noise + self._half_width) / self.edge
        lower = (noise - self._half_width) / self.edge
        area = functional.softplus(upper) - functional.softplus(lower)
        return area.clamp_min(torch.finfo(noise.dtype).tiny).log() + math.log(self.edge / (2.0 * self._half_width))

    def _lower_quantile(self, log_probability: Tensor) -> Tensor:
        reach = 2.0 * self._half_width / self.edge
        area = log_probability.exp() * reach
        log_rise = area + torch.log(-torch.expm1(-area))
        return self.edge * (log_rise - torch.log1p(-torch.exp(area - reach))) - self._half_width


@final
class PushforwardNoise(Noise):
    """The law of h(ε), ε of another law and h an elementwise map: how an isomorphism carries noise along."""

    kind = "pushforward"

    def __init__(self, noise: Noise | dict[str, Any], elementwise: ElementwiseMap | dict[str, Any]) -> None:
        """Raises ValueError when the noise has circle variables, of which a monotone map of ℝ is none."""
        super().__init__()
        self.noise = Noise.build(noise)
        self.map = ElementwiseMap.build(elementwise)
        circles = torch.nonzero(self.noise.circular).flatten().tolist()
        if circles:
            raise ValueError(f"Expected real variables for monotone maps of the line; got circles at {circles}.")
        self.n = self.noise.n

    def settings(self) -> dict[str, Any]:
        return {"noise": describe(self.noise), "elementwise": describe(self.map)}

    def from_normal(self, normal: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        noise, log_first = self.noise.from_normal(normal, variables)
        image, log_second = self.map(noise, variables)
        return image, log_first + log_second

    def to_normal(self, noise: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        preimage, log_first = self.map.inverse(noise, variables)
        normal, log_second = self.noise.to_normal(preimage, variables)
        return normal, log_first + log_second


@final
class RelabelledNoise(Noise):
    """The same noise under new labels: new variable permutation[i] has the law of old variable i."""

    kind = "relabelled"

    def __init__(self, noise: Noise | dict[str, Any], permutation: Sequence[int]) -> None:
        super().__init__()
        self.noise = Noise.build(noise)
        self.labels, self.n = Relabelling(permutation), self.noise.n

    @property
    def circular(self) -> Tensor:
        return self.noise.circular.to(self.labels.old_label.device)[self.labels.old_label]

    def settings(self) -> dict[str, Any]:
        return {"noise": describe(self.noise), "permutation": self.labels.new_label.tolist()}

    def from_normal(self, normal: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.noise.from_normal(normal, self.labels.old(variables))

    def to_normal(self, noise: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.noise.to_normal(noise, self.labels.old(variables))


class NoiseConfig(KindConfig, family=True):
    """The law of the independent noise, equal for all variables: a subclass for each kind of `Noise` to draw from."""

    default = "normal"

    def draw(self, n: int) -> Noise:
        """The noise of n variables: every setting is an argument of the class of the same kind."""
        settings: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return Noise.of_kind(settings.pop("kind"))(n, **settings)


@final
@dataclass(frozen=True, kw_only=True)
class NormalNoiseConfig(NoiseConfig):
    """Standard normal."""

    kind: Literal["normal"] = "normal"


@final
@dataclass(frozen=True, kw_only=True)
class LaplaceNoiseConfig(NoiseConfig):
    """Laplace, of unit variance."""

    kind: Literal["laplace"] = "laplace"


@final
@dataclass(frozen=True, kw_only=True)
class LogisticNoiseConfig(NoiseConfig):
    """Logistic, of unit variance."""

    kind: Literal["logistic"] = "logistic"


@final
@dataclass(frozen=True, kw_only=True)
class SkewedNoiseConfig(NoiseConfig):
    """Sinh-arcsinh; a positive `skew` leans to the right, 0 is normal."""

    kind: Literal["skewed"] = "skewed"
    skew: float = 0.5


@final
@dataclass(frozen=True, kw_only=True)
class UniformNoiseConfig(NoiseConfig):
    """Uniform on (−√3, √3), mapped to ℝ."""

    kind: Literal["uniform"] = "uniform"
