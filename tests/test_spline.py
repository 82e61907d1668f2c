"""Laws of the monotone rational-quadratic spline."""

from __future__ import annotations

import pytest
import torch
from laws import batch_jacobian, default_dtype, normal
from torch import Tensor

from lcm.model.rational_quadratic import monotone_spline, parameter_count

pytestmark = pytest.mark.usefixtures("float64")

BOUND = 3.0
BINS = (1, 2, 8)
SCALES = (0.3, 2.0, 10.0)
DIRECTIONS = (False, True)


def raw_parameters(bins: int, scale: float, *batch: int) -> Tensor:
    return normal(*batch, parameter_count(bins), seed=5, scale=scale)


def wide_inputs(n: int = 400) -> Tensor:
    """Values inside and outside the knots."""
    return torch.linspace(-2.0 * BOUND, 2.0 * BOUND, n)


@pytest.mark.parametrize("inverse", DIRECTIONS)
@pytest.mark.parametrize("bins", BINS)
def test_zero_parameters_are_the_identity(bins: int, inverse: bool) -> None:
    inputs = wide_inputs()
    outputs, log_derivative = monotone_spline(inputs, torch.zeros(parameter_count(bins)), BOUND, inverse)
    assert torch.allclose(outputs, inputs, atol=1e-12)
    assert torch.allclose(log_derivative, torch.zeros_like(inputs), atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("bins", BINS)
def test_inverse_undoes_forward(bins: int, scale: float) -> None:
    inputs, raw = wide_inputs(), raw_parameters(bins, scale, 400)
    outputs, log_derivative = monotone_spline(inputs, raw, BOUND)
    returned, log_inverse = monotone_spline(outputs, raw, BOUND, inverse=True)
    assert torch.allclose(returned, inputs, atol=1e-7)
    assert torch.allclose(log_inverse, -log_derivative, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("bins", BINS)
def test_forward_undoes_inverse(bins: int, scale: float) -> None:
    inputs, raw = wide_inputs(), raw_parameters(bins, scale, 400)
    preimages, log_inverse = monotone_spline(inputs, raw, BOUND, inverse=True)
    returned, log_derivative = monotone_spline(preimages, raw, BOUND)
    assert torch.allclose(returned, inputs, atol=1e-10)
    assert torch.allclose(log_inverse, -log_derivative, atol=1e-6)


@pytest.mark.parametrize("inverse", DIRECTIONS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("bins", BINS)
def test_log_derivative_is_that_of_autograd(bins: int, scale: float, inverse: bool) -> None:
    inputs, raw = wide_inputs().unsqueeze(1), raw_parameters(bins, scale, 400, 1)
    derivative = batch_jacobian(lambda rows: monotone_spline(rows, raw, BOUND, inverse)[0], inputs).squeeze()
    log_derivative = monotone_spline(inputs, raw, BOUND, inverse)[1].squeeze()
    assert bool((derivative > 0).all())
    assert torch.allclose(derivative.log(), log_derivative, atol=1e-6)


@pytest.mark.parametrize("inverse", DIRECTIONS)
def test_outputs_increase(inverse: bool) -> None:
    outputs = monotone_spline(wide_inputs(2000), raw_parameters(8, 2.0), BOUND, inverse)[0]
    assert bool((outputs.diff() > 0).all())


@pytest.mark.parametrize("inverse", DIRECTIONS)
def test_ends_are_fixed_points_and_tails_linear_with_the_slope_there(inverse: bool) -> None:
    raw = raw_parameters(8, 2.0)
    for end in (-BOUND, BOUND):
        inputs = end * torch.tensor([1.0 - 1e-9, 1.0, 1.0 + 1e-9, 2.0, 3.0])
        outputs, log_derivative = monotone_spline(inputs, raw, BOUND, inverse)
        assert torch.allclose(outputs[:3], torch.full((3,), end), atol=1e-6)
        assert torch.allclose(log_derivative, log_derivative[2].expand(5), atol=1e-5)
        assert torch.allclose((outputs[4] - outputs[3]) / end, log_derivative[2].exp())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inverse", DIRECTIONS)
def test_gradients_are_finite_far_outside_and_at_large_parameters(inverse: bool, dtype: torch.dtype) -> None:
    with default_dtype(dtype):
        inputs = torch.cat([wide_inputs(), torch.tensor([-1e6, -BOUND, 0.0, BOUND, 1e6])]).requires_grad_()
        for scale in (1.0, 30.0, 1000.0):
            raw = raw_parameters(8, scale, len(inputs)).requires_grad_()
            outputs, log_derivative = monotone_spline(inputs, raw, BOUND, inverse)
            assert bool(outputs.isfinite().all() & log_derivative.isfinite().all())
            gradients = torch.autograd.grad((outputs + log_derivative).sum(), [inputs, raw])
            assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("inverse", DIRECTIONS)
def test_nan_comes_out_where_it_went_in(inverse: bool) -> None:
    inputs = wide_inputs()
    inputs[[3, 200]] = torch.nan
    outputs, log_derivative = monotone_spline(inputs, raw_parameters(8, 1.0), BOUND, inverse)
    assert torch.equal(outputs.isnan(), inputs.isnan())
    assert bool(log_derivative[200].isnan())


@pytest.mark.parametrize("inverse", DIRECTIONS)
def test_empty_batch(inverse: bool) -> None:
    outputs, log_derivative = monotone_spline(torch.zeros(0, 4), raw_parameters(8, 1.0, 4), BOUND, inverse)
    assert outputs.shape == log_derivative.shape == (0, 4)


def test_parameters_broadcast_against_inputs() -> None:
    inputs, raw = normal(20, 4, scale=2.0), raw_parameters(8, 1.0, 4)
    broadcast = monotone_spline(inputs, raw, BOUND)
    for column in range(4):
        single = monotone_spline(inputs[:, column], raw[column], BOUND)
        assert torch.allclose(broadcast[0][:, column], single[0])
        assert torch.allclose(broadcast[1][:, column], single[1])


@pytest.mark.parametrize("inverse", DIRECTIONS)
def test_no_branch_depends_on_the_data(inverse: bool) -> None:
    inputs, raw = wide_inputs(), raw_parameters(8, 1.0, 400)
    # vmap refuses whatever reads an element back to Python
    mapped = torch.vmap(lambda x, r: monotone_spline(x, r, BOUND, inverse))(inputs, raw)
    direct = monotone_spline(inputs, raw, BOUND, inverse)
    assert torch.allclose(mapped[0], direct[0]) and torch.allclose(mapped[1], direct[1])


def test_float32_round_trip() -> None:
    with default_dtype(torch.float32):
        inputs, raw = wide_inputs(), raw_parameters(8, 1.0, 400)
        preimages = monotone_spline(inputs, raw, BOUND, inverse=True)[0]
        returned = monotone_spline(preimages, raw, BOUND)[0]
    assert returned.dtype == torch.float32
    assert torch.allclose(returned, inputs, atol=2e-5)
