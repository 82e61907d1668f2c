"""Disentanglement peers: true bounds of the evidence, nothing random but the generator, and what targets are for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import default_dtype
from torch import Tensor

from lcm.model.decoder import AffineDecoder, ChainDecoder, EmbeddingDecoder
from lcm.model.intervention import TargetDistribution
from lcm.peer.disentanglement import DisentanglementConfig
from lcm.peer.disentanglement.vae import DISENTANGLEMENT_KINDS, DisentanglementVAE
from lcm.peer.variational import Normals

N = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.get_default_dtype())


def standardisation(n: int = N) -> ChainDecoder:
    """Not the identity, and into one dimension more."""
    scaling, embedding = AffineDecoder(n), EmbeddingDecoder(n, n + 1)
    scaling.scale.copy_(1.0 + torch.arange(n))
    embedding.shift.copy_(torch.arange(n + 1.0))
    return ChainDecoder([scaling, embedding])


@torch.no_grad()
def drawn(kind: str, seed: int = 1, family: str = "atomic-or-empty", **changes: Any) -> DisentanglementVAE:
    """A model with random weights, whose targets have a law of their own and unequal probabilities."""
    targets = TargetDistribution.family(N, family)
    weights = 1.0 + torch.arange(len(targets.probabilities))
    targets.probabilities.copy_(weights / weights.sum())
    model = DISENTANGLEMENT_KINDS[kind](standardisation(), targets, DisentanglementConfig(**{"hidden": 8, **changes}))
    model.draw_weights(generator(seed), normal(N, N, seed=seed + 1))
    if kind != "beta-vae":
        model.imposed_mean.copy_(normal(N, seed=3))
        model.imposed_log_deviation.copy_(0.3 * normal(N, seed=4))
    return model.requires_grad_(False)


MODELS: dict[str, Callable[[], DisentanglementVAE]] = {
    "dvae": lambda: drawn("dvae"),
    "dvae, posterior": lambda: drawn("dvae", aggregation="posterior"),
    "dvae, product": lambda: drawn("dvae", combination="product"),
    "dvae, linear start": lambda: drawn("dvae", start="linear"),
    "dvae, all sets": lambda: drawn("dvae", family="all"),
    "beta-vae": lambda: drawn("beta-vae"),
    "supervised": lambda: drawn("vae-supervised-interventions", layers=0),
}
every_model = pytest.mark.parametrize("name", MODELS)


def coordinates(rows: int = 6) -> tuple[Tensor, Tensor]:
    """Pairs of which the last does not differ."""
    y, y_tilde = normal(rows, N, seed=5), normal(rows, N, seed=6)
    y_tilde[-1] = y[-1]
    return y, y_tilde


@every_model
def test_encodings_have_the_promised_shapes(name: str) -> None:
    model = MODELS[name]()
    x, x_tilde = (model.standardisation(part)[0] for part in coordinates())
    encoded = model.encode_pairs(x, x_tilde)
    assert encoded.z.shape == encoded.z_tilde.shape == encoded.noise_tilde.shape == (6, N)
    assert torch.equal(encoded.z, encoded.noise) and torch.equal(encoded.z_tilde, encoded.noise_tilde)
    assert encoded.posterior.shape == (6, len(model.target_distribution.target_sets))
    assert encoded.log_density.shape == (6,) and bool(encoded.log_density.isfinite().all())
    torch.testing.assert_close(encoded.posterior.sum(1), torch.ones(6))
    assert model.encode_pairs(x[:0], x_tilde[:0]).log_density.shape == (0,)
    assert (model.n, model.d, model.graph.adjacency.sum()) == (N, N + 1, 0)


@every_model
def test_encoding_draws_nothing_and_knows_no_neighbours(name: str) -> None:
    model, pairs, state = MODELS[name](), coordinates(), torch.get_rng_state()
    first, again = model.encode_coordinates(*pairs), model.encode_coordinates(*pairs)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    single = model.encode_coordinates(pairs[0][2:3], pairs[1][2:3])
    for one, two in zip(first, single, strict=True):
        torch.testing.assert_close(one[2:3], two, rtol=1e-4, atol=1e-4)


@every_model
def test_the_density_of_x_is_that_of_the_coordinates_over_the_volume(name: str) -> None:
    model, pairs = MODELS[name](), coordinates()
    x, x_tilde = (model.standardisation(part)[0] for part in pairs)
    expected = model.encode_coordinates(*pairs).log_density - 2 * math.log(math.factorial(N))
    torch.testing.assert_close(model.encode_pairs(x, x_tilde).log_density, expected, rtol=1e-3, atol=1e-3)


@every_model
def test_a_model_is_rebuilt_from_its_description(name: str) -> None:
    model, pairs = MODELS[name](), coordinates()
    rebuilt = DisentanglementVAE.build(model.description())
    rebuilt.load_state_dict(model.state_dict())
    assert type(rebuilt) is type(model) and rebuilt.config == model.config
    for one, two in zip(model.encode_pairs(*_observed(model)), rebuilt.encode_pairs(*_observed(model)), strict=True):
        assert torch.equal(one, two)
    assert torch.equal(rebuilt.elbo(*pairs, normal(2, 2, 6, N)), model.elbo(*pairs, normal(2, 2, 6, N)))


def _observed(model: DisentanglementVAE) -> list[Tensor]:
    return [model.standardisation(part)[0] for part in coordinates()]


@torch.no_grad()
def permuted(model: DisentanglementVAE, order: list[int]) -> DisentanglementVAE:
    """The model with its variables in another order: new variable a is the old order[a]."""
    sets = [[order.index(target) for target in targets] for targets in model.target_distribution.as_lists()]
    targets = TargetDistribution(N, sets, model.target_distribution.probabilities.tolist())
    other = type(model)(model.standardisation, targets, model.config)
    other.load_state_dict(model.state_dict())
    both = [*order, *(N + a for a in order)]
    other.encoder.weights[-1].copy_(model.encoder.weights[-1][both])
    other.encoder.biases[-1].copy_(model.encoder.biases[-1][both])
    other.decoder.weights[0].copy_(model.decoder.weights[0][:, order])
    other.imposed_mean.copy_(model.imposed_mean[order])
    other.imposed_log_deviation.copy_(model.imposed_log_deviation[order])
    if model.config.start == "linear":
        other.unmixing.copy_(model.unmixing[order])
        other.mixing.copy_(model.mixing[:, order])
    return other.requires_grad_(False)


@every_model
@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(N)))
def test_bounds_do_not_depend_on_the_order_of_the_variables(name: str, order: list[int]) -> None:
    model, pairs = MODELS[name](), coordinates()
    other, draws = permuted(model, order), normal(2, 4, 6, N)
    own, its = model.elbo(*pairs, draws), other.elbo(*pairs, draws[..., order])
    torch.testing.assert_close(its, own, rtol=1e-3, atol=1e-3)
    one, two = model.encode_coordinates(*pairs), other.encode_coordinates(*pairs)
    torch.testing.assert_close(two.z, one.z[:, order])
    torch.testing.assert_close(two.posterior, one.posterior, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(two.log_density, one.log_density, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def linear_gaussian(kind: str, family: str = "atomic-or-empty", **changes: Any) -> DisentanglementVAE:
    """y = W z + b + noise: its evidence is that of a mixture of normal laws. The encoder is exact for one observation.

    W has columns that are orthogonal where the variance of y is 1, so that the posterior of an observation is diagonal.
    """
    model = drawn(kind, family=family, layers=0, **changes)
    model.log_excess.fill_(math.log(0.4**2 - 0.01**2))
    directions = torch.linalg.qr(normal(N, N, seed=8))[0]
    weight, bias = directions * torch.tensor([1.0, 0.6, 1.5]), torch.tensor([0.1, -0.4, 0.7])
    model.decoder.weights[0].copy_(weight)
    model.decoder.biases[0].copy_(bias)
    information = weight.T / 0.16
    precision = 1.0 + (information @ weight).diagonal()
    model.encoder.weights[0].zero_()
    model.encoder.weights[0][:N] = information / precision[:, None]
    model.encoder.biases[0][:N] = -(information @ bias) / precision
    model.encoder.biases[0][N:] = -0.5 * precision.log()
    return model


def evidence(model: DisentanglementVAE, y: Tensor, y_tilde: Tensor) -> Tensor:
    """log p(y, ỹ) in closed form."""
    sets, log_prior = model._sets()
    weight, bias = model.decoder.weights[0], model.decoder.biases[0]
    noise = 0.16 * torch.eye(N)
    parts = []
    for changed, log_probability in zip(sets, log_prior, strict=True):
        variance = torch.where(changed, (2 * model.imposed_log_deviation).exp(), torch.ones(N))
        shared = torch.where(changed, 0.0, 1.0)
        blocks = [weight @ weight.T + noise, weight @ torch.diag(shared) @ weight.T]
        covariance = torch.cat(
            [
                torch.cat([blocks[0], blocks[1]], 1),
                torch.cat([blocks[1], weight @ torch.diag(variance) @ weight.T + noise], 1),
            ]
        )
        mean = torch.cat([bias, bias + weight @ torch.where(changed, model.imposed_mean, 0.0)])
        law = torch.distributions.MultivariateNormal(mean, covariance)
        parts.append(law.log_prob(torch.cat([y, y_tilde], 1)) + log_probability)
    return torch.stack(parts).logsumexp(0)


def generated(model: DisentanglementVAE, rows: int = 60) -> tuple[Tensor, Tensor]:
    """Pairs that the model draws."""
    sets, log_prior = model._sets()
    changed = sets[torch.multinomial(log_prior.exp(), rows, replacement=True, generator=generator(9))]
    z = normal(rows, N, seed=10)
    z_tilde = torch.where(changed, model.imposed().at(normal(rows, N, seed=11)), z)
    y, y_tilde = (model.likelihood(part).at(normal(rows, N, seed=12 + k)) for k, part in enumerate((z, z_tilde)))
    return y, y_tilde


LINEAR: dict[str, Callable[[], DisentanglementVAE]] = {
    "average": lambda: linear_gaussian("dvae"),
    "product": lambda: linear_gaussian("dvae", combination="product"),
    "posterior": lambda: linear_gaussian("dvae", aggregation="posterior"),
    "supervised": lambda: linear_gaussian("vae-supervised-interventions", family="all"),
    "beta-vae": lambda: linear_gaussian("beta-vae"),
}


@pytest.mark.parametrize("name", LINEAR)
def test_bounds_are_ordered_below_the_evidence(name: str) -> None:
    with default_dtype(torch.float64):
        model = LINEAR[name]().double()
        model.encoder.biases[0][0] += 0.2
        model.encoder.biases[0][N:] += 0.3
        pairs = generated(model)
        true = float(evidence(model, *pairs).mean())
        draws = normal(2, 400, 60, N, seed=14)
        elbo = float(model.elbo(*pairs, draws).mean())
        assert elbo + 0.1 < true
        assert float(model.encode_coordinates(*pairs).log_density.mean()) < true - 0.1


EXACT: dict[str, Callable[[], DisentanglementVAE]] = {
    "beta-vae": lambda: linear_gaussian("beta-vae"),
    "product": lambda: linear_gaussian("dvae", combination="product"),
    "product, all sets": lambda: linear_gaussian("dvae", family="all", combination="product"),
}


@pytest.mark.parametrize("name", EXACT)
def test_bounds_are_the_evidence_at_the_exact_posterior(name: str) -> None:
    # the product is exact where targets have the law of the prior
    with default_dtype(torch.float64):
        model = EXACT[name]().double()
        model.imposed_mean.zero_()
        model.imposed_log_deviation.zero_()
        pairs = generated(model)
        true, draws = evidence(model, *pairs), normal(2, 7, 60, N)
        axes = math.sqrt(N) * torch.eye(N)
        cubature = torch.cat([axes, -axes])[:, None].expand(2, -1, 60, -1)
        torch.testing.assert_close(model.elbo(*pairs, cubature), true)
        assert not torch.allclose(model.elbo(*pairs, draws), true, atol=1e-3)
        best = model.encode_coordinates(*pairs).log_density
        assert bool((best < true + 1e-9).all())
        torch.testing.assert_close(best, true, atol=2.0, rtol=0)


def test_an_average_of_exact_posteriors_is_not_exact() -> None:
    # each shared variable costs the divergence of a variance 1 / (1 + a) from 1 / (1 + 2 a), and of their means
    with default_dtype(torch.float64):
        model = linear_gaussian("dvae").double()
        model.target_distribution = TargetDistribution(N, [[]], None)
        pairs = generated(model)
        gap = evidence(model, *pairs) - model.encode_coordinates(*pairs).log_density
        information = torch.tensor([1.0, 0.6, 1.5]).square() / 0.16
        ratio = (1 + 2 * information) / (1 + information)
        widths = 0.5 * (ratio - 1 - ratio.log()).sum()
        assert bool((gap > widths - 1e-9).all()) and float(gap.mean()) < 2 * float(widths)


def laws(difference: list[float], deviation: float = 0.05) -> tuple[Normals, Normals]:
    """Posteriors of one pair with equal deviations."""
    deviations = torch.full((1, N), math.log(deviation))
    return Normals(torch.zeros(1, N), deviations), Normals(torch.tensor([difference]), deviations)


@pytest.mark.parametrize(
    ("difference", "changed", "likeliest"),
    [
        ([0.0, 0.0, 0.0], [False, False, False], 0),
        ([0.0, 3.0, 0.0], [False, True, False], 2),
        ([0.1, 3.0, 0.2], [False, True, False], 2),
        ([3.0, 0.0, 2.9], [True, False, True], 1),
        ([1e-3, 1e-3, 1e-4], [True, True, False], 0),
    ],
)
def test_variables_that_diverge_most_are_those_that_changed(
    difference: list[float], changed: list[bool], likeliest: int
) -> None:
    model, pair = (
        DISENTANGLEMENT_KINDS["dvae"](standardisation(), TargetDistribution.family(N, "atomic-or-empty")),
        laws(difference),
    )
    assert model.changed(*pair).tolist() == [changed]
    assert int(model.target_log_posterior(*pair).argmax()) == likeliest


@pytest.mark.parametrize("family", ["atomic", "atomic-or-empty", "all"])
def test_the_posterior_over_targets_is_exact_where_those_of_the_variables_are(family: str) -> None:
    with default_dtype(torch.float64):
        model = linear_gaussian("dvae", family=family).double()
        pairs, whole = generated(model), model.target_distribution
        parts = []
        for targets, probability in zip(whole.as_lists(), whole.probabilities, strict=True):
            model.target_distribution = TargetDistribution(N, [targets], None)
            parts.append(evidence(model, *pairs) + probability.log())
        model.target_distribution = whole
        found = model.encode_coordinates(*pairs).posterior
        torch.testing.assert_close(found, torch.stack(parts, 1).softmax(1), rtol=1e-6, atol=1e-9)


def test_the_decoder_inverts_the_standardisation_of_the_mean() -> None:
    model, z = drawn("beta-vae"), normal(5, N, seed=40)
    x = model.decode(z)
    assert x.shape == (5, N + 1)
    torch.testing.assert_close(model.standardisation.inverse(x)[0], model.likelihood(z).mean, rtol=1e-4, atol=1e-4)


def test_the_divergence_is_that_of_torch() -> None:
    one, two = (Normals(normal(5, N, seed=k), 0.5 * normal(5, N, seed=k + 1)) for k in (20, 30))
    other = [torch.distributions.Normal(law.mean, law.log_deviation.exp()) for law in (one, two)]
    torch.testing.assert_close(one.divergence(two), torch.distributions.kl_divergence(*other))
    torch.testing.assert_close(one.log_density(two.mean), other[0].log_prob(two.mean))


def test_dvae_shares_and_averages_as_the_adaptive_group_model() -> None:
    """Ada-GVAE of Locatello et al. (2020), section 5, by the laws of torch, one pair and variable at a time."""
    model = DISENTANGLEMENT_KINDS["dvae"](standardisation(), TargetDistribution.family(N, "atomic-or-empty"))
    first, second = (Normals(normal(200, N, seed=k), 0.7 * normal(200, N, seed=k + 1)) for k in (50, 60))
    found = model.changed(first, second)
    projected, other = model._projected((first, second), found)
    assert torch.equal(other.mean, second.mean) and torch.equal(other.log_deviation, second.log_deviation)
    for row in range(200):
        laws = [
            [torch.distributions.Normal(law.mean[row, i], law.log_deviation[row, i].exp()) for i in range(N)]
            for law in (first, second)
        ]
        divergences = [
            float(torch.distributions.kl_divergence(one, two)) for one, two in zip(laws[0], laws[1], strict=True)
        ]
        threshold = 0.5 * (min(divergences) + max(divergences))
        for i, (one, two) in enumerate(zip(laws[0], laws[1], strict=True)):
            shared = divergences[i] < threshold
            assert bool(found[row, i]) != shared
            mean = 0.5 * (one.mean + two.mean) if shared else one.mean
            variance = 0.5 * (one.variance + two.variance) if shared else one.variance
            torch.testing.assert_close(projected.mean[row, i], mean)
            torch.testing.assert_close((2.0 * projected.log_deviation[row, i]).exp(), variance)
