"""Strictly monotone maps of each variable on its own, with inverses and log-derivatives.

They reparametrise noise and causal variables (the h_i of an LCM isomorphism, docs/theory.md section 1) and
push noise distributions forward. Every map takes (..., k) values of the variables listed in `variables` (all
n by default).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from lcm.base.component import Component, describe
from lcm.base.text import shown
from lcm.model.rational_quadratic import knot_spline, monotone_spline, parameter_count


def pick(values: Tensor, variables: Tensor | None) -> Tensor:
    """Rows of `values` (n, ...) that belong to `variables` (all when None)."""
    return values if variables is None else values[variables]


@final
class Relabelling(nn.Module):
    """A permutation as index tensors: new label of each old variable, and old label of each new one."""

    new_label: Tensor
    old_label: Tensor

    def __init__(self, permutation: Sequence[int]) -> None:
        super().__init__()
        new_label = torch.as_tensor(permutation)
        require_labels(new_label, len(new_label))
        self.register_buffer("new_label", new_label, persistent=False)
        self.register_buffer("old_label", torch.argsort(new_label), persistent=False)

    def old(self, variables: Tensor | None) -> Tensor:
        """Old labels (k,) of the new `variables` (all n, in order, when None)."""
        return self.old_label if variables is None else self.old_label[variables]


def require_labels(labels: Tensor, n: int) -> None:
    """Raise ValueError unless the labels are 0 to n − 1, each once."""
    if labels.dim() != 1 or (labels.tolist() != [] and sorted(labels.tolist()) != list(range(n))):
        raise ValueError(f"Expected a permutation of {n} variables; got {shown(labels.tolist())}.")


class ElementwiseMap(Component, family=True):
    """Abstract: one strictly monotone diffeomorphism of ℝ, onto ℝ or an interval, per variable."""

    n: int

    @abstractmethod
    def forward(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map (..., k) values; returns the images and log|derivative|, both (..., k)."""

    @abstractmethod
    def inverse(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inverse map of (..., k) values; returns preimages and log|derivative of the inverse| (..., k)."""


@final
class AffineMap(ElementwiseMap):
    """h_i(v) = shift_i + scale_i v with scale_i ≠ 0; a negative scale reverses the orientation."""

    kind = "affine"

    def __init__(self, n: int, shift: Tensor | None = None, scale: Tensor | None = None) -> None:
        super().__init__()
        self.n = n
        self.shift = nn.Parameter(torch.zeros(n) if shift is None else shift)
        self.scale = nn.Parameter(torch.ones(n) if scale is None else scale)

    def require_sound(self) -> None:
        """Raise ValueError for a scale of zero."""
        if bool((self.scale == 0).any()):
            raise ValueError("Expected scales that are not zero; got one that is.")

    def settings(self) -> dict[str, Any]:
        return {"n": self.n}

    def forward(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scale = pick(self.scale, variables)
        return pick(self.shift, variables) + scale * values, scale.abs().log().expand_as(values)

    def inverse(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scale = pick(self.scale, variables)
        return (values - pick(self.shift, variables)) / scale, -scale.abs().log().expand_as(values)


@final
class SplineMap(ElementwiseMap):
    """h_i a monotone rational-quadratic spline on [-bound, bound], linear outside; starts at the identity."""

    kind = "spline"

    def __init__(self, n: int, bins: int = 8, bound: float = 4.0) -> None:
        super().__init__()
        self.n, self.bins, self.bound = n, bins, bound
        self.raw = nn.Parameter(torch.zeros(n, parameter_count(bins)))

    def settings(self) -> dict[str, Any]:
        return {"n": self.n, "bins": self.bins, "bound": self.bound}

    def forward(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return monotone_spline(values, pick(self.raw, variables), self.bound)

    def inverse(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return monotone_spline(values, pick(self.raw, variables), self.bound, inverse=True)


@final
class KnotMap(ElementwiseMap):
    """h_i a monotone rational-quadratic spline through given knots, of either orientation, linear outside them.

    Buffers: orientation (n,), 1 or −1; tables (n, 3, K): positions, values times orientation, and slopes > 0.
    """

    kind = "knots"
    orientation: Tensor
    tables: Tensor

    def __init__(self, n: int, knots: int, orientation: Tensor | None = None, tables: Tensor | None = None) -> None:
        """The identity on [−1, 1] unless orientation (n,) and tables (n, 3, K) are given.

        Raises:
            ValueError: positions or values that do not increase, or slopes that are not positive.
        """
        super().__init__()
        self.n, self.knots = n, knots
        line = torch.linspace(-1.0, 1.0, knots)
        given = torch.stack([line, line, torch.ones(knots)]).repeat(n, 1, 1) if tables is None else tables
        self.register_buffer("orientation", torch.ones(n) if orientation is None else orientation)
        self.register_buffer("tables", given)
        self.require_sound()

    def require_sound(self) -> None:
        """Raise ValueError for knots that do not increase, or slopes that are not positive."""
        if not bool((self.tables[:, :2].diff(dim=-1) > 0).all() & (self.tables[:, 2] > 0).all()):
            raise ValueError("Expected knots that increase, with positive slopes; got others.")

    def settings(self) -> dict[str, Any]:
        return {"n": self.n, "knots": self.knots}

    def forward(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outputs, log_derivative = knot_spline(values, pick(self.tables, variables))
        return pick(self.orientation, variables) * outputs, log_derivative

    def inverse(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        oriented = pick(self.orientation, variables) * values
        return knot_spline(oriented, pick(self.tables, variables), inverse=True)


@final
class UnitIntervalMap(ElementwiseMap):
    """h_i(v) = 1 / (1 + exp(−slope v)), from ℝ onto (0, 1)."""

    kind = "unit-interval"

    def __init__(self, n: int, slope: float = 1.0) -> None:
        """Raises ValueError for a slope that is not positive."""
        super().__init__()
        if not slope > 0.0:
            raise ValueError(f"Expected a positive slope; got {slope}.")
        self.n, self.slope = n, slope

    def settings(self) -> dict[str, Any]:
        return {"n": self.n, "slope": self.slope}

    def forward(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scaled = self.slope * values
        log_slope = functional.logsigmoid(scaled) + functional.logsigmoid(-scaled)
        return torch.sigmoid(scaled), log_slope + math.log(self.slope)

    def inverse(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # a value on the border, as rounding makes it, would be infinite
        inside = values.clamp(torch.finfo(values.dtype).eps, 1.0 - torch.finfo(values.dtype).eps)
        log_slope = -inside.log() - torch.log1p(-inside) - math.log(self.slope)
        return torch.logit(inside) / self.slope, log_slope


@final
class ComposedMap(ElementwiseMap):
    """h_i = second_{labels[i]} ∘ first_i."""

    kind = "composed"
    labels: Tensor

    def __init__(
        self,
        first: ElementwiseMap | dict[str, Any],
        second: ElementwiseMap | dict[str, Any],
        labels: Sequence[int],
    ) -> None:
        super().__init__()
        self.first, self.second = ElementwiseMap.build(first), ElementwiseMap.build(second)
        self.n = self.first.n
        require_labels(torch.as_tensor(list(labels)), self.second.n)
        self.register_buffer("labels", torch.as_tensor(list(labels)))

    def settings(self) -> dict[str, Any]:
        return {"first": describe(self.first), "second": describe(self.second), "labels": self.labels.tolist()}

    def forward(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        middle, log_first = self.first(values, variables)
        images, log_second = self.second(middle, self._moved(variables))
        return images, log_first + log_second

    def inverse(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        middle, log_second = self.second.inverse(values, self._moved(variables))
        preimages, log_first = self.first.inverse(middle, variables)
        return preimages, log_first + log_second

    def _moved(self, variables: Tensor | None) -> Tensor:
        return self.labels if variables is None else self.labels[variables]


@final
class InverseMap(ElementwiseMap):
    """h_i = (inner_{labels[i]})⁻¹."""

    kind = "inverse"
    labels: Tensor

    def __init__(self, inner: ElementwiseMap | dict[str, Any], labels: Sequence[int]) -> None:
        super().__init__()
        self.inner = ElementwiseMap.build(inner)
        self.n = self.inner.n
        require_labels(torch.as_tensor(list(labels)), self.n)
        self.register_buffer("labels", torch.as_tensor(list(labels)))

    def settings(self) -> dict[str, Any]:
        return {"inner": describe(self.inner), "labels": self.labels.tolist()}

    def forward(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inner.inverse(values, self._moved(variables))

    def inverse(self, values: Tensor, variables: Tensor | None = None) -> tuple[Tensor, Tensor]:
        images: tuple[Tensor, Tensor] = self.inner(values, self._moved(variables))
        return images

    def _moved(self, variables: Tensor | None) -> Tensor:
        return self.labels if variables is None else self.labels[variables]
