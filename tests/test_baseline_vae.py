"""The variational autoencoder: a true lower bound in data units, nothing random but its seed, and clear errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from experiments._gaussian_vae import GaussianVAE, VAEConfig, fit_vae

QUICK = VAEConfig(n=2, hidden=16, layers=1, steps=200, batch_size=128)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int = 2, d: int = 3, **settings: Any) -> GaussianVAE:
    """A model with random weights whose standardisation is not the identity."""
    model = GaussianVAE(n, d, **settings)
    model.draw_weights(generator(1))
    model.location.copy_(torch.arange(d))
    model.scale.copy_(1.0 + torch.arange(d))
    return model.requires_grad_(False)


def observations(rows: int = 500, d: int = 3) -> Tensor:
    """Correlated, in units far from standard ones."""
    matrix = torch.randn(d, d, generator=generator(2))
    return 3.0 + torch.randn(rows, d, generator=generator(3)) @ matrix


MODELS: dict[str, Callable[[], GaussianVAE]] = {
    "full": lambda: drawn(covariance="full"),
    "diagonal": drawn,
    "linear": lambda: drawn(layers=0),
    "one latent variable": lambda: drawn(n=1),
    "more latent variables than dimensions": lambda: drawn(n=4),
}
every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_shapes(name: str) -> None:
    model, x = MODELS[name](), observations(7)
    z = model.encode(x)
    assert z.shape == (7, model.n)
    assert model.decode(z).shape == x.shape
    assert model.elbo(x, generator(), samples=2).shape == (7,)
    assert model.elbo(x[:0], generator()).shape == (0,)


@every_model
def test_arrays_and_tensors_of_any_precision(name: str) -> None:
    model, x = MODELS[name](), observations(7)
    z = model.encode(x)
    for other in (x.double(), x.numpy(), x.double().numpy(), x.tolist()):
        assert torch.equal(model.encode(other), z)
        assert torch.equal(model.elbo(other, generator()), model.elbo(x, generator()))


@every_model
def test_the_description_rebuilds_the_model(name: str) -> None:
    model = MODELS[name]()
    rebuilt = GaussianVAE.build(model.description())
    rebuilt.load_state_dict(model.state_dict())
    assert torch.equal(rebuilt.encode(observations()), model.encode(observations()))


def test_the_bound_does_not_change_when_z_is_turned() -> None:
    # with a full covariance and a linear network at either end, a rotation of z can be taken up by the weights
    model, x = drawn(layers=0, covariance="full"), observations(50)
    rotation = torch.linalg.qr(torch.randn(2, 2, generator=generator(4)))[0]
    turned = GaussianVAE.build(model.description())
    turned.load_state_dict(model.state_dict())
    with torch.no_grad():
        turned.decoder[0].weight.copy_(model.decoder[0].weight @ rotation.T)
    values, normal = turned._standardised(x), torch.randn(1, 50, 2, generator=generator(5))
    mean, _, factor = model._posterior(values)
    covariance = rotation @ factor @ factor.transpose(1, 2) @ rotation.T
    root = torch.linalg.cholesky(covariance)
    turned._posterior = lambda _: (mean @ rotation.T, torch.diagonal(root, dim1=1, dim2=2).log(), root)  # type: ignore[method-assign]
    # the same z in both: Lε and its turned image
    drawn_z = rotation @ factor @ normal[0].unsqueeze(-1)
    same = torch.linalg.solve_triangular(root, drawn_z, upper=False).squeeze(-1).unsqueeze(0)
    assert torch.allclose(turned.elbo_at(values, same), model.elbo_at(values, normal), rtol=1e-3)


def test_a_diagonal_encoder_has_independent_coordinates() -> None:
    x = observations(5)
    for name, correlated in (("full", True), ("diagonal", False)):
        factor = MODELS[name]()._posterior(x)[2]
        assert bool((factor[:, 1, 0] != 0).all()) is correlated
        assert not factor[:, 0, 1].any()


def linear_gaussian() -> tuple[GaussianVAE, Tensor, Tensor]:
    """x = location + scale (W z + b) + noise: the model, and the mean and covariance of x in closed form."""
    model = drawn(layers=0, covariance="full")
    weight, bias = torch.tensor([[1.0, 0.3], [-0.5, 0.8], [0.2, 2.0]]), torch.tensor([0.1, -0.4, 0.7])
    _linear(model.decoder).weight.copy_(weight)
    _linear(model.decoder).bias.copy_(bias)
    model.log_variance.copy_(torch.tensor([-1.0, 0.0, 0.5]))
    covariance = weight @ weight.T + torch.diag(model._variance())
    outer = model.scale[:, None] * model.scale
    return model, model.location + model.scale * bias, outer * covariance


def _linear(network: nn.Sequential) -> nn.Linear:
    layer = network[0]
    assert isinstance(layer, nn.Linear)
    return layer


def set_exact_posterior(model: GaussianVAE) -> None:
    """The encoder of the linear model at the true posterior, N(S Wᵀ V⁻¹ (y - b), S), S = (1 + Wᵀ V⁻¹ W)⁻¹."""
    decoder, encoder = _linear(model.decoder), _linear(model.encoder)
    scaled = decoder.weight.T / model._variance()
    covariance = torch.linalg.inv(torch.eye(2) + scaled @ decoder.weight)
    factor = torch.linalg.cholesky(covariance)
    encoder.weight.zero_()
    encoder.weight[:2] = covariance @ scaled
    encoder.bias[:2] = -covariance @ scaled @ decoder.bias
    encoder.bias[2:4] = factor.diagonal().log()
    encoder.bias[4] = factor[1, 0]


def test_the_bound_is_the_likelihood_at_the_exact_posterior() -> None:
    model, mean, covariance = linear_gaussian()
    set_exact_posterior(model)
    x = 1.0 + 2.0 * observations(50)
    likelihood = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)
    bound = model.elbo(x, generator(), samples=100_000)
    assert torch.allclose(bound, likelihood, atol=0.03)
    with torch.no_grad():
        _linear(model.encoder).bias[2:4] += 0.5
    worse = model.elbo(x, generator(), samples=100_000)
    # the divergence of N(m, e S) from N(m, S), whose factor is e^0.5 in its diagonal, is positive
    assert bool((worse < likelihood - 0.1).all())


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_the_bound_is_below_the_likelihood_for_any_encoder(covariance: str) -> None:
    model, mean, covariance_x = linear_gaussian()
    law = torch.distributions.MultivariateNormal(mean, covariance_x)
    x = law.sample(torch.Size([200]))
    other = GaussianVAE(2, 3, layers=0, covariance=covariance)  # type: ignore[arg-type]
    other.draw_weights(generator(5))
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("encoder")}
    other.load_state_dict(state, strict=False)
    with torch.no_grad():
        bound = other.elbo(x, generator(), samples=2000)
    assert bool((bound < law.log_prob(x)).all())


def test_the_bound_is_a_density_in_data_units() -> None:
    model, x = drawn(), observations()
    stretched = GaussianVAE.build(model.description())
    stretched.load_state_dict({**model.state_dict(), "location": 10 * model.location, "scale": 10 * model.scale})
    expected = model.elbo(x, generator()) - 3 * math.log(10)
    assert torch.allclose(stretched.elbo(10 * x, generator()), expected, atol=1e-3)


def test_a_fit_explains_normal_data_and_reconstructs_them() -> None:
    x = observations(4000)
    law = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    found = fit_vae(x, replace(QUICK, n=3, steps=1500))
    bound, likelihood = float(found.model.elbo(x, generator(), samples=4).mean()), float(law.log_prob(x).mean())
    assert likelihood - 0.3 < bound < likelihood + 0.05
    error = found.model.decode(found.model.encode(x)) - x
    assert float(error.square().mean()) < 0.2 * float(x.var(0).mean())
    assert found.elbo == pytest.approx(max(record["validation_log_likelihood"] for record in found.records))


def test_the_seed_decides_everything() -> None:
    x, state = observations(), torch.get_rng_state()
    first, again, other = (fit_vae(x, QUICK, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.elbo == again.elbo != other.elbo
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
    assert not torch.allclose(first.model.encode(x), other.model.encode(x))
    assert not any(parameter.requires_grad for parameter in first.model.parameters())


def test_the_fit_knows_no_units() -> None:
    x = observations().double()
    before, after = fit_vae(x, QUICK), fit_vae(1000.0 * x - 5000.0, QUICK)
    assert after.elbo == pytest.approx(before.elbo - 3 * math.log(1000.0), abs=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n: Expected at least 1; got 0"),
        ({"d": 0}, "d: Expected at least 1; got 0"),
        ({"hidden": 0}, "hidden: Expected at least 1; got 0"),
        ({"layers": -1}, "layers: Expected at least 0; got -1"),
        ({"covariance": "round"}, "covariance: Expected full or diagonal; got 'round'"),
    ],
)
def test_bad_models_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GaussianVAE(**{"n": 2, "d": 3, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "n: Expected at least 1; got 0"),
        ({"hidden": 0}, "hidden: Expected at least 1; got 0"),
        ({"layers": -1}, "layers: Expected at least 0; got -1"),
        ({"steps": 0}, "steps: Expected at least 1; got 0"),
        ({"batch_size": 0}, "batch_size: Expected at least 1; got 0"),
        ({"learning_rate": 0.0}, "learning_rate: Expected a positive number; got 0.0"),
    ],
)
def test_bad_configs_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VAEConfig(**{"n": 2, **settings})


@pytest.mark.parametrize("shape", [(3,), (5, 2), (5, 3, 1)])
def test_observations_of_another_shape_are_errors(shape: tuple[int, ...]) -> None:
    model = drawn()
    for method in (model.encode, lambda x: model.elbo(x, generator())):
        with pytest.raises(ValueError, match=r"^x: Expected shape \(N, 3\); got \(") as error:
            method(torch.zeros(shape))
        assert str(shape) in str(error.value)


def test_bad_data_are_errors() -> None:
    x = observations().numpy()
    broken = x.copy()
    broken[[3, 5], 0] = np.nan, np.inf
    constant = x.copy()
    constant[:, 1] = 2.0
    varying_once = constant.copy()
    # the first of the shuffled rows, which are held out
    varying_once[int(torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[0]), 1] = 3.0
    for data, message in (
        (x[:, 0], r"x: Expected shape \(N, d\); got \(500,\)"),
        (x[:, :0], r"x: Expected shape \(N, d\); got \(500, 0\)"),
        (x[:49], "x: Expected at least 50 rows; got 49"),
        (broken, "x: Expected finite entries; got 2 rows with others"),
        (constant, "x: Expected columns that vary; got a constant column 1"),
        (varying_once, "x: Expected columns that vary; got a constant column 1"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_vae(data, QUICK)
