"""The implicit latent causal model as a variational autoencoder: its bounds and its fit, beside a loop."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from laws import generator, normal
from torch import Tensor

from lcm.model.decoder import AffineDecoder, ChainDecoder, EmbeddingDecoder
from lcm.model.intervention import TargetDistribution
from lcm.peer.implicit.solution import ExactPosterior
from lcm.peer.implicit.vae import ImplicitVAE

N = 3
PERMUTATION = [2, 0, 1]


def standardisation(n: int = N) -> ChainDecoder:
    return ChainDecoder([AffineDecoder(n), EmbeddingDecoder(n, n)])


def model_of(family: str | list[tuple[int, ...]] = "atomic-or-empty", **settings: Any) -> ImplicitVAE:
    """A model with random weights, biases included."""
    targets = TargetDistribution.family(N, family) if isinstance(family, str) else TargetDistribution(N, family, None)
    weights = torch.arange(1.0, len(targets.target_sets) + 1.0)
    targets.probabilities.copy_(weights / weights.sum())
    model = ImplicitVAE(standardisation(), targets, **({"hidden": 8} | settings))
    model.draw_weights(generator(1), torch.eye(N) + 0.3 * normal(N, N, seed=2))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter += 0.1 * normal(*parameter.shape, seed=3)
        if model.posterior_kind == "heuristic":
            model.posterior.get_parameter("scalars").copy_(torch.tensor([-1.0, 1.0, 0.5]))
    return model.requires_grad_(False)


MODELS: dict[str, Callable[[], ImplicitVAE]] = {
    "heuristic": model_of,
    "mlp": lambda: model_of(posterior_kind="mlp", projection="stochastic"),
    "exact": lambda: model_of(posterior_kind="exact", activation="relu"),
    "affine": lambda: model_of(layers=0, linear=True),
    "linear-start": lambda: model_of(linear=True, variance=0.1),
    "all-sets": lambda: model_of("all", projection="stochastic"),
    "some-sets": lambda: model_of([(0, 2), (), (1,)], linear=True),
    "known-ancestors": lambda: model_of(ancestors=torch.ones(N, N).triu(1).bool()),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, float64: None) -> ImplicitVAE:
    return MODELS[request.param]()


def pairs(count: int = 20) -> tuple[Tensor, Tensor]:
    y = normal(count, N, seed=4)
    y_tilde = y + 0.5 * normal(count, N, seed=5)
    y_tilde[::4] = y[::4]
    return y, y_tilde


def set_by_set(model: ImplicitVAE, y: Tensor, y_tilde: Tensor, draws: Tensor) -> Tensor:
    """The ELBO (N,) by a loop over target sets, from densities of torch."""
    encoded = model.moments(y, y_tilde)
    (mean, mean_tilde), (spread, spread_tilde) = encoded.mean, encoded.log_deviation.exp()
    share = draws[:, 2] if model.projection == "stochastic" else torch.full_like(mean, 0.5)
    both_mean = share * mean + (1 - share) * mean_tilde
    both_spread = (share.square() * spread.square() + (1 - share).square() * spread_tilde.square()).sqrt()
    log_q = model.log_posterior(encoded)
    normal_density = torch.distributions.Normal
    deviation = (model.log_variance.exp() + (1e-4 if model.variance is None else 0.0)).sqrt()
    total = torch.zeros(len(y))
    for k, targets in enumerate(model.target_distribution.target_sets):
        before = normal_density(torch.where(targets, mean, both_mean), torch.where(targets, spread, both_spread))
        noise = before.mean + before.stddev * draws[:, 0]
        after = normal_density(mean_tilde, spread_tilde)
        noise_tilde = torch.where(targets, mean_tilde + spread_tilde * draws[:, 1], noise)
        z, log_slope = model.solve(noise_tilde)
        imposed = normal_density(0.0, 1.0).log_prob(z) + log_slope - after.log_prob(noise_tilde)
        value = (normal_density(0.0, 1.0).log_prob(noise) - before.log_prob(noise) + targets * imposed).sum(1)
        for observed, hidden in ((y, noise), (y_tilde, noise_tilde)):
            value = value + normal_density(model.decode_noise(hidden), deviation).log_prob(observed).sum(1)
        log_prior = model.target_distribution.probabilities[k].log()
        total = total + log_q[:, k].exp() * (value + log_prior - log_q[:, k])
    return total


def test_the_bound_is_that_of_a_loop_over_target_sets(model: ImplicitVAE) -> None:
    y, y_tilde = pairs()
    draws = model.draw(len(y), generator(6))
    torch.testing.assert_close(model.elbo(y, y_tilde, draws), set_by_set(model, y, y_tilde, draws))


def test_solutions_increase_and_their_slopes_are_right(model: ImplicitVAE) -> None:
    noise = normal(5, N, seed=7)
    solved = model.solve(noise)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: model.solve(row.unsqueeze(0)).z[0]))(noise)
    torch.testing.assert_close(solved.log_slope.exp(), jacobian.diagonal(dim1=1, dim2=2))


def test_solutions_depend_on_known_ancestors_alone(float64: None) -> None:
    model = MODELS["known-ancestors"]()
    jacobian = torch.func.jacrev(lambda row: model.solve(row.unsqueeze(0)).z[0])(normal(N, seed=7))
    assert torch.equal(jacobian != 0, torch.ones(N, N).tril().bool())


def permuted(model: ImplicitVAE) -> ImplicitVAE:
    """The model with its latent variables renumbered: new variable a is the old PERMUTATION[a]."""
    order = torch.tensor(PERMUTATION)
    other = ImplicitVAE.build(model.description())
    other.load_state_dict(model.state_dict())
    both = torch.cat([order, order + N])
    last, first = other.encoder.weights[-1], other.decoder.weights[0]
    last.data, other.encoder.biases[-1].data = last[both], other.encoder.biases[-1][both]
    first.data = first[:, order]
    solution = other.solution.networks
    for part in (*solution.weights, *solution.biases):
        part.data = part[order]
    solution.weights[0].data = solution.weights[0][:, :, order]
    solution.seen.copy_(solution.seen[order][:, order])
    if model.linear:
        other.unmixing.data, other.mixing.data = other.unmixing[order], other.mixing[:, order]
    if isinstance(other.posterior, ExactPosterior):
        other.posterior.variance.copy_(torch.arange(1.0, N + 1.0)[order])
        model.posterior.get_buffer("variance").copy_(torch.arange(1.0, N + 1.0))
    other.target_distribution.target_sets.copy_(other.target_distribution.target_sets[:, order])
    if model.posterior_kind == "mlp":
        weight = other.posterior.get_parameter("network.weights.0")
        weight.data = weight[:, both]
    return other


def test_the_numbering_of_the_variables_is_of_no_account(model: ImplicitVAE) -> None:
    y, y_tilde = pairs()
    draws = model.draw(len(y), generator(6))
    other = permuted(model)
    order = torch.tensor(PERMUTATION)
    torch.testing.assert_close(other.elbo(y, y_tilde, draws[:, :, order]), model.elbo(y, y_tilde, draws))
    encodings = [each.encode_pairs(y, y_tilde) for each in (model, other)]
    torch.testing.assert_close(encodings[0].z[:, order], encodings[1].z)
    torch.testing.assert_close(encodings[0].posterior, encodings[1].posterior)


def test_a_model_is_rebuilt_from_its_description_and_tensors(model: ImplicitVAE) -> None:
    rebuilt = ImplicitVAE.build(json.loads(json.dumps(model.description())))
    rebuilt.load_state_dict(model.state_dict())
    assert rebuilt.description() == model.description()
    for one, two in zip(model.encode_pairs(*pairs()), rebuilt.encode_pairs(*pairs()), strict=True):
        assert torch.equal(one, two)


def test_encodings_are_those_of_each_pair_alone(model: ImplicitVAE) -> None:
    y, y_tilde = pairs()
    together, alone = model.encode_pairs(y, y_tilde), model.encode_pairs(y[3:4], y_tilde[3:4])
    for one, two in zip(together, alone, strict=True):
        torch.testing.assert_close(one[3:4], two)
    torch.testing.assert_close(together.posterior.sum(1), torch.ones(len(y)))
    torch.testing.assert_close(together.z, model.solve(together.noise).z)


def test_the_log_density_is_close_to_the_bound_of_many_draws(model: ImplicitVAE) -> None:
    y, y_tilde = pairs()
    draws = [model.elbo(y, y_tilde, model.draw(len(y), generator(seed))) for seed in range(400)]
    bound = torch.stack(draws)
    error = bound.std(0) / 20.0
    assert bool(((model.encode_pairs(y, y_tilde).log_density - bound.mean(0)).abs() < 10.0 * error + 0.5).all())


def test_a_density_of_data_has_the_volume_of_their_units(float64: None) -> None:
    model = model_of()
    y, y_tilde = pairs()
    scaling: Any = model.standardisation.parts[0]
    before = model.encode_pairs(y, y_tilde).log_density
    scaling.scale.fill_(2.0)
    after = model.encode_pairs(2.0 * y, 2.0 * y_tilde).log_density
    torch.testing.assert_close(after, before - 2 * N * torch.tensor(2.0).log())


# --- a case whose evidence is known


def gaussian_case(sets: list[tuple[int, ...]], variance: float = 0.3) -> tuple[ImplicitVAE, Tensor]:
    """Affine networks: decoder Q e, solutions z_i = shift_i(e_others) + scale_i e_i; returns the model and Q."""
    rotation = torch.linalg.qr(normal(N, N, seed=8)).Q
    model = ImplicitVAE(standardisation(), TargetDistribution(N, sets, None), layers=0, variance=variance)
    model.decoder.weights[0].data = rotation
    return model.requires_grad_(False), rotation


def encode_by(model: ImplicitVAE, rotation: Tensor, copies: int) -> None:
    """Put the posterior of e given x that is shown `copies` times, each with as much spread as `copies` average out."""
    precision = 1.0 + copies / float(model.variance or 1.0)
    gain = (copies / float(model.variance or 1.0)) / precision
    model.encoder.weights[0].data[:N] = gain * rotation.T
    model.encoder.biases[0].data[N:] = 0.5 * torch.tensor(copies / precision).log()


def evidence(model: ImplicitVAE, rotation: Tensor, y: Tensor, y_tilde: Tensor) -> Tensor:
    """log p(y, ỹ) (N,): a mixture over target sets of normal distributions of (y, ỹ)."""
    weight, bias = model.solution.networks.weights[0][:, 0], model.solution.networks.biases[0][:, 0]
    slope, shift = bias[:, 1].exp(), bias[:, 0]
    joint = []
    for targets, log_prior in zip(
        model.target_distribution.target_sets, model.target_distribution.log_probabilities(), strict=True
    ):
        # z = A ẽ + shift on the targets, ẽ = e elsewhere, as one linear system in (ẽ; e, fresh)
        solved = torch.where(targets.unsqueeze(1), weight + slope.diag(), torch.eye(N))
        inverse = torch.linalg.inv(solved)
        kept, fresh = torch.diag((~targets).double()), torch.diag(targets.double())
        mean_tilde = inverse @ (-shift * targets)
        top = torch.cat([torch.eye(N), torch.zeros(N, N)], 1)
        rows = torch.cat([top, inverse @ torch.cat([kept, fresh], 1)])
        both = torch.block_diag(rotation, rotation)
        mean = both @ torch.cat([torch.zeros(N), mean_tilde])
        mixed = both @ rows
        covariance = mixed @ mixed.T + float(model.variance or 1.0) * torch.eye(2 * N)
        density = torch.distributions.MultivariateNormal(mean, covariance)
        joint.append(density.log_prob(torch.cat([y, y_tilde], 1)) + log_prior)
    return torch.logsumexp(torch.stack(joint), 0)


def weighted_bound(model: ImplicitVAE, y: Tensor, y_tilde: Tensor, samples: int, draws: torch.Generator) -> Tensor:
    """The logarithm (N,) of a mean of importance weights (Burda et al. 2016), summed over target sets."""
    encoded, joint = model.moments(y, y_tilde), []
    for _ in range(samples):
        parts = model.bounds(y, y_tilde, encoded, model.draw(len(y), draws))
        joint.append(parts.fit.T + parts.latent.T + model.target_distribution.log_probabilities())
    return torch.logsumexp(torch.stack(joint), (0, 2)) - math.log(samples)


FAMILIES = {
    "atomic-or-empty": [(), (0,), (1,), (2,)],
    "pairs": [(), (0, 1), (2,), (0, 1, 2)],
}


@pytest.mark.parametrize("projection", ["average", "stochastic"])
@pytest.mark.parametrize("family", FAMILIES)
def test_bounds_are_ordered_and_the_tightest_reaches_the_evidence(float64: None, family: str, projection: str) -> None:
    model, rotation = gaussian_case(FAMILIES[family])
    encode_by(model, rotation, copies=1)
    model.projection = projection  # type: ignore[assignment]
    model.posterior.get_parameter("scalars").data = torch.tensor([-1.0, 0.5, 0.5])
    weight = torch.tensor([[0.0, 0.4, -0.3], [0.2, 0.0, 0.1], [-0.5, 0.3, 0.0]])
    # imposed values of several targets have a density only if their solutions are acyclic
    model.solution.networks.weights[0].data[:, 0] = weight if family == "atomic-or-empty" else weight.tril()
    model.solution.networks.biases[0].data[:, 0, 1] = torch.tensor([0.2, -0.1, 0.0])
    y, y_tilde = (part[:10] for part in pairs())
    known = evidence(model, rotation, y, y_tilde)
    many = [part.expand(100, 10, N).reshape(-1, N) for part in (y, y_tilde)]
    bounds = [model.elbo(*many, model.draw(1000, generator(9)))]
    bounds += [weighted_bound(model, *many, samples, generator(9)) for samples in (1, 4, 16)]
    means = [part.view(100, 10).mean(0) for part in bounds]
    errors = [part.view(100, 10).std(0) / 10.0 for part in bounds]
    for index in range(3):
        assert bool((means[index] <= means[index + 1] + 3.0 * (errors[index] + errors[index + 1])).all())
        assert float(means[index].mean()) < float(means[index + 1].mean())
    assert bool((means[-1] <= known + 4.0 * errors[-1]).all())
    assert float(means[0].mean()) < float(known.mean()) - 0.1
    closest = weighted_bound(model, *(part.repeat(50, 1) for part in (y, y_tilde)), 100, generator(11))
    closest = torch.logsumexp(closest.view(50, 10), 0) - torch.tensor(50.0).log()
    torch.testing.assert_close(closest, known, atol=0.1, rtol=0.0)


@pytest.mark.parametrize(("targets", "copies"), [((), 2), ((0, 1, 2), 1)])
def test_with_the_exact_posterior_the_bound_is_the_evidence(
    float64: None, targets: tuple[int, ...], copies: int
) -> None:
    model, rotation = gaussian_case([targets])
    encode_by(model, rotation, copies)
    y, y_tilde = pairs()
    known = evidence(model, rotation, y, y_tilde)
    torch.testing.assert_close(model.elbo(y, y_tilde, model.draw(len(y), generator(9))), known)
    torch.testing.assert_close(weighted_bound(model, y, y_tilde, 3, generator(10)), known)
    torch.testing.assert_close(model.encode_pairs(y, y_tilde).log_density, known)
