"""Fits of the implicit latent causal model: resumed, together, by phases; the loop that it is timed beside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from laws import default_dtype, generator, normal
from small import small_data
from test_training_loop import Memory

from benchmarks.reference_style import ReferenceStyleModel
from benchmarks.row import Plan
from benchmarks.suites.implicit import copy_weights, implicit_stage
from lcm.learn.prepared import Prepared, prepare
from lcm.learn.training.loop import optimise, optimise_together, run_alone
from lcm.learn.training.objective import Schedule
from lcm.model.decoder import AffineDecoder, ChainDecoder, EmbeddingDecoder
from lcm.model.intervention import TargetDistribution
from lcm.peer.implicit import ImplicitVAEConfig
from lcm.peer.implicit.fit import ImplicitVAEObjective, fit_implicit_vae, new_implicit_vae
from lcm.peer.implicit.solution import ExactPosterior
from lcm.peer.implicit.vae import ImplicitVAE

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


PUBLISHED = replace(
    CONFIG,
    activation="relu",
    divergence="published",
    pretrain_share=1 / 9,
    beta_from=1 / 9,
    beta_until=2 / 9,
    impose_from=1 / 3,
    decide_from=2 / 3,
)


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
    "published": (PUBLISHED, False),
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


def test_once_decided_the_loss_is_that_of_the_most_probable_set_alone() -> None:
    config = replace(CONFIG, decide_from=0.7, offset_until=1e-30)
    with default_dtype(torch.float64):
        objective = objective_of(1, config).double()
        y, y_tilde, draws = (part.double() for part in objective.batch(torch.arange(16)))
        model = objective.model
        encoded = model.moments(y, y_tilde)
        log_q = model.log_posterior(encoded)
        parts = model.bounds(y, y_tilde, encoded, draws)
        best = torch.tensor([max(range(log_q.shape[1]), key=row.__getitem__) for row in log_q.tolist()])
        chosen = (parts.fit + parts.latent).T.gather(1, best.unsqueeze(1))
        torch.testing.assert_close(objective.loss((y, y_tilde, draws), 0.9), -chosen.mean())


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
    batch = learned.batch(torch.arange(16))
    before = fixed.model.target_distribution.probabilities.clone()
    with torch.no_grad():
        posterior = learned.model.log_posterior(learned.model.moments(*batch[:2])).exp().mean(0)
    for objective in (learned, fixed):
        objective.loss(objective.batch(torch.arange(16)), 0.9)
    probabilities = learned.model.target_distribution.probabilities
    assert torch.equal(fixed.model.target_distribution.probabilities, before)
    moved, wanted = probabilities - before, posterior - before
    assert float(moved @ wanted / (moved.norm() * wanted.norm())) > 0.99 and float(wanted.norm()) > 0.01
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
        ChainDecoder([AffineDecoder(n), EmbeddingDecoder(n, n)]),
        TargetDistribution.family(n, "atomic-or-empty"),
        activation="relu",
        variance=0.01,
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
