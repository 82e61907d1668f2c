"""The implicit model with a switch variable: laws of its bound, and what it is without the switch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from laws import default_dtype
from small import small_data
from test_training_loop import Memory
from torch import Tensor

from lcm.learn.prepared import prepare
from lcm.learn.training.loop import run_alone
from lcm.model.decoder import AffineDecoder, ChainDecoder
from lcm.model.intervention import TargetDistribution
from lcm.peer.implicit.vae import ImplicitVAE
from lcm.peer.switch import SwitchVAEConfig
from lcm.peer.switch.fit import SwitchVAEObjective, fit_switch_vae
from lcm.peer.switch.vae import PairEncoding, SwitchVAE
from lcm.peer.variational import Normals

N = 3
HIDDEN = SwitchVAEConfig(hidden=8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.get_default_dtype())


def drawn(**changes: Any) -> SwitchVAE:
    """A model of random weights, whose solution functions, switch and imposed values are far from trivial."""
    model = SwitchVAE(
        ChainDecoder([AffineDecoder(N)]), TargetDistribution.family(N, "atomic"), replace(HIDDEN, **changes)
    )
    model.draw_weights(generator(1), normal(N, N, seed=2))
    with torch.no_grad():
        model.solution.networks.weights[-1].copy_(normal(*model.solution.networks.weights[-1].shape, seed=3))
        if model.config.switch:
            model.effect.weights[-1].copy_(normal(*model.effect.weights[-1].shape, seed=4))
            model.imposed_slope.copy_(normal(N, seed=5))
            model.imposed_offset.copy_(normal(N, seed=6))
    return model.requires_grad_(False)


def pairs(rows: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates before and after, and atomic targets."""
    return normal(rows, N, seed=7), normal(rows, N, seed=8), torch.eye(N, dtype=torch.bool)[torch.arange(rows) % N]


def test_without_the_switch_it_is_the_implicit_model_of_hard_interventions() -> None:
    with default_dtype(torch.float64):
        model, (y, y_tilde, targets) = drawn(switch=False), pairs()
        other = ImplicitVAE(model.standardisation, model.target_distribution, hidden=8, linear=True)
        other.load_state_dict({**other.state_dict(), **model.state_dict()})
        draws = model.draw(len(y), generator(9))
        found = model.bound(y, y_tilde, model.moments(y, y_tilde), targets, draws)
        expected = other.bounds(y, y_tilde, other.moments(y, y_tilde), draws[:, :2], targets)
        torch.testing.assert_close(found.fit, expected.fit[0])
        torch.testing.assert_close(found.latent, expected.latent[0])
        assert not found.displacement.any()


@pytest.mark.parametrize("switch", [True, False])
def test_imposed_noise_has_a_density(switch: bool) -> None:
    """Its integral over the noise of one target is 1, whatever the other noise and the switch are."""
    with default_dtype(torch.float64):
        model, grid = drawn(switch=switch), torch.linspace(-60.0, 60.0, 24_001)
        noise, value = 0.5 * normal(1, N, seed=10), normal(1, N, seed=11)
        after = grid.unsqueeze(1).expand(-1, N)
        density = model.imposed_log_density(noise.expand_as(after), after, value.expand_as(after)).exp()
        torch.testing.assert_close(torch.trapezoid(density, grid, dim=0), torch.ones(N), rtol=1e-3, atol=1e-3)


def test_the_switch_moves_the_imposed_noise_of_targets_alone() -> None:
    """z̃_i = s_i(ẽ_i − h_i(v)): moving the noise by h has the density that it has without a switch."""
    with default_dtype(torch.float64):
        model, (noise, after, _) = drawn(), pairs()
        switch = normal(len(noise), N, seed=12)
        moved = model.imposed_log_density(noise, after + model.effect(switch), switch)
        model.effect.weights[-1].zero_()
        torch.testing.assert_close(moved, model.imposed_log_density(noise, after, switch))


def test_the_divergence_of_the_switch_counts_once() -> None:
    with default_dtype(torch.float64):
        model, (y, y_tilde, targets) = drawn(), pairs()
        model.effect.weights[-1].zero_()
        draws, encoded = model.draw(len(y), generator(9)), model.moments(y, y_tilde)
        zeros = torch.zeros_like(y)
        prior = PairEncoding(encoded.noise, Normals(zeros, zeros))
        found, without_cost = (model.bound(y, y_tilde, each, targets, draws).latent for each in (encoded, prior))
        divergence = encoded.switch.divergence(Normals(zeros, zeros)).sum(1)
        assert float(divergence.min()) > 0.0
        torch.testing.assert_close(without_cost - found, divergence)


def test_weights_of_draws_have_the_evidence_for_their_mean() -> None:
    """E_q[p(y, ỹ, e) / q(e)] is p(y, ỹ), which is normal where networks are affine and nothing is a target."""
    with default_dtype(torch.float64):
        model, (y, y_tilde, _) = drawn(layers=0, switch=False), pairs()
        # a posterior as wide as the prior, so that no draw has a large weight
        for part in (model.encoder.weights[-1], model.unmixing):
            part.zero_()
        model.encoder.biases[-1][N:] = 0.5 * math.log(2.0)
        model.log_variance.fill_(0.0)
        rows = 40_000
        one, two = (part[:1].expand(rows, N) for part in (0.5 * y, 0.5 * y_tilde))
        nothing = torch.zeros(rows, N, dtype=torch.bool)
        parts = model.bound(one, two, model.moments(one, two), nothing, model.draw(rows, generator(9)))
        found = (parts.fit + parts.latent).logsumexp(0) - math.log(rows)
        mean = model.decode_noise(torch.zeros(1, N))[0]
        mixing = (model.decode_noise(torch.eye(N)) - mean).T
        both, variance = torch.cat([mixing, mixing]), (model.log_variance.exp() + 1e-4).repeat(2)
        law = torch.distributions.MultivariateNormal(mean.repeat(2), both @ both.T + torch.diag(variance))
        torch.testing.assert_close(found, law.log_prob(torch.cat([one[0], two[0]])), rtol=0.0, atol=0.03)


