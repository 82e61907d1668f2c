"""Laws of elementwise maps."""

from __future__ import annotations

import pytest
import torch
from laws import (
    ELEMENTWISE_MAPS,
    N,
    batch_jacobian,
    default_dtype,
    finite_gradients,
    normal,
)

from lcm.base.component import describe
from lcm.model.elementwise import AffineMap, ElementwiseMap, KnotMap, Relabelling, SplineMap

pytestmark = pytest.mark.usefixtures("float64")
every_map = pytest.mark.parametrize("name", ELEMENTWISE_MAPS)


@every_map
def test_round_trips(name: str) -> None:
    elementwise, values = ELEMENTWISE_MAPS[name](), normal(50, N, scale=3.0)
    image, log_derivative = elementwise(values)
    returned, log_inverse = elementwise.inverse(image)
    assert torch.allclose(returned, values, atol=1e-9)
    assert torch.allclose(log_inverse, -log_derivative, atol=1e-8)
    assert torch.allclose(elementwise(elementwise.inverse(values)[0])[0], values, atol=1e-9)


@every_map
def test_jacobian_is_diagonal_with_the_stated_log_derivative(name: str) -> None:
    elementwise, values = ELEMENTWISE_MAPS[name](), normal(50, N, scale=3.0)
    jacobian = batch_jacobian(lambda rows: elementwise(rows)[0], values)
    diagonal = torch.diagonal(jacobian, dim1=1, dim2=2)
    assert torch.equal(jacobian, torch.diag_embed(diagonal))
    assert torch.allclose(diagonal.abs().log(), elementwise(values)[1], atol=1e-8)


@every_map
def test_each_map_is_strictly_monotone(name: str) -> None:
    grid = torch.linspace(-10.0, 10.0, 500).unsqueeze(1).expand(500, N)
    rises = ELEMENTWISE_MAPS[name]()(grid)[0].diff(dim=0) > 0
    falling = torch.tensor(["negative" in name and i % 2 == 0 for i in range(N)])
    assert torch.equal(rises, ~falling.expand(499, N))


@every_map
def test_variables_select_columns(name: str) -> None:
    elementwise, values, variables = ELEMENTWISE_MAPS[name](), normal(50, N), torch.tensor([3, 1])
    for apply in (elementwise, elementwise.inverse):
        for part, full in zip(apply(values[:, variables], variables), apply(values), strict=True):
            assert torch.allclose(part, full[:, variables], rtol=1e-12)


@every_map
def test_gradients_are_finite_far_out(name: str) -> None:
    elementwise = ELEMENTWISE_MAPS[name]()
    values = torch.tensor([-1e6, -10.0, 0.0, 1e6]).unsqueeze(1).expand(4, N).clone().requires_grad_()
    for apply in (elementwise, elementwise.inverse):
        image, log_derivative = apply(values)
        assert finite_gradients(image + log_derivative, values, elementwise)


@every_map
def test_nan_and_empty_batches(name: str) -> None:
    elementwise, values = ELEMENTWISE_MAPS[name](), normal(5, N)
    values[2, 1] = torch.nan
    for apply in (elementwise, elementwise.inverse):
        assert torch.equal(apply(values)[0].isnan(), values.isnan())
        assert apply(torch.zeros(0, N))[0].shape == apply(torch.zeros(0, N))[1].shape == (0, N)


@every_map
def test_rebuilds_from_its_description(name: str) -> None:
    elementwise, values = ELEMENTWISE_MAPS[name](), normal(5, N)
    rebuilt = ElementwiseMap.build(describe(elementwise))
    rebuilt.load_state_dict(elementwise.state_dict())
    assert torch.equal(rebuilt(values)[0], elementwise(values)[0])


@every_map
def test_float32_round_trip(name: str) -> None:
    with default_dtype(torch.float32):
        elementwise, values = ELEMENTWISE_MAPS[name](), normal(50, N, scale=3.0)
        returned = elementwise.inverse(elementwise(values)[0])[0]
    assert returned.dtype == torch.float32
    assert torch.allclose(returned, values, atol=1e-4)


@pytest.mark.parametrize("elementwise", [AffineMap(N), SplineMap(N)], ids=["affine", "spline"])
def test_starts_at_the_identity(elementwise: ElementwiseMap) -> None:
    values = normal(50, N, scale=3.0).float()
    image, log_derivative = elementwise(values)
    assert torch.allclose(image, values, atol=1e-5)
    assert torch.allclose(log_derivative, torch.zeros_like(values), atol=1e-5)


def test_a_knot_map_goes_through_its_knots() -> None:
    elementwise = ELEMENTWISE_MAPS["knots-negative"]()
    assert isinstance(elementwise, KnotMap)
    positions, values, slopes = (table.T for table in elementwise.tables.unbind(1))
    image, log_derivative = elementwise(positions)
    assert torch.allclose(image, elementwise.orientation * values, atol=1e-12)
    assert torch.allclose(log_derivative, slopes.log(), atol=1e-10)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_knots_that_do_not_increase_are_an_error(bad: int) -> None:
    tables = KnotMap(N, 5).tables.clone()
    tables[2, bad, 3] = -2.0
    with pytest.raises(ValueError, match="Expected knots that increase, with positive slopes"):
        KnotMap(N, 5, torch.ones(N), tables)


def test_labels_are_no_part_of_a_saved_state() -> None:
    # they are in the description of a model, and a tensor of the same name would be unknown to a reader
    assert list(Relabelling((1, 0)).state_dict()) == []
