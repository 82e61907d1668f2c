"""The monotone rational-quadratic spline, elementwise, without data-dependent control flow.

Source: Durkan et al. 2019, "Neural spline flows", equations 4-8, with linear tails that continue at the slope
of the outermost knot. Inputs are clamped before the spline and branches joined by `torch.where`, so that
gradients stay finite, no element is read back to Python, and a NaN comes out as a NaN.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MIN_BIN = 1e-3
MIN_SLOPE = 1e-3
_UNIT_SLOPE = math.log(math.expm1(1.0 - MIN_SLOPE))


def parameter_count(bins: int) -> int:
    """Number of raw parameters of one spline with `bins` bins: widths, heights and slopes at all knots."""
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
    tables = _tables(raw, (raw.shape[-1] - 1) // 3, bound)
    return _evaluate(inputs, inputs.clamp(-bound, bound), tables, inverse)


def knot_spline(inputs: Tensor, tables: Tensor, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """Apply an increasing spline through given knots (or its inverse); returns outputs and log-derivative (...,).

    Args:
        inputs: (...,) values.
        tables: (..., 3, K), broadcastable against `inputs`: positions and values, both increasing, and slopes > 0.
        inverse: whether to apply the inverse map.
    """
    searched = tables[..., 1 if inverse else 0, :]
    inside = torch.maximum(torch.minimum(inputs, searched[..., -1]), searched[..., 0])
    return _evaluate(inputs, inside, tables, inverse)


def _evaluate(inputs: Tensor, inside: Tensor, tables: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    """The spline through `tables` (..., 3, K) at inputs that are also given clamped to its knots."""
    index = (inside.unsqueeze(-1) >= tables[..., 1 if inverse else 0, 1:-1]).sum(-1)
    x0, y0, d0 = _column(tables, index)
    x1, y1, d1 = _column(tables, index + 1)
    apply = _bin_inverse if inverse else _bin_forward
    outputs, log_derivative = apply(inside, x0, x1 - x0, y0, y1 - y0, d0, d1)
    # beyond the outermost knots the bin's slope is the knot's, so the same log-derivative carries on
    excess = inputs - inside
    return outputs + excess * log_derivative.exp(), log_derivative


def _tables(raw: Tensor, bins: int, bound: float) -> Tensor:
    """Knots on both axes and the slopes there, (..., 3, bins + 1)."""
    sizes = MIN_BIN + (1.0 - MIN_BIN * bins) * torch.softmax(raw[..., : 2 * bins].unflatten(-1, (2, bins)), -1)
    inner = 2.0 * bound * torch.cumsum(sizes[..., :-1], -1) - bound
    knots = functional.pad(functional.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)
    slopes = MIN_SLOPE + functional.softplus(raw[..., 2 * bins :] + _UNIT_SLOPE)
    return torch.cat([knots, slopes.unsqueeze(-2)], -2)


def _column(tables: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    # torch's own broadcast_shapes would import sympy: 40 MB and a second
    shape = np.broadcast_shapes(tables.shape[:-2], index.shape)
    expanded = tables.expand(*shape, *tables.shape[-2:])
    picked = expanded.gather(-1, index.expand(shape)[..., None, None].expand(*shape, 3, 1))
    return picked.squeeze(-1).unbind(-1)


def _bin_forward(
    x: Tensor, x0: Tensor, width: Tensor, y0: Tensor, height: Tensor, d0: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    slope = height / width
    position = ((x - x0) / width).clamp_max(1.0)
    rest = 1.0 - position
    product = position * rest
    rise = slope * position
    denominator = slope + (d0 + d1 - slope - slope) * product
    outputs = y0 + height * (rise * position + d0 * product) / denominator
    return outputs, _log_derivative(position, rest, product, slope, denominator, d0, d1)


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
    # of the two forms of the root, the one that adds numbers of equal sign; a > 0 wherever b < 0
    numerator = torch.where(b >= 0, -2.0 * c, root - b)
    denominator = torch.where(b >= 0, b + root, 2.0 * a)
    # exactly 1 at the upper end, where the root has lost its digits and the tail takes its slope from
    position = torch.where(rise >= height, 1.0, (numerator / denominator).clamp(0.0, 1.0))
    rest = 1.0 - position
    product = position * rest
    denominator = slope + curvature * product
    return x0 + position * width, -_log_derivative(position, rest, product, slope, denominator, d0, d1)


def _log_derivative(
    position: Tensor, rest: Tensor, product: Tensor, slope: Tensor, denominator: Tensor, d0: Tensor, d1: Tensor
) -> Tensor:
    numerator = d1 * position.square() + (slope + slope) * product + d0 * rest.square()
    ratio = slope / denominator
    return (numerator * ratio * ratio).log()
