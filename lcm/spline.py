"""The monotone rational-quadratic spline, elementwise, without data-dependent control flow.

Source: Durkan et al. 2019, "Neural spline flows", equations 4-8, with linear tails that continue at the slope
of the outermost knot. Inputs are clamped before the spline and branches joined by `torch.where`, so that gradients stay
finite, no element is read back to Python, and a NaN comes out as a NaN.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

MIN_BIN = 1e-3
MIN_SLOPE = 1e-3
_UNIT_SLOPE = math.log(math.expm1(1.0 - MIN_SLOPE))


def parameter_count(bins: int) -> int:
    """Number of raw parameters of one spline with `bins` bins: widths, heights and the slopes at all knots."""
    return 3 * bins + 1


def monotone_spline(inputs: Tensor, raw: Tensor, bound: float, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Apply a monotone spline (or its inverse) to every element; raw parameters of zero are the identity.

    Args:
        inputs: (...,) values.
        raw: (..., 3 bins + 1) unconstrained parameters, broadcastable against `inputs`.
        bound: the knots span [-bound, bound] on both axes; outside, the spline continues linearly.
        inverse: whether to apply the inverse map.

    Returns:
        outputs and the log-derivative of the applied map, both of the shape of `inputs`.
    """
    bins = (raw.shape[-1] - 1) // 3
    x_knots = _knots(raw[..., :bins], bound)
    y_knots = _knots(raw[..., bins : 2 * bins], bound)
    slopes = MIN_SLOPE + functional.softplus(raw[..., 2 * bins :] + _UNIT_SLOPE)
    inside = inputs.clamp(-bound, bound)
    searched = y_knots if inverse else x_knots
    index = (inside.unsqueeze(-1) >= searched[..., 1:-1]).sum(-1, keepdim=True)
    x0, x1, y0, y1, d0, d1 = (
        _gather(table, index + shift) for table in (x_knots, y_knots, slopes) for shift in (0, 1)
    )
    apply = _bin_inverse if inverse else _bin_forward
    outputs, log_derivative = apply(inside, x0, x1 - x0, y0, y1 - y0, d0, d1)
    slope = torch.where(inputs > 0, slopes[..., -1], slopes[..., 0])
    log_slope = slope.log()
    slope, log_slope = (1.0 / slope, -log_slope) if inverse else (slope, log_slope)
    outside = inputs.abs() > bound
    outputs = torch.where(outside, inside + (inputs - inside) * slope, outputs)
    return outputs, torch.where(outside, log_slope, log_derivative)


def _knots(raw: Tensor, bound: float) -> Tensor:
    """Increasing knots (..., bins + 1) from -bound to bound."""
    bins = raw.shape[-1]
    sizes = MIN_BIN + (1.0 - MIN_BIN * bins) * torch.softmax(raw, -1)
    inner = 2.0 * bound * torch.cumsum(sizes[..., :-1], -1) - bound
    return functional.pad(functional.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)


def _gather(table: Tensor, index: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(table.shape[:-1], index.shape[:-1])
    return table.expand(*shape, table.shape[-1]).gather(-1, index.expand(*shape, 1)).squeeze(-1)


def _bin_forward(
    x: Tensor, x0: Tensor, width: Tensor, y0: Tensor, height: Tensor, d0: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    slope = height / width
    position = ((x - x0) / width).clamp(0.0, 1.0)
    product = position * (1.0 - position)
    denominator = slope + (d0 + d1 - 2.0 * slope) * product
    outputs = y0 + height * (slope * position.square() + d0 * product) / denominator
    return outputs, _log_derivative(position, product, slope, denominator, d0, d1)


def _bin_inverse(
    y: Tensor, x0: Tensor, width: Tensor, y0: Tensor, height: Tensor, d0: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    slope = height / width
    curvature = d0 + d1 - 2.0 * slope
    rise = y - y0
    a = height * (slope - d0) + rise * curvature
    b = height * d0 - rise * curvature
    c = -slope * rise
    # rounding can push the discriminant of a monotone spline below zero by an ulp
    root = (b.square() - 4.0 * a * c).clamp_min(1e-30).sqrt()
    position = (2.0 * c / (-b - root)).clamp(0.0, 1.0)
    product = position * (1.0 - position)
    denominator = slope + curvature * product
    return x0 + position * width, -_log_derivative(position, product, slope, denominator, d0, d1)


def _log_derivative(
    position: Tensor, product: Tensor, slope: Tensor, denominator: Tensor, d0: Tensor, d1: Tensor
) -> Tensor:
    numerator = d1 * position.square() + 2.0 * slope * product + d0 * (1.0 - position).square()
    return 2.0 * slope.log() + numerator.log() - 2.0 * denominator.log()
