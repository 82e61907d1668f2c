"""Gradients written by hand, of residual blocks and of splines, beside those of automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from laws import generator
from test_learn_noise_encoder import CONFIG, implicit_model, prepared_of
from torch import Tensor
from torch.func import jvp, vmap

from lcm.learn.noise_encoder_objective import NoiseEncoderObjective
from lcm.model import rational_quadratic as splines
from lcm.model.decoder import ChainDecoder, LinearDecoder, ResidualDecoder, residual
from lcm.model.decoder.residual_blocks import through_blocks

ROWS = 50
PRECISION = {torch.float32: 1e-5, torch.float64: 1e-12}


def plain_blocks(
    value: Tensor, inner: Tensor, bias: Tensor, outer: Tensor, measured: int | None = None
) -> tuple[Tensor, Tensor]:
    """The blocks as in their formula, one Jacobian per row and its determinant by LAPACK."""
    log_det = value.new_zeros(len(value))
    for first, shift, last in zip(inner, bias, outer, strict=True):
        hidden = torch.tanh(value @ first.T + shift)
        slope = torch.einsum("ih,bh,hj->bij", last, 1.0 - hidden.square(), first)
        log_det = log_det + torch.linalg.slogdet(torch.eye(value.shape[1], dtype=value.dtype) + slope)[1]
        value = value + hidden @ last.T
    return value, log_det[:measured]


def plain_spline(inputs: Tensor, raw: Tensor, bound: float, inverse: bool = False) -> tuple[Tensor, Tensor]:
    """A spline with the parameters of its column at every value, which takes the path of automatic differentiation."""
    return splines.monotone_spline(inputs, raw.expand(*inputs.shape, raw.shape[-1]), bound, inverse)


def block_parameters(n: int, dtype: torch.dtype, members: int = 1) -> list[Tensor]:
    """A, b and B of three random blocks of width 7 with ‖A‖ ‖B‖ below one, for each of some members."""
    draw = generator(3)
    inner, bias, outer = (
        torch.randn(members, 3, *shape, generator=draw, dtype=dtype) for shape in ((7, n), (7,), (n, 7))
    )
    norms = torch.linalg.matrix_norm(inner, 2) * torch.linalg.matrix_norm(outer, 2)
    parts = [inner, 0.5 * bias, 0.85 * outer / norms[..., None, None]]
    return [part.requires_grad_() for part in parts]


def with_gradients(function: Callable[..., tuple[Tensor, Tensor]], inputs: list[Tensor]) -> list[Tensor]:
    """The two results of a function, and the gradients of a sum that weights all their entries differently."""
    found = function(*inputs)
    weights = [torch.cos(torch.arange(part.numel(), dtype=part.dtype)).view_as(part) for part in found]
    total = sum((weight * part * part.detach().cos()).sum() for weight, part in zip(weights, found, strict=True))
    assert isinstance(total, Tensor)
    return [*found, *torch.autograd.grad(total, inputs)]


def assert_near(found: list[Tensor], expected: list[Tensor], precision: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert float((one - other).detach().abs().max()) <= precision * (1.0 + float(other.detach().abs().max()))


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("n", [1, 2, 4, 11])
def test_blocks_equal_their_formula(n: int, dtype: torch.dtype) -> None:
    value = torch.randn(ROWS, n, generator=generator(1), dtype=dtype).requires_grad_()
    inputs = [value, *(part[0].detach().requires_grad_() for part in block_parameters(n, dtype))]
    assert_near(with_gradients(through_blocks, inputs), with_gradients(plain_blocks, inputs), PRECISION[dtype])


def test_blocks_of_many_rows_are_inverted_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    value = torch.randn(ROWS, 4, generator=generator(1), dtype=torch.float64).requires_grad_()
    inputs = [value, *(part[0].detach().requires_grad_() for part in block_parameters(4, torch.float64))]
    expected = with_gradients(plain_blocks, inputs)
    for entries in (1, 2 * ROWS * 16):
        monkeypatch.setattr("lcm.model.decoder.residual_blocks._ENTRIES_AT_ONCE", entries)
        assert_near(with_gradients(through_blocks, inputs), expected, 1e-12)


@pytest.mark.parametrize("measured", [1, 17, ROWS])
def test_log_determinants_of_the_first_rows_are_theirs(measured: int) -> None:
    value = torch.randn(ROWS, 5, generator=generator(1), dtype=torch.float64).requires_grad_()
    inputs = [value, *(part[0].detach().requires_grad_() for part in block_parameters(5, torch.float64))]
    found, expected = (
        with_gradients(lambda *parts, blocks=blocks: blocks(*parts, measured), inputs)
        for blocks in (through_blocks, plain_blocks)
    )
    assert len(found[1]) == measured
    assert_near(found, expected, 1e-12)


def test_only_one_result_may_have_a_gradient() -> None:
    value = torch.randn(ROWS, 3, generator=generator(1), dtype=torch.float64).requires_grad_()
    inputs = [value, *(part[0].detach().requires_grad_() for part in block_parameters(3, torch.float64))]
    for chosen in (0, 1):
        both = [
            torch.autograd.grad(blocks(*inputs)[chosen].sum(), inputs[:2]) for blocks in (through_blocks, plain_blocks)
        ]
        assert_near(list(both[0]), list(both[1]), 1e-12)


@pytest.mark.parametrize("measured", [None, 9])
@pytest.mark.parametrize("shared", [False, True])
def test_blocks_of_several_members_equal_each_alone(shared: bool, measured: int | None) -> None:
    parts = block_parameters(3, torch.float64, members=4)
    value = torch.randn(4, ROWS, 3, generator=generator(2), dtype=torch.float64).requires_grad_()
    rows = value[0] if shared else value

    def together(value: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
        blocks = partial(through_blocks, measured=measured)
        found: tuple[Tensor, Tensor] = vmap(blocks, in_dims=(None if shared else 0, 0, 0, 0))(value, *parts)
        return found

    def apart(value: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
        each = [plain_blocks(value if shared else value[k], *(part[k] for part in parts), measured) for k in range(4)]
        values, log_dets = zip(*each, strict=True)
        return torch.stack(values), torch.stack(log_dets)

    inputs = [rows.detach().requires_grad_(), *parts]
    assert_near(with_gradients(together, inputs), with_gradients(apart, inputs), 1e-12)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize(("bins", "scale"), [(1, 1.0), (3, 3.0), (8, 1.0)])
def test_splines_of_columns_equal_their_formula(bins: int, scale: float, dtype: torch.dtype, inverse: bool) -> None:
    raw = (scale * torch.randn(3, splines.parameter_count(bins), generator=generator(1), dtype=dtype)).requires_grad_()
    # inside and outside the knots, which end at 2
    values = (2.0 * torch.randn(ROWS, 3, generator=generator(2), dtype=dtype)).requires_grad_()
    found, expected = (
        with_gradients(lambda v, r, spline=spline: spline(v, r, 2.0, inverse), [values, raw])
        for spline in (splines.monotone_spline, plain_spline)
    )
    assert_near(found, expected, 30.0 * PRECISION[dtype])


@pytest.mark.parametrize("inverse", [False, True])
def test_splines_of_columns_have_forward_derivatives(inverse: bool) -> None:
    raw = torch.randn(3, splines.parameter_count(4), generator=generator(1), dtype=torch.float64)
    values = 2.0 * torch.randn(ROWS, 3, generator=generator(2), dtype=torch.float64)
    direction = torch.cos(values), torch.sin(raw)
    found, expected = (
        jvp(lambda v, r, spline=spline: spline(v, r, 2.0, inverse), (values, raw), direction)[1]
        for spline in (splines.monotone_spline, plain_spline)
    )
    assert_near(list(found), list(expected), 1e-10)


@pytest.mark.parametrize("batched", [(0, 0), (0, None), (None, 0)])
def test_splines_of_several_members_equal_each_alone(batched: tuple[int | None, int | None]) -> None:
    raw = torch.randn(4, 3, splines.parameter_count(4), generator=generator(1), dtype=torch.float64)
    values = 2.0 * torch.randn(4, ROWS, 3, generator=generator(2), dtype=torch.float64)
    inputs = [part if dim == 0 else part[0] for part, dim in zip((values, raw), batched, strict=True)]

    def together(values: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = vmap(lambda v, r: splines.monotone_spline(v, r, 2.0), in_dims=batched)(
            values, raw
        )
        return found

    def apart(values: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        rows = [
            [part[k] if dim == 0 else part for part, dim in zip((values, raw), batched, strict=True)] for k in range(4)
        ]
        outputs, logs = zip(*(plain_spline(*row, 2.0) for row in rows), strict=True)
        return torch.stack(outputs), torch.stack(logs)

    inputs = [part.requires_grad_() for part in inputs]
    assert_near(with_gradients(together, inputs), with_gradients(apart, inputs), 1e-10)


def test_a_step_has_the_loss_and_gradients_of_automatic_differentiation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = implicit_model([(0, 2), (1, 2)], family="atomic-or-empty")
    flow, prepared = ResidualDecoder(4), prepared_of(model)
    flow.draw_weights(generator(5), strength=0.7)
    model.noise_decoder = ChainDecoder([flow, LinearDecoder(4)])
    objective = NoiseEncoderObjective(model.requires_grad_(True), prepared, CONFIG, torch.Generator())
    batch = objective.batch(torch.arange(ROWS))

    before = {name: value.clone() for name, value in objective.state_dict().items()}

    def loss_and_gradients() -> list[Tensor]:
        objective.load_state_dict(before)
        loss = objective.loss(batch, 0.5)
        parameters = [part for part in objective.parameters() if part.numel()]
        return [loss, *torch.autograd.grad(loss, parameters)]

    found = loss_and_gradients()
    monkeypatch.setattr(residual, "through_blocks", plain_blocks)
    monkeypatch.setattr("lcm.model.elementwise.monotone_spline", plain_spline)
    assert_near(found, loss_and_gradients(), 1e-5)


def test_a_share_of_log_determinants_is_right_on_average() -> None:
    parts, rows = 4, 24
    flow = ResidualDecoder(6, blocks=2)
    flow.draw_weights(generator(5), strength=0.7)
    implicit = implicit_model([])
    implicit.noise_decoder = ChainDecoder([flow, LinearDecoder(6)])
    implicit.width = torch.ones(2)
    x, x_tilde = torch.randn(2, rows, 6, generator=generator(1))

    def mean_and_gradients(measured: int | None, shift: int) -> list[Tensor]:
        flow.zero_grad()
        pairs = implicit.encode_pairs(x.roll(shift, 0), x_tilde.roll(shift, 0), measured)
        mean = pairs.log_det.mean()
        mean.backward()
        unrolled = pairs.normal.roll(-shift, 0), pairs.normal_tilde.roll(-shift, 0), pairs.across.roll(-shift, 0)
        return [mean.detach(), *(part.grad for part in (flow.inner, flow.outer)), *unrolled]  # type: ignore[list-item]

    assert implicit.noise_decoder.measured_share < 1.0 == ResidualDecoder(2).measured_share
    each = [mean_and_gradients(rows // parts, k * rows // parts) for k in range(parts)]
    averaged = [sum(same) / parts for same in zip(*each, strict=True)]
    assert_near(averaged, mean_and_gradients(None, 0), 1e-5)
    assert float(torch.stack([one[0] for one in each]).std()) > 1e-3
