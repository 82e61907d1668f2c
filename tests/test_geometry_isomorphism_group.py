"""The group of LCM isomorphisms acts on models: p(x, x̃) is invariant, and two in turn are their product."""

from __future__ import annotations

import pytest
import torch
from laws import BASE_MODELS, ISOMORPHISMS, N, default_dtype, generator, normal
from torch import Tensor

from lcm.geometry import IsomorphismGroup, check_axioms, invariance_violation, noise_action, variable_action
from lcm.isomorphism import Isomorphism
from lcm.model.latent_causal_model import LatentCausalModel

pytestmark = pytest.mark.usefixtures("float64")
every_model = pytest.mark.parametrize("name", BASE_MODELS)

GROUP = IsomorphismGroup(N)


def elements() -> tuple[Isomorphism, Isomorphism]:
    source = generator(11)
    return GROUP.sample(source), GROUP.sample(source)


def density(model: LatentCausalModel, x: Tensor, x_tilde: Tensor) -> Tensor:
    return model.pair_log_density(x, x_tilde).detach()


@every_model
def test_the_pair_density_is_invariant(name: str) -> None:
    model = BASE_MODELS[name]()
    pairs = model.sample_pairs(100, generator())
    expected = density(model, pairs.x, pairs.x_tilde)
    for element in elements():
        image = element.apply(model)
        assert torch.allclose(density(image, pairs.x, pairs.x_tilde), expected, atol=1e-7)
        # and where the model itself puts no mass
        shuffled = pairs.x.roll(1, 0)
        assert torch.allclose(
            density(image, shuffled, pairs.x_tilde), density(model, shuffled, pairs.x_tilde), rtol=1e-6
        )


@every_model
def test_two_in_turn_are_their_product(name: str) -> None:
    model, (a, b) = BASE_MODELS[name](), elements()
    in_turn, at_once = a.apply(b.apply(model)), GROUP.compose(a, b).apply(model)
    pairs = model.sample_pairs(50, generator())
    one, other = in_turn.encode(pairs.x), at_once.encode(pairs.x)
    assert torch.allclose(one.z, other.z, atol=1e-9)
    assert torch.allclose(one.noise, other.noise, atol=1e-9)
    assert in_turn.scm.graph == at_once.scm.graph
    assert torch.allclose(in_turn.thickness, at_once.thickness)
    found = density(at_once, pairs.x, pairs.x_tilde)
    assert torch.allclose(found, density(in_turn, pairs.x, pairs.x_tilde), atol=1e-8)
    posterior = at_once.target_posterior(pairs.x, pairs.x_tilde)
    assert torch.allclose(posterior, in_turn.target_posterior(pairs.x, pairs.x_tilde), atol=1e-8)


@every_model
def test_the_inverse_takes_a_model_back(name: str) -> None:
    model, (a, _) = BASE_MODELS[name](), elements()
    back = GROUP.inverse(a).apply(a.apply(model))
    pairs = model.sample_pairs(50, generator())
    found, expected = back.encode(pairs.x), model.encode(pairs.x)
    assert torch.allclose(found.z, expected.z, atol=1e-9)
    assert torch.allclose(found.noise, expected.noise, atol=1e-9)
    assert back.scm.graph == model.scm.graph
    unchanged = GROUP.identity().apply(model)
    assert torch.allclose(density(unchanged, pairs.x, pairs.x_tilde), density(model, pairs.x, pairs.x_tilde))


@every_model
def test_models_encode_by_the_action_on_variables_and_noise(name: str) -> None:
    model, (a, _) = BASE_MODELS[name](), elements()
    x = model.sample_pairs(50, generator()).x
    before, after = model.encode(x), a.apply(model).encode(x)
    assert torch.allclose(after.z, variable_action(N)(a, before.z), atol=1e-7)
    assert torch.allclose(after.noise, noise_action(N)(a, before.noise), atol=1e-7)


@every_model
def test_decoders_are_moved_as_functions_are(name: str) -> None:
    # on (z, g) together nothing is seen: g'(z') = g(z), with g' the induced action on g
    model, (a, _) = BASE_MODELS[name](), elements()
    action, z = variable_action(N), normal(50, N)
    image = a.apply(model)
    assert torch.allclose(image.decode(z), action.induced(a, model.decode)(z), atol=1e-10)
    assert torch.allclose(image.decode(action(a, z)), model.decode(z), atol=1e-10)
    # on z alone something is
    assert invariance_violation(model.decode, action, z, generator()).rms > 0.3


@pytest.mark.parametrize("name", ISOMORPHISMS)
def test_given_isomorphisms_are_elements(name: str) -> None:
    element, (a, _) = ISOMORPHISMS[name](), elements()
    z, action = normal(20, N), variable_action(N)
    assert torch.allclose(action(GROUP.inverse(element), action(element, z)), z)
    assert torch.allclose(action(GROUP.compose(a, element), z), action(a, action(element, z)))


def test_log_derivatives_of_products_and_inverses() -> None:
    a, b = elements()
    for element in (GROUP.compose(a, b), GROUP.inverse(a)):
        values = normal(20, N).requires_grad_()
        images, log_derivative = element.variable_map(values)
        (slope,) = torch.autograd.grad(images.sum(), values)
        assert torch.allclose(slope.abs().log(), log_derivative, atol=1e-10)
        back, log_back = element.variable_map.inverse(images)
        assert torch.allclose(back, values)
        assert torch.allclose(log_back, -log_derivative)
        some = torch.tensor([2, 0])
        assert torch.allclose(element.variable_map(values[:, some], some)[0], images[:, some])
        assert torch.allclose(element.variable_map.inverse(images[:, some], some)[0], values[:, some])
        assert element.variable_map.settings()["labels"] == element.variable_map.labels.tolist()


def test_the_axioms_hold_in_single_precision() -> None:
    with default_dtype(torch.float32):
        axioms = check_axioms(variable_action(N), normal(20, N), generator())
    # rounding, which is not held against them
    assert 1e-12 < max(axioms.composition, axioms.inverse) < 1e-3