def test_what_stays_is_decoded_from_one_noise() -> None:
    model, (y, y_tilde, _) = drawn(), pairs()
    nothing, everything = (torch.full((len(y), N), value) for value in (False, True))
    draws, encoded = model.draw(len(y), generator(9)), model.moments(y, y_tilde)
    other = draws.clone()
    other[:, 1] += 1.0
    for targets, same in ((nothing, True), (everything, False)):
        fits = [model.bound(y, y_tilde, encoded, targets, each).fit for each in (draws, other)]
        assert torch.equal(*fits) == same


def test_a_fit_learns_the_shares_of_the_target_sets_and_the_targets() -> None:
    data = small_data("linear", 600)
    prepared = prepare(data.x, data.x_tilde, 2, 0.2, 0, torch.device("cpu"), data.targets)
    targets = TargetDistribution.family(2, "atomic-or-empty")
    model = run_alone(fit_switch_vae(prepared, targets, replace(HIDDEN, steps=300), generator()), Memory())
    assert prepared.targets is not None
    known = (prepared.targets[0].unsqueeze(1) == targets.target_sets).all(2)
    torch.testing.assert_close(targets.probabilities.double(), known.double().mean(0))
    found = model.encode_coordinates(prepared.train[0][:], prepared.train[1][:]).posterior
    assert float((found.argmax(1) == known.float().argmax(1)).float().mean()) > 0.9


def test_the_density_of_pairs_leaves_the_displacement_out() -> None:
    model, (y, y_tilde, _) = drawn(), pairs()
    before = model.encode_coordinates(y, y_tilde).log_density
    model.switch_decoder.biases[-1] += 5.0
    assert torch.equal(model.encode_coordinates(y, y_tilde).log_density, before)


def test_a_loss_is_minus_the_mean_of_its_parts() -> None:
    """Bound, displacement, and the log-probability of the known targets, which leaves the encoder alone."""
    data = small_data("linear", 200)
    prepared = prepare(data.x, data.x_tilde, 2, 0.2, 0, torch.device("cpu"), data.targets)
    model = SwitchVAE(prepared.standardisation, TargetDistribution.family(2, "atomic-or-empty"), HIDDEN)
    model.draw_weights(generator())
    objective = SwitchVAEObjective(model, prepared, generator())
    y, y_tilde, targets, draws = objective.batch(torch.arange(50))
    encoded = model.moments(y, y_tilde)
    parts, log_q = model.bound(y, y_tilde, encoded, targets, draws), model.log_posterior(encoded.noise)
    column = (targets.unsqueeze(1) == model.target_distribution.target_sets).all(2).float().argmax(1, keepdim=True)
    known = log_q.gather(1, column)[:, 0]
    loss = objective.loss((y, y_tilde, targets, draws), 0.9)
    torch.testing.assert_close(loss, -(parts.fit + parts.latent + parts.displacement + known).mean())
    weights = list(model.encoder.parameters())
    whole = torch.autograd.grad(loss, weights)
    bound = torch.autograd.grad(-(parts.fit + parts.latent + parts.displacement).mean(), weights)
    for one, other in zip(whole, bound, strict=True):
        torch.testing.assert_close(one, other)


BAD = {
    "hidden: Expected at least 1; got 0": {"hidden": 0},
    "layers: Expected at least 0; got -1": {"layers": -1},
    "start: Expected random or linear; got far": {"start": "far"},
    "impose_from: Expected a share of the steps": {"impose_from": 1.5},
    "beta_until: Expected at least beta_from = 0.5; got 0.2": {"beta_from": 0.5, "beta_until": 0.2},
    "learning_rate: Expected": {"learning_rate": 0.0},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_settings_are_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SwitchVAEConfig(**BAD[message])  # type: ignore[arg-type]


def test_the_weight_of_the_divergences_rises_linearly() -> None:
    config = SwitchVAEConfig(beta_from=0.2, beta_until=0.6)
    assert [config.beta_at(share) for share in (0.0, 0.2, 0.6, 1.0)] == [0.0, 0.0, 1.0, 1.0]
    assert config.beta_at(0.4) == pytest.approx(0.5)
    assert SwitchVAEConfig(beta_from=0.0, beta_until=0.0).beta_at(0.0) == 1.0


def test_pairs_without_targets_are_an_error() -> None:
    data = small_data("linear")
    prepared = prepare(data.x, data.x_tilde, 2, 0.2, 0, torch.device("cpu"))
    targets = TargetDistribution.family(2, "atomic")
    with pytest.raises(ValueError, match=r"Expected targets of every pair, which icrl-sm is to know; got none"):
        next(fit_switch_vae(prepared, targets, HIDDEN, generator()))
    model = SwitchVAE(prepared.standardisation, targets, HIDDEN)
    with pytest.raises(ValueError, match="Expected prepared pairs with targets; got none"):
        SwitchVAEObjective(model, prepared, generator())
