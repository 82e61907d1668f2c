"""The implicit latent causal model as a variational autoencoder: its bounds and its fit, beside a loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from laws import default_dtype, generator, normal
from small import small_data
from test_learn_optimise import Memory
from torch import Tensor

from benchmarks.reference_style import ReferenceStyleModel
from benchmarks.row import Plan
from benchmarks.suites.implicit import copy_weights, implicit_stage
from lcm.baseline.implicit_config import ImplicitVAEConfig
from lcm.baseline.implicit_fit import fit_implicit_vae, new_implicit_vae
from lcm.baseline.implicit_objective import ImplicitVAEObjective
from lcm.baseline.implicit_posterior import ExactPosterior
from lcm.baseline.implicit_vae import ImplicitVAE
from lcm.decoder import AffineDecoder, ChainDecoder, EmbeddingDecoder
from lcm.intervention import TargetDistribution
from lcm.learn.ensemble import run_alone
from lcm.learn.objective import Schedule
from lcm.learn.optimise import optimise, optimise_together
from lcm.learn.prepare import Prepared, prepare

N = 3
PERMUTATION = [2, 0, 1]
CONFIG = ImplicitVAEConfig(
    hidden=8,
    start="random",
    projection="stochastic",
    steps=20,
    batch_size=16,
    pretrain_share=0.1,
    beta_from=0.2,
    beta_until=0.4,
    impose_from=0.5,
)


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
    (mean, mean_tilde), (spread, spread_tilde) = encoded.mean, encoded.log_spread.exp()
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
            value = value + normal_density(model.decode(hidden), deviation).log_prob(observed).sum(1)
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
    solution = other.solution
    for part in (*solution.weights, *solution.biases):
        part.data = part[order]
    solution.weights[0].data = solution.weights[0][:, :, order]
    solution.others.copy_(solution.others[order][:, order])
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
    weight, bias = model.solution.weights[0][:, 0], model.solution.biases[0][:, 0]
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
    model.solution.weights[0].data[:, 0] = weight if family == "atomic-or-empty" else weight.tril()
    model.solution.biases[0].data[:, 0, 1] = torch.tensor([0.2, -0.1, 0.0])
    y, y_tilde = (part[:10] for part in pairs())
    known = evidence(model, rotation, y, y_tilde)
    many = [part.expand(100, 10, N).reshape(-1, N) for part in (y, y_tilde)]
    bounds = [model.elbo(*many, model.draw(1000, generator(9)))]
    bounds += [model.iwae(*many, samples, generator(9)) for samples in (1, 4, 16)]
    means = [part.view(100, 10).mean(0) for part in bounds]
    errors = [part.view(100, 10).std(0) / 10.0 for part in bounds]
    for index in range(3):
        assert bool((means[index] <= means[index + 1] + 3.0 * (errors[index] + errors[index + 1])).all())
        assert float(means[index].mean()) < float(means[index + 1].mean())
    assert bool((means[-1] <= known + 4.0 * errors[-1]).all())
    assert float(means[0].mean()) < float(known.mean()) - 0.1
    closest = model.iwae(*(part.repeat(50, 1) for part in (y, y_tilde)), 100, generator(11))
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
    torch.testing.assert_close(model.iwae(y, y_tilde, 3, generator(10)), known)
    torch.testing.assert_close(model.encode_pairs(y, y_tilde).log_density, known)


# --- fits


def prepared_pairs(known: bool = False) -> Prepared:
    data = small_data("linear", 300)
    targets = data.targets if known else None
    return prepare(data.x, data.x_tilde, 2, 0.1, 0, torch.device("cpu"), targets)


def objective_of(seed: int, config: ImplicitVAEConfig = CONFIG, known: bool = False) -> ImplicitVAEObjective:
    prepared, drawn = prepared_pairs(known), generator(seed)
    model = new_implicit_vae(prepared, TargetDistribution.family(2, "atomic-or-empty"), config)
    model.draw_weights(drawn, prepared.unmixing.to(torch.get_default_dtype()))
    objective = ImplicitVAEObjective(model, prepared, config, drawn)
    return objective


FITS: dict[str, tuple[ImplicitVAEConfig, bool]] = {
    "default": (CONFIG, False),
    "published": (ImplicitVAEConfig.published(hidden=8, steps=20, batch_size=16), False),
    "exact": (replace(CONFIG, posterior="exact", learn_probabilities=True, projection="average"), False),
    "mlp": (replace(CONFIG, posterior="mlp", start="linear", decide_from=0.7), False),
    "known-targets": (CONFIG, True),
}
SCHEDULE = Schedule(20, 16, 10)


@pytest.mark.parametrize("name", FITS)
def test_stacked_fits_end_as_single_ones(name: str) -> None:
    config, known = FITS[name]
    with default_dtype(torch.float64):
        single, stacked = ([objective_of(seed, config, known).double() for seed in (1, 2)] for _ in range(2))
        for objective in (*single, *stacked):
            objective._train = tuple(part.double() if part.is_floating_point() else part for part in objective._train)
            objective._validation = tuple(
                part.double() if part.is_floating_point() else part for part in objective._validation
            )
        for objective in single:
            optimise(objective, SCHEDULE, objective._generator, Memory())
        optimise_together(stacked, SCHEDULE, [objective._generator for objective in stacked], Memory())
    for one, two in zip(single, stacked, strict=True):
        for key, value in one.state_dict().items():
            torch.testing.assert_close(two.state_dict()[key], value)
    assert not torch.equal(single[0].model.encoder.weights[0], single[1].model.encoder.weights[0])


@pytest.mark.parametrize("name", FITS)
def test_a_resumed_fit_ends_as_one_that_was_not_interrupted(name: str) -> None:
    whole, broken, resumed = (objective_of(1, *FITS[name]) for _ in range(3))
    optimise(whole, SCHEDULE, whole._generator, Memory())
    interrupted = Memory(fail=("save", 10))
    with pytest.raises(KeyboardInterrupt):
        optimise(broken, SCHEDULE, broken._generator, interrupted)
    optimise(resumed, SCHEDULE, resumed._generator, Memory(interrupted.saved))
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value)


@pytest.mark.parametrize("name", FITS)
def test_a_fit_improves_its_bound_and_is_decided_by_its_generator(name: str) -> None:
    config, known = FITS[name]
    config = replace(config, steps=60, learning_rate=1e-2)
    prepared = prepared_pairs(known)
    fitted = []
    for _ in range(2):
        memory, targets = Memory(), TargetDistribution.family(2, "atomic-or-empty")
        fitted.append(run_alone(fit_implicit_vae(prepared, targets, config, generator(3)), memory))
        values = [float(str(record["validation_log_likelihood"])) for record in memory.records]
        assert max(values) > values[0]
    one, two = (model.state_dict() for model in fitted)
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_pretraining_leaves_solutions_and_posterior_alone() -> None:
    objective = objective_of(1)
    batch = objective.batch(torch.arange(16))
    objective.loss(batch, 0.0).backward()
    assert all(part.grad is None for part in objective.model.solution.parameters())
    assert objective.model.posterior.get_parameter("scalars").grad is None
    objective.loss(batch, 0.3).backward()
    assert all(part.grad is None for part in objective.model.solution.parameters())
    assert objective.model.posterior.get_parameter("scalars").grad is not None
    objective.loss(batch, 0.6).backward()
    assert all(part.grad is not None for part in objective.model.solution.parameters())


def test_after_all_phases_the_loss_is_the_negative_bound() -> None:
    config = replace(CONFIG, entropy_weight=0.0, offset_until=1e-30)
    with default_dtype(torch.float64):
        objective = objective_of(1, config).double()
        y, y_tilde, draws = (part.double() for part in objective.batch(torch.arange(16)))
        expected = -objective.model.elbo(y, y_tilde, draws).mean()
        torch.testing.assert_close(objective.loss((y, y_tilde, draws), 0.9), expected)


def test_the_published_divergence_weighs_the_entropy_twice() -> None:
    config = replace(CONFIG, entropy_weight=0.0, offset_until=1e-30)
    with default_dtype(torch.float64):
        correct = objective_of(1, config).double()
        published = objective_of(1, replace(config, divergence="published")).double()
        published.load_state_dict(correct.state_dict())
        y, y_tilde, _draws = batch = tuple(part.double() for part in correct.batch(torch.arange(16)))
        log_q = correct.model.log_posterior(correct.model.moments(y, y_tilde))
        q = log_q.exp()
        expected = ((q.square() - q) * log_q).sum(1).mean()
        torch.testing.assert_close(published.loss(batch, 0.9) - correct.loss(batch, 0.9), expected)


def test_known_targets_are_the_only_sets_looked_at() -> None:
    with default_dtype(torch.float64):
        objective = objective_of(1, known=True).double()
        y, y_tilde, draws, known = (
            part.double() if part.is_floating_point() else part for part in objective.batch(torch.arange(16))
        )
        model = objective.model
        parts = model.bounds(y, y_tilde, model.moments(y, y_tilde), draws)
        index = (model.target_distribution.target_sets == known.unsqueeze(1)).all(2).int().argmax(1)
        chosen = (parts.fit + parts.latent).T.gather(1, index.unsqueeze(1))
        log_q = model.log_posterior(model.moments(y, y_tilde)).gather(1, index.unsqueeze(1))
        torch.testing.assert_close(objective.loss((y, y_tilde, draws, known), 0.9), -(chosen + log_q).mean())


def test_learned_probabilities_move_towards_the_posterior() -> None:
    learned = objective_of(1, replace(CONFIG, learn_probabilities=True))
    fixed = objective_of(1)
    for objective in (learned, fixed):
        objective.loss(objective.batch(torch.arange(16)), 0.9)
    probabilities = learned.model.target_distribution.probabilities
    assert not torch.equal(probabilities, fixed.model.target_distribution.probabilities)
    torch.testing.assert_close(probabilities.sum(), torch.tensor(1.0))


def test_the_exact_posterior_needs_a_solution() -> None:
    with pytest.raises(ValueError, match=r"solved: Expected the solution of noise_tilde; got none"):
        ExactPosterior(2)(torch.zeros(1, 2), torch.zeros(1, 2), None, TargetDistribution.family(2, "atomic"))


ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"hidden": 0}, r"hidden: Expected at least 1; got 0"),
    ({"steps": 0}, r"steps: Expected at least 1; got 0"),
    ({"batch_size": 0}, r"batch_size: Expected at least 1; got 0"),
    ({"layers": -1}, r"layers: Expected at least 0; got -1"),
    ({"learning_rate": 0.0}, r"learning_rate: Expected a positive number; got 0.0"),
    ({"variance": -1.0}, r"variance: Expected a positive number; got -1.0"),
    ({"entropy_weight": -1.0}, r"entropy_weight: Expected at least 0; got -1.0"),
    ({"decide_from": 1.5}, r"decide_from: Expected a share of the steps in \[0, 1\]; got 1.5"),
    ({"beta_from": 0.5, "beta_until": 0.4}, r"beta_until: Expected at least beta_from = 0.5; got 0.4"),
]


@pytest.mark.parametrize(("settings", "message"), ERRORS)
def test_settings_out_of_range_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImplicitVAEConfig(**settings)


# --- the loop


@pytest.mark.parametrize("n", [2, 5])
def test_the_loss_is_that_of_the_loop_with_the_same_weights_and_draws(n: int) -> None:
    torch.manual_seed(0)
    reference = ReferenceStyleModel(n)
    model = ImplicitVAE(
        standardisation(n), TargetDistribution.family(n, "atomic-or-empty"), activation="relu", variance=0.01
    )
    copy_weights(reference, model)
    y, y_tilde, draws = normal(64, n, seed=1), normal(64, n, seed=2), normal(64, 2, n, seed=3)
    theirs = reference.elbo(y, y_tilde, (draws[:, 0], draws[:, 1]))
    ours = model.elbo(y, y_tilde, draws)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)
    slopes = [
        torch.autograd.grad(bound.mean(), part)
        for bound, part in ((theirs, next(iter(reference.encoder.parameters()))), (ours, model.encoder.weights[0]))
    ]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-3, atol=1e-3)


def test_the_steps_that_are_timed_are_of_all_parts_of_the_bound() -> None:
    stage = implicit_stage(small_data("linear", 300), Plan(quick=True).seed)
    stage.run(2)
    objective: Any = stage.objective
    objective.loss(objective.batch(torch.arange(4)), 0.0).backward()
    trained = [part for part in objective.model.parameters() if part.requires_grad]
    assert all(part.grad is not None for part in trained)
