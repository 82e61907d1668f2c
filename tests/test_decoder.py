"""Laws of decoders."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from laws import (
    DECODERS,
    GRAPH,
    SCMS,
    N,
    batch_jacobian,
    default_dtype,
    drawn_flow,
    drawn_residual,
    finite_gradients,
    generator,
    normal,
    points,
    randomised,
)

import lcm
from lcm.base.component import describe
from lcm.model.circle import wrap_circles
from lcm.model.decoder import (
    ChainDecoder,
    Decoder,
    EmbeddingDecoder,
    FlowDecoder,
    LinearDecoder,
    MixingDecoder,
    ResidualDecoder,
    RotationDecoder,
    SolutionDecoder,
    build_decoder,
)
from lcm.model.elementwise import SplineMap

pytestmark = pytest.mark.usefixtures("float64")
every_decoder = pytest.mark.parametrize("name", DECODERS)


def log_volume(jacobian: torch.Tensor) -> torch.Tensor:
    """½ log det(JᵀJ) (N,) of Jacobians (N, d, n)."""
    if jacobian.shape[1] == jacobian.shape[2]:
        return torch.linalg.slogdet(jacobian)[1]
    return 0.5 * torch.linalg.slogdet(jacobian.transpose(1, 2) @ jacobian)[1]


@every_decoder
def test_inverse_undoes_forward(name: str) -> None:
    decoder = DECODERS[name]()
    z = points(decoder.circular, 50, scale=3.0)
    x, log_det = decoder(z)
    returned, log_inverse = decoder.inverse(x)
    assert x.shape == (50, decoder.d) and log_det.shape == (50,)
    assert torch.allclose(returned, z, atol=1e-8)
    assert torch.allclose(log_inverse, -log_det, atol=1e-7)


@every_decoder
def test_forward_undoes_inverse_on_the_image(name: str) -> None:
    decoder = DECODERS[name]()
    x = normal(50, decoder.d, scale=2.0)
    projected = decoder(decoder.inverse(x)[0])[0]
    assert torch.allclose(decoder(decoder.inverse(projected)[0])[0], projected, atol=1e-8)
    if decoder.d == decoder.n:
        # a square map of circles is onto circles
        assert torch.allclose(projected, wrap_circles(x, decoder.circular), atol=1e-8)


@every_decoder
def test_values_alone_are_those_beside_the_log_determinants(name: str) -> None:
    decoder = DECODERS[name]()
    x = decoder(points(decoder.circular, 20))[0]
    assert torch.allclose(decoder.encode(x), decoder.inverse(x)[0], atol=1e-12)
    z = decoder.encode(x)
    assert torch.allclose(decoder.decode(z), decoder(z)[0], atol=1e-12)


@every_decoder
def test_log_determinant_is_that_of_the_jacobian(name: str) -> None:
    decoder = DECODERS[name]()
    z = normal(50, decoder.n, scale=2.0)
    jacobian = batch_jacobian(lambda rows: decoder(rows)[0], z)
    assert torch.allclose(log_volume(jacobian), decoder(z)[1], atol=1e-7)


@pytest.mark.parametrize("name", [name for name in DECODERS if DECODERS[name]().d == DECODERS[name]().n])
def test_log_determinant_of_the_inverse_is_that_of_its_jacobian(name: str) -> None:
    decoder = DECODERS[name]()
    x = normal(50, decoder.d, scale=2.0)
    jacobian = batch_jacobian(lambda rows: decoder.inverse(rows)[0], x)
    assert torch.allclose(log_volume(jacobian), decoder.inverse(x)[1], atol=1e-7)


@every_decoder
def test_gradients_are_finite_far_out(name: str) -> None:
    decoder = DECODERS[name]()
    scales = torch.tensor([0.0, 1.0, 100.0]).unsqueeze(1)
    z = (scales * normal(3, decoder.n)).requires_grad_()
    x = (scales * normal(3, decoder.d)).requires_grad_()
    for apply, inputs in ((decoder, z), (decoder.inverse, x)):
        values, log_det = apply(inputs)
        assert bool(values.isfinite().all() & log_det.isfinite().all())
        # the volume of a linear map does not depend on its inputs
        assert finite_gradients(values.sum() + log_det.sum(), inputs, decoder)


@every_decoder
def test_nan_stays_in_its_row_and_empty_batches_work(name: str) -> None:
    decoder = DECODERS[name]()
    for apply, width, other in ((decoder, decoder.n, decoder.d), (decoder.inverse, decoder.d, decoder.n)):
        values = normal(4, width)
        values[2] = torch.nan
        result, log_det = apply(values)
        assert torch.equal(result.isnan().all(1), torch.arange(4) == 2)
        assert bool(result[[0, 1, 3]].isfinite().all() & log_det[[0, 1, 3]].isfinite().all())
        empty, log_empty = apply(torch.zeros(0, width))
        assert empty.shape == (0, other) and log_empty.shape == (0,)


@every_decoder
def test_float32_round_trip(name: str) -> None:
    with default_dtype(torch.float32):
        decoder = DECODERS[name]()
        z = points(decoder.circular, 50)
        x, log_det = decoder(z)
        returned = decoder.inverse(x)[0]
        again = decoder(returned)[0]
    assert x.dtype == log_det.dtype == returned.dtype == torch.float32
    assert torch.allclose(again, x, atol=1e-4)
    # a strong flow is so flat in places that float32 cannot tell the z of equal x apart
    assert name == "flow-strong" or torch.allclose(returned, z, atol=2e-3)


# the SCM of a solution decoder belongs to its model and moves with that: tests/test_model.py
@pytest.mark.parametrize("name", [name for name in DECODERS if name != "solution"])
def test_a_decoder_in_double_works_whatever_the_default_precision(name: str) -> None:
    with default_dtype(torch.float32):
        decoder = DECODERS[name]().double()
        z = torch.randn(5, decoder.n, generator=generator(), dtype=torch.float64)
        x, log_det = decoder(z)
        assert x.dtype == log_det.dtype == decoder.inverse(x)[0].dtype == torch.float64


@every_decoder
def test_drawing_is_seeded(name: str) -> None:
    first, second = DECODERS[name](), DECODERS[name]()
    z = normal(5, first.n)
    assert torch.equal(first(z)[0], second(z)[0])


@every_decoder
def test_rebuilds_from_its_description(name: str) -> None:
    decoder, scm = DECODERS[name](), SCMS["location-scale-skewed"](GRAPH)
    rebuilt = build_decoder(describe(decoder), scm)
    rebuilt.load_state_dict(decoder.state_dict())
    z = normal(5, decoder.n)
    assert torch.equal(rebuilt(z)[0], decoder(z)[0])


def test_rotation_is_proper_and_orthonormal() -> None:
    for seed in range(5):
        matrix = randomised(RotationDecoder(5, generator(seed)), seed=seed).matrix().detach()
        assert torch.allclose(matrix @ matrix.T, torch.eye(5), atol=1e-12)
        assert torch.linalg.det(matrix) == pytest.approx(1.0)
    first, second = (RotationDecoder(5, generator(seed)).base for seed in (0, 1))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("n", [1, 2])
def test_rotations_of_few_dimensions(n: int) -> None:
    matrix = RotationDecoder(n, generator()).matrix().detach()
    assert torch.linalg.det(matrix) == pytest.approx(1.0)


def test_linear_decoder_starts_at_its_matrix_and_keeps_its_determinants_sign() -> None:
    matrix = normal(N, N)
    decoder = LinearDecoder(N, matrix)
    assert torch.allclose(decoder.matrix(), matrix)
    moved = randomised(decoder).matrix()
    assert torch.sign(torch.linalg.det(moved)) == torch.sign(torch.linalg.det(matrix))


def test_embedding_keeps_distances_and_projects_onto_its_image() -> None:
    decoder = EmbeddingDecoder(3, 7, generator())
    z, x = normal(20, 3), normal(20, 7)
    assert torch.allclose(torch.cdist(decoder(z)[0], decoder(z)[0]), torch.cdist(z, z), atol=1e-7)
    projected = decoder(decoder.inverse(x)[0])[0]
    # the residual of an orthogonal projection is orthogonal to the image
    assert torch.allclose((x - projected) @ decoder.basis, torch.zeros(20, 3), atol=1e-12)
    assert not torch.allclose(projected, x)


def test_a_chain_with_an_embedding_projects_orthogonally() -> None:
    embedding, x = EmbeddingDecoder(N, N + 2, generator()), normal(20, N + 2)
    decoder = ChainDecoder([drawn_flow(N, "spline"), embedding])
    residual = x - decoder(decoder.inverse(x)[0])[0]
    assert torch.allclose(residual @ embedding.basis, torch.zeros(20, N), atol=1e-8)


@pytest.mark.parametrize("coupling", ["affine", "spline"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_new_flow_is_the_identity(n: int, coupling: str) -> None:
    flow, z = FlowDecoder(n, coupling), normal(20, n, scale=3.0)  # type: ignore[arg-type]
    for apply in (flow, flow.inverse):
        values, log_det = apply(z)
        assert torch.allclose(values, z, atol=1e-12)
        assert torch.allclose(log_det, torch.zeros(20), atol=1e-12)


def test_the_strength_of_a_drawn_flow_is_its_distance_from_the_identity() -> None:
    z = normal(200, N)

    def distance(strength: float) -> float:
        flow = FlowDecoder(N)
        flow.draw_weights(generator(), strength)
        return float((flow(z)[0] - z).detach().abs().mean())

    assert distance(0.0) < 1e-12 < distance(0.1) < distance(1.0)


def test_drawn_conditioners_are_seeded_and_leave_the_identity() -> None:
    flows = [FlowDecoder(N) for _ in range(2)]
    for flow in flows:
        flow.draw_conditioners(generator(3))
    first, second = (flow.state_dict() for flow in flows)
    assert all(torch.equal(first[key], second[key]) for key in first)
    z = normal(20, N)
    assert torch.allclose(flows[0](z)[0], z, atol=1e-12)


def test_every_coordinate_of_a_flow_depends_on_every_variable() -> None:
    jacobian = batch_jacobian(lambda rows: drawn_flow(N, "spline")(rows)[0], normal(20, N))
    assert bool((jacobian.abs().amax(0) > 1e-3).all())


@pytest.mark.parametrize("monotone", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_new_residual_flow_is_the_identity(n: int, monotone: bool) -> None:
    flow, z = ResidualDecoder(n, monotone=monotone), normal(20, n, scale=3.0)
    for apply in (flow, flow.inverse):
        values, log_det = apply(z)
        assert torch.allclose(values, z, atol=1e-12)
        assert torch.allclose(log_det, torch.zeros(20), atol=1e-12)


@pytest.mark.parametrize("monotone", [False, True])
def test_a_residual_flow_trains_from_the_identity(monotone: bool) -> None:
    flow, x = ResidualDecoder(3, monotone=monotone), normal(50, 3)
    z, log_det = flow.inverse(x)
    (z.pow(3).sum() + log_det.sum()).backward()
    gradients = {name: parameter.grad for name, parameter in flow.named_parameters()}
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients.values())
    assert float(gradients["outer"].abs().max()) > 0.0  # type: ignore[union-attr]
    assert not monotone or float(gradients["root_gain"].abs().min()) > 0.0  # type: ignore[union-attr]


@pytest.mark.parametrize("strength", [0.1, 1.0, 100.0])
def test_each_residual_block_keeps_its_lipschitz_constant_whatever_its_weights(strength: float) -> None:
    flow = ResidualDecoder(N, blocks=4, hidden=16, lipschitz=0.8)
    flow.draw_weights(generator(), strength)
    norms = torch.linalg.matrix_norm(flow.inner, 2) * torch.linalg.matrix_norm(flow._outer(), 2)
    assert bool((norms <= 0.8 + 1e-9).all())
    assert bool((norms > 0.8 - 1e-9).all()) or strength < 100.0
    steepest = batch_jacobian(lambda rows: flow.inverse(rows)[0], normal(50, N))
    assert bool((torch.linalg.svdvals(steepest) <= 1.8**4 + 1e-9).all())
    assert bool((torch.linalg.svdvals(steepest) >= 0.2**4 - 1e-9).all())


@pytest.mark.parametrize("gain", [0.5, 5.0])
def test_monotone_blocks_stretch_without_bound_and_shrink_no_further_than_others(gain: float) -> None:
    flow = drawn_residual(N, strength=20.0, gain=gain)
    flow.marginal = SplineMap(N)
    steepest = torch.linalg.svdvals(batch_jacobian(lambda rows: flow.inverse(rows)[0], normal(50, N)))
    assert bool((steepest >= 0.1**3 - 1e-9).all())
    assert bool((steepest > 1.9**3).any())


@pytest.mark.parametrize("gain", [None, 1.0])
def test_a_residual_flow_inverts_far_from_the_data_in_float32(gain: float | None) -> None:
    flow = drawn_residual(N, strength=20.0, gain=gain).float()
    z = normal(200, N, scale=30.0).float()
    assert torch.allclose(flow.inverse(flow(z)[0])[0], z, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("gain", [None, 0.7])
def test_a_deepened_residual_flow_is_the_same_map_and_all_its_blocks_train(gain: float | None) -> None:
    flow, x = drawn_residual(N, gain=gain), normal(30, N)
    chain = ChainDecoder([flow, LinearDecoder(N, normal(N, N))])
    deeper = chain.deepened(generator(3))
    assert [part.settings() for part in deeper.parts] == [  # type: ignore[operator]
        flow.settings() | {"blocks": 6},
        chain.parts[1].settings(),  # type: ignore[operator]
    ]
    for found, expected in zip(deeper.inverse(x), chain.inverse(x), strict=True):
        assert torch.allclose(found, expected, atol=1e-12)
    z, log_det = deeper.inverse(x)
    (z.pow(3).sum() + log_det.sum()).backward()
    assert bool((deeper.parts[0].outer.grad.abs().amax((1, 2)) > 0.0).all())  # type: ignore[union-attr]


def test_other_decoders_have_no_more_layers_to_add() -> None:
    flow = drawn_flow(N, "spline")
    assert flow.deepened(generator()) is flow


@pytest.mark.parametrize("lipschitz", [0.0, 1.0, math.nan])
def test_a_lipschitz_constant_out_of_range_is_an_error(lipschitz: float) -> None:
    with pytest.raises(ValueError, match=rf"Expected a Lipschitz constant strictly between 0 and 1; got {lipschitz}"):
        ResidualDecoder(2, lipschitz=lipschitz)


def test_mixing_is_linear_at_strength_zero_and_conditioned_as_asked() -> None:
    z = normal(20, N)
    linear = MixingDecoder(N, layers=1, strength=0.0, condition=9.0, generator=generator())
    assert torch.allclose(linear(2.0 * z)[0], 2.0 * linear(z)[0])
    singular_values = torch.linalg.svdvals(linear.matrices[0])
    assert bool(((singular_values >= 1.0 / 3.0) & (singular_values <= 3.0)).all())
    strong = MixingDecoder(N, layers=1, strength=0.9, condition=9.0, generator=generator())
    assert not torch.allclose(strong(2.0 * z)[0], 2.0 * strong(z)[0], atol=0.1)


def test_mixing_inverts_to_the_floating_point_limit_at_extreme_strength() -> None:
    decoder = MixingDecoder(1, layers=1, strength=0.999)
    x = torch.linspace(-5.0, 5.0, 2001).unsqueeze(1)
    assert torch.allclose(decoder(decoder.inverse(x)[0])[0], x, atol=1e-14)


def test_nflows_is_imported_in_one_file_alone() -> None:
    root = Path(lcm.__file__).parent
    importing = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if re.search(r"^\s*(import|from)\s+nflows", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert importing == {"model/decoder/flow.py"}


@pytest.mark.parametrize("strength", [-0.1, 1.0, math.nan])
def test_a_mixing_strength_out_of_range_is_an_error(strength: float) -> None:
    with pytest.raises(ValueError, match=rf"Expected a mixing strength in \[0, 1\); got {strength}"):
        MixingDecoder(2, strength=strength)


def test_a_condition_number_below_one_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Expected a condition number of at least 1; got 0\.5"):
        MixingDecoder(2, condition=0.5)


def test_an_unknown_coupling_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected a coupling of affine or spline; got 'cubic'"):
        FlowDecoder(2, "cubic")  # type: ignore[arg-type]


def test_a_singular_matrix_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected an invertible matrix for a linear decoder; got a singular"):
        LinearDecoder(2, torch.ones(2, 2))


def test_an_embedding_into_fewer_dimensions_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected an embedding into at least n = 3 dimensions; got 2"):
        EmbeddingDecoder(3, 2)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "Expected at least one decoder in the chain; got none"),
        (
            [EmbeddingDecoder(2, 3), RotationDecoder(3)],
            r"Expected an embedding \(2 to 3\) last in the chain; got it earlier",
        ),
        (
            [RotationDecoder(2), RotationDecoder(3)],
            "Expected a decoder of 2 inputs next in the chain; got 3",
        ),
    ],
)
def test_a_chain_that_does_not_fit_is_an_error(parts: list[Decoder], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChainDecoder(parts)


def test_a_noise_decoder_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expected a noise decoder of 4 variables; got 3"):
        SolutionDecoder(RotationDecoder(3), SCMS["linear-normal"](GRAPH))
