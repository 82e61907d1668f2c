"""Monotone rational-quadratic splines, with inverses and log-derivatives.

Source: Durkan et al. 2019, "Neural spline flows"; the map inside a bin is that of Gregory & Delbourgo 1982. Gradients
are written by hand: automatic differentiation of the formulas would take four times as long.
"""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import jvp
from torch.nn import functional

MIN_BIN = 1e-3
MIN_SLOPE = 1e-3
_UNIT_SLOPE = math.log(math.expm1(1.0 - MIN_SLOPE))
_MANY_KNOTS = 64


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
    if inputs.dim() == 2 and raw.dim() == 2 and len(raw) == inputs.shape[1]:
        found: tuple[Tensor, Tensor] = _Columns.apply(inverse, bound, inputs, raw)[:2]
        return found
    return _evaluate(inputs, inputs.clamp(-bound, bound), _tables(raw, bound), inverse)


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
    index = _bins(inside, tables[..., 1 if inverse else 0, 1:-1])
    outputs, log_derivative = _formula(inverse)(inside, *_column(tables, index), *_column(tables, index + 1))
    # beyond the outermost knots the bin's slope is the knot's, so the same log-derivative carries on
    excess = inputs - inside
    return outputs + excess * log_derivative.exp(), log_derivative


def _tables(raw: Tensor, bound: float) -> Tensor:
    """Knots on both axes and the slopes there, (..., 3, bins + 1)."""
    bins = (raw.shape[-1] - 1) // 3
    inner = 2.0 * bound * torch.cumsum(_sizes(raw, bins)[..., :-1], -1) - bound
    knots = functional.pad(functional.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)
    slopes = MIN_SLOPE + functional.softplus(raw[..., 2 * bins :] + _UNIT_SLOPE)
    return torch.cat([knots, slopes.unsqueeze(-2)], -2)


def _sizes(raw: Tensor, bins: int) -> Tensor:
    """Widths and heights of the bins as shares of the axes, (..., 2, bins)."""
    shares = torch.softmax(raw[..., : 2 * bins].unflatten(-1, (2, bins)), -1)
    return MIN_BIN + (1.0 - MIN_BIN * bins) * shares


def _bins(values: Tensor, inner_knots: Tensor) -> Tensor:
    """How many of the inner knots (..., K − 2) each value (...,) has reached: the number of its bin."""
    if inner_knots.shape[-1] < _MANY_KNOTS or inner_knots.shape[:-1] != values.shape[-1:]:
        return (values.unsqueeze(-1) >= inner_knots).sum(-1)
    # of hundreds of knots, all comparisons at once would take gigabytes
    columns = values.reshape(-1, values.shape[-1]).T.contiguous()
    return torch.searchsorted(inner_knots.contiguous(), columns, right=True).T.reshape(values.shape)


def _column(tables: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    # torch's own broadcast_shapes would import sympy: 40 MB and a second
    shape = np.broadcast_shapes(tables.shape[:-2], index.shape)
    expanded = tables.expand(*shape, *tables.shape[-2:])
    picked = expanded.gather(-1, index.expand(shape)[..., None, None].expand(*shape, 3, 1))
    return picked.squeeze(-1).unbind(-1)


@final
class _Columns(torch.autograd.Function):
    """One spline for each column: inputs (N, n) and raw parameters (n, 3 bins + 1), after `inverse` and `bound`.

    Results: outputs and log-derivatives (N, n), and for the backward pass the indicator of the bin of every value
    (n, bins, N) and x0, y0, d0, x1, y1, d1 of that bin (6, n, N).
    """

    @staticmethod
    def forward(inverse: bool, bound: float, inputs: Tensor, raw: Tensor) -> tuple[Tensor, ...]:
        tables = _tables(raw, bound)
        inner_knots = tables[:, 1 if inverse else 0, 1:-1]
        inside = inputs.T.contiguous().clamp(-bound, bound)
        reached = functional.pad((inside.unsqueeze(1) >= inner_knots.unsqueeze(2)).to(raw.dtype), (0, 0, 1, 1))
        reached[:, 0] = 1.0
        in_bin = reached[:, :-1] - reached[:, 1:]
        # a product with an indicator copies numbers exactly
        both_knots = torch.cat([tables[..., :-1], tables[..., 1:]], 1)
        corners = torch.bmm(both_knots, in_bin).transpose(0, 1).contiguous()
        outputs, log_derivative = _formula(inverse)(inside, *corners)
        outputs.addcmul_(inputs.T - inside, log_derivative.exp())
        return outputs.T, log_derivative.T, in_bin, corners

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.inverse, ctx.bound = inputs[:2]
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[2:], *output)
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        directions = (
            torch.zeros_like(part) if tangent is None else tangent
            for part, tangent in zip(given, tangents, strict=True)
        )

        def plain(inputs: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
            return _evaluate(inputs, inputs.clamp(-ctx.bound, ctx.bound), _tables(raw, ctx.bound), ctx.inverse)

        return *jvp(plain, tuple(given), tuple(directions))[1], None, None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, raw, outputs, log_derivative, in_bin, corners = ctx.saved_tensors
        inputs, outputs, log_derivative = inputs.T, outputs.T, log_derivative.T
        of_output, of_log = (
            torch.zeros_like(outputs) if part is None else part.T.contiguous() for part in gradients[:2]
        )
        inside = inputs.clamp(-ctx.bound, ctx.bound)
        excess = inputs - inside
        slope = log_derivative.exp()
        in_tail = of_output * slope
        of_log = torch.addcmul(of_log, in_tail, excess)
        mapped = inside, outputs - excess * slope if ctx.inverse else outputs, log_derivative
        of_inside, of_corners = _bin_gradients(ctx.inverse, mapped, corners, (of_output, of_log))
        of_knots = torch.bmm(of_corners.transpose(0, 1), in_bin.transpose(1, 2))
        of_tables = functional.pad(of_knots[:, :3], (0, 1)) + functional.pad(of_knots[:, 3:], (1, 0))
        return None, None, torch.where(excess == 0.0, of_inside, in_tail).T, _raw_gradient(raw, of_tables, ctx.bound)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], inverse: bool, bound: float, *parts: Tensor) -> tuple[Any, Any]:
        size = info.batch_size
        inputs, raw = (
            part.expand(size, *part.shape) if dim is None else part.movedim(dim, 0)
            for part, dim in zip(parts, in_dims[2:], strict=True)
        )
        found = _Columns.apply(inverse, bound, inputs.transpose(0, 1).flatten(1), raw.flatten(0, 1))
        dims = (1, 1, 0, 1)
        return tuple(part.unflatten(dim, (size, -1)) for part, dim in zip(found, dims, strict=True)), dims


