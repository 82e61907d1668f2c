"""Fits of the disentanglement peers: resumed, together, with known targets; their settings."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from laws import default_dtype, generator
from small import small_data
from test_training_loop import Memory

from lcm.learn.prepared import Prepared, prepare
from lcm.learn.training.loop import run_alone, run_together
from lcm.learn.training.tracker import Recorder
from lcm.model.intervention import TargetDistribution
from lcm.peer.disentanglement import DisentanglementConfig
from lcm.peer.disentanglement.fit import DisentanglementObjective, fit_disentanglement_vae
from lcm.peer.disentanglement.vae import DISENTANGLEMENT_KINDS, DisentanglementVAE

QUICK = DisentanglementConfig(hidden=8, layers=1, steps=40, batch_size=64)


def prepared(seed: int = 0, known: bool = False, rows: int = 300) -> Prepared:
    data = small_data("linear", rows)
    targets = data.targets if known else None
    return prepare(data.x, data.x_tilde, 2, 0.2, seed, torch.device("cpu"), targets)


def fitted(
    kind: str, config: DisentanglementConfig = QUICK, seed: int = 0, memory: Memory | None = None
) -> DisentanglementVAE:
    stages = fit_disentanglement_vae(
        prepared(known=kind == "vae-supervised-interventions"),
        TargetDistribution.family(2, "atomic-or-empty"),
        config,
        generator(seed),
        kind,
    )
    return run_alone(stages, memory or Memory())


FITS: dict[str, tuple[DisentanglementConfig]] = {
    "dvae": ("dvae", QUICK),
    "dvae, posterior": ("dvae", replace(QUICK, aggregation="posterior")),
    "dvae, linear start": ("dvae", replace(QUICK, start="linear")),
    "beta-vae": ("beta-vae", QUICK),
    "supervised": ("vae-supervised-interventions", QUICK),
}
every_fit = pytest.mark.parametrize("name", FITS)


def assert_equal(first: DisentanglementVAE, second: DisentanglementVAE) -> None:
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


@every_fit
def test_the_generator_decides_everything(name: str) -> None:
    kind, config = FITS[name]
    state = torch.get_rng_state()
    first, again, other = (fitted(kind, config, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert_equal(first, again)
    assert not torch.allclose(first.encoder.weights[0], other.encoder.weights[0])
    assert not any(parameter.requires_grad for parameter in first.parameters())


@every_fit
def test_an_interrupted_fit_ends_as_one_that_was_not(name: str) -> None:
    kind, config = FITS[name]
    whole, interrupted = fitted(kind, config), Memory(fail=("save", 30))
    with pytest.raises(KeyboardInterrupt):
        fitted(kind, config, memory=interrupted)
    assert_equal(fitted(kind, config, memory=Memory(interrupted.saved)), whole)


@every_fit
def test_fits_together_equal_fits_alone(name: str) -> None:
    kind, config = FITS[name]
    few = replace(config, steps=20)
    with default_dtype(torch.float64):
        pairs = prepared(known=kind == "vae-supervised-interventions")
        stages = [
            fit_disentanglement_vae(pairs, TargetDistribution.family(2, "atomic-or-empty"), few, generator(seed), kind)
            for seed in range(3)
        ]
        found = run_together(stages, Recorder())
        for seed, model in enumerate(found):
            for key, value in fitted(kind, few, seed).state_dict().items():
                torch.testing.assert_close(model.state_dict()[key], value, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found[0].encoder.weights[0], found[1].encoder.weights[0])


@every_fit
def test_validation_is_repeatable_and_training_improves_it(name: str) -> None:
    kind, config = FITS[name]
    memory = Memory()
    fitted(kind, replace(config, steps=150, constant_share=0.0, ramp_share=0.0), memory=memory)
    values = [float(str(record["validation_log_likelihood"])) for record in memory.records]
    assert max(values) > values[0] + 1.0
    model = DISENTANGLEMENT_KINDS[kind](prepared().standardisation, TargetDistribution.family(2, "atomic"), config)
    # without weights, the decoder would ignore what is drawn
    model.draw_weights(generator(1))
    known = prepared(known=kind == "vae-supervised-interventions")
    objective = DisentanglementObjective(model, known, generator())
    assert objective.validate() == objective.validate()


def test_the_loss_is_the_bound_at_the_weight_of_the_moment() -> None:
    config = replace(QUICK, aggregation="posterior", beta=2.0)
    targets = TargetDistribution.family(2, "atomic-or-empty")
    model = DISENTANGLEMENT_KINDS["dvae"](prepared().standardisation, targets, config)
    model.draw_weights(generator(1))
    objective = DisentanglementObjective(model, prepared(), generator(2))
    batch = objective.batch(torch.arange(5))
    draws = torch.stack(batch[2:4]).unsqueeze(1)
    bounds = [
        model.mixture_bound(batch[:2], model.posteriors(*batch[:2]), draws, beta)  # type: ignore[arg-type]
        for beta in (1e-3, 1.0, 2.0)
    ]
    torch.testing.assert_close(bounds[1], model.elbo(batch[0], batch[1], draws))
    torch.testing.assert_close(objective.loss(batch, 0.0), -bounds[0].mean())
    torch.testing.assert_close(objective.loss(batch, 0.5), -bounds[2].mean())


def test_known_targets_number_the_variables_and_are_found_again() -> None:
    data = small_data("linear", 4000)
    pairs = prepare(data.x, data.x_tilde, 2, 0.1, 0, torch.device("cpu"), data.targets)
    targets = TargetDistribution.family(2, "atomic-or-empty")
    config = DisentanglementConfig(steps=500, learning_rate=5e-3, hidden=16, layers=1)
    model = run_alone(
        fit_disentanglement_vae(pairs, targets, config, generator(), "vae-supervised-interventions"), Memory()
    )
    assert data.targets is not None
    true = torch.from_numpy(data.targets)
    found = model.encode_pairs(torch.from_numpy(data.x), torch.from_numpy(data.x_tilde)).posterior.argmax(1)
    accuracy = float((targets.target_sets[found] == true).all(1).float().mean())
    assert accuracy > 0.8
    shares = [float((~true.any(1)).float().mean()), *true.float().mean(0).tolist()]
    torch.testing.assert_close(targets.probabilities, torch.tensor(shares), atol=0.1, rtol=0)


def test_supervision_without_targets_is_refused() -> None:
    stages = fit_disentanglement_vae(
        prepared(), TargetDistribution.family(2, "atomic"), QUICK, generator(), "vae-supervised-interventions"
    )
    with pytest.raises(ValueError, match=r"^Expected targets of every pair, which vae-supervised-interventions is to"):
        next(stages)


@pytest.mark.parametrize(("progress", "beta"), [(0.0, 0.5), (0.19, 0.5), (0.3, 1.25), (0.4, 2.0), (1.0, 2.0)])
def test_the_weight_of_divergences_follows_its_schedule(progress: float, beta: float) -> None:
    config = DisentanglementConfig(beta=2.0, beta_start=0.5, constant_share=0.2, ramp_share=0.2)
    assert config.beta_at(progress) == pytest.approx(beta)


def test_without_a_schedule_the_weight_is_constant() -> None:
    config = DisentanglementConfig(constant_share=0.0, ramp_share=0.0)
    assert {config.beta_at(progress) for progress in (0.0, 0.5, 1.0)} == {1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": 0}, r"hidden: Expected at least 1; got 0"),
        ({"steps": 0}, r"steps: Expected at least 1; got 0"),
        ({"batch_size": 0}, r"batch_size: Expected at least 1; got 0"),
        ({"layers": -1}, r"layers: Expected at least 0; got -1"),
        ({"beta": 0.0}, r"beta: Expected a positive number; got 0.0"),
        ({"beta_start": -1.0}, r"beta_start: Expected a number that is not negative; got -1.0"),
        ({"learning_rate": 0.0}, r"learning_rate: Expected a positive number; got 0.0"),
        ({"constant_share": 1.5}, r"constant_share: Expected a share of the steps in \[0, 1\]; got 1.5"),
        ({"ramp_share": -0.5}, r"ramp_share: Expected a share of the steps in \[0, 1\]; got -0.5"),
        ({"aggregation": "none"}, r"aggregation: Expected adaptive or posterior; got none"),
        ({"combination": "none"}, r"combination: Expected average or product; got none"),
        ({"start": "none"}, r"start: Expected random or linear; got none"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        DisentanglementConfig(**changes)


def test_settings_are_plain_values() -> None:
    assert DisentanglementConfig(**asdict(QUICK)) == QUICK