def _bin_gradients(
    inverse: bool, mapped: tuple[Tensor, ...], corners: Tensor, of_results: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The gradients (n, N) by the values of the map inside a bin, or of its inverse, and (6, n, N) by its corners.

    mapped: values, outputs and log-derivatives. of_results: the gradients by outputs and by log-derivatives.
    """
    (values, output, log_derivative), (of_output, of_log) = mapped, of_results
    x0, y0, d0, x1, y1, d1 = corners
    x = output if inverse else values
    of_log = -of_log if inverse else of_log
    width, height = x1 - x0, y1 - y0
    slope, place = height / width, ((x - x0) / width).clamp_(0.0, 1.0)
    rest = 1.0 - place
    product, lean = place * rest, rest - place
    twist, flat = d0 + d1 - 2.0 * slope, 1.0 - 2.0 * product
    over, square, rest_square = torch.addcmul(slope, twist, product).reciprocal_(), place.square(), rest.square()
    share = (slope * square + d0 * product) * over
    under = (d1 * square + 2.0 * slope * product + d0 * rest_square).reciprocal_()
    log_over, log_under = 2.0 * of_log * over, of_log * under
    # of the log-derivative by the place in the bin
    by_place = 2.0 * (d1 * place + slope * lean - d0 * rest) * log_under - twist * lean * log_over
    derivative = log_derivative.exp()
    if inverse:
        of_x0, of_y0 = of_output, -(of_output + by_place / width) * derivative
    else:
        of_x0, of_y0 = -(of_output * derivative + by_place / width), of_output
    scaled = of_y0 * height * over
    of_slope = scaled * (square - share * flat) + 2.0 * (of_log / slope + product * log_under) - log_over * flat
    of_width = of_x0 * place - of_slope * slope / width
    of_height = of_y0 * share + of_slope / width
    of_d0 = product * (scaled * (1.0 - share) - log_over) + rest_square * log_under
    of_d1 = square * log_under - product * (scaled * share + log_over)
    of_corners = torch.stack([of_x0 - of_width, of_y0 - of_height, of_d0, of_width, of_height, of_d1])
    return (-of_y0 if inverse else -of_x0), of_corners


def _raw_gradient(raw: Tensor, of_tables: Tensor, bound: float) -> Tensor:
    """The gradient (n, 3 bins + 1) by raw parameters from that by `_tables` of them."""
    bins = (raw.shape[1] - 1) // 3
    from_knots = of_tables[:, :2, 1:-1].flip(2).cumsum(2).flip(2)
    from_sizes = functional.pad(2.0 * bound * (1.0 - MIN_BIN * bins) * from_knots, (0, 1))
    shares = torch.softmax(raw[:, : 2 * bins].unflatten(1, (2, bins)), 2)
    of_sizes = shares * (from_sizes - (shares * from_sizes).sum(2, keepdim=True))
    of_slopes = of_tables[:, 2] * torch.sigmoid(raw[:, 2 * bins :] + _UNIT_SLOPE)
    return torch.cat([of_sizes.flatten(1), of_slopes], 1)


def _formula(inverse: bool) -> Any:
    return _bin_inverse if inverse else _bin_forward


def _bin_forward(
    x: Tensor, x0: Tensor, y0: Tensor, d0: Tensor, x1: Tensor, y1: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    width, height = x1 - x0, y1 - y0
    slope = height / width
    position = ((x - x0) / width).clamp_max(1.0)
    rest = 1.0 - position
    product = position * rest
    rise = slope * position
    denominator = slope + (d0 + d1 - slope - slope) * product
    outputs = y0 + height * (rise * position + d0 * product) / denominator
    return outputs, _log_derivative(position, rest, product, slope, denominator, d0, d1)


def _bin_inverse(
    y: Tensor, x0: Tensor, y0: Tensor, d0: Tensor, x1: Tensor, y1: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    width, height = x1 - x0, y1 - y0
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
