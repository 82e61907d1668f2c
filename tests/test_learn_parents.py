"""The parent tests and the standard errors of edge strengths, around known mechanisms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from laws import generator, normal
from scipy.stats import kstest
from torch import Tensor

from lcm.learn.config import KnownConfig
from lcm.learn.known import with_known
from lcm.model.graph import Graph
from lcm.model.mechanism import LocationScaleMechanism
from lcm.model.noise import NormalNoise
from lcm.model.scm import SCM
from lcm.readout.ancestors import find_ancestry
from lcm.readout.dependence import Dependence
from lcm.readout.edges import find_edges, fitted_mechanisms, parent_tests, strength_errors

pytestmark = pytest.mark.usefixtures("float64")

CHAIN = torch.tensor([[0.0, 0.8, 0.0], [0.0, 0.0, 0.6], [0.0, 0.0, 0.0]], dtype=torch.float64)
"""Weights [j, i] of 0 → 1 → 2: 0 is an ancestor of 2 and no parent."""
FULL = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)


def least_squares(
    rows: int, seed: int, weights: Tensor = CHAIN, units: Tensor | None = None
) -> tuple[LocationScaleMechanism, Tensor, Tensor]:
    """Pairs of a linear model with target 0, 1 and 2 in turn, and the mechanisms that they give by least squares.

    With `units` (3,), every variable and its noise are that many times as large.

    Returns the mechanisms of all earlier variables as candidates, ε̃ (3 rows, 3) where i is a target, and z as these
    mechanisms have it.
    """
    source = generator(seed)
    units = torch.ones(3) if units is None else units
    weights = weights * units / units[:, None]
    noise, imposed = (units * torch.randn(3 * rows, 3, generator=source) for _ in range(2))
    z = torch.zeros_like(noise)
    for i in range(3):
        z[:, i] = z @ weights[:, i] + noise[:, i]
    noise_tilde = imposed - z @ weights
    mechanism = LocationScaleMechanism(FULL, hidden=1)
    found = torch.zeros_like(noise)
    with torch.no_grad():
        for i in range(3):
            parents = list(range(i))
            mine = slice(i * rows, (i + 1) * rows)
            if parents:
                design = torch.cat([found[mine][:, parents], torch.ones(rows, 1)], 1)
                solution = torch.linalg.lstsq(design, noise_tilde[mine, i : i + 1]).solution[:, 0]
                mechanism.network.linear[i, parents, 0] = -solution[:-1]
                mechanism.bias[i] = -solution[-1]
            found[:, i] = mechanism(noise, found)[0][:, i]
    return mechanism, noise_tilde, found


def targets(rows: int) -> Tensor:
    return torch.eye(3).repeat_interleave(rows, 0)


def parent_tests_of(rows: int, seed: int, weights: Tensor = CHAIN, units: Tensor | None = None) -> Dependence:
    mechanism, noise_tilde, z = least_squares(rows, seed, weights, units)
    fitted = fitted_mechanisms(mechanism, noise_tilde, z, targets(rows))
    return parent_tests(mechanism, fitted, torch.zeros(3, 3))


@pytest.mark.parametrize("rows", [200, 1000])
def test_p_values_of_ancestors_that_are_no_parents_are_no_smaller_than_uniform(rows: int) -> None:
    found = [parent_tests_of(rows, seed) for seed in range(120)]
    for p_values in ([float(each.mean[0, 2]) for each in found], [float(each.spread[0, 2]) for each in found]):
        assert kstest(p_values, "uniform", alternative="greater").pvalue > 1e-3
        assert np.mean(np.array(p_values) < 0.01) < 0.05


def test_errors_of_the_mechanism_between_are_allowed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from lcm.readout import edges

    strong = CHAIN.clone()
    strong[1, 2] = 3.0
    honest = [float(parent_tests_of(300, seed, strong).mean[0, 2]) for seed in range(120)]
    monkeypatch.setattr(edges, "propagated_covariance", lambda *_: torch.zeros(1, 1, 1))
    naive = [float(parent_tests_of(300, seed, strong).mean[0, 2]) for seed in range(120)]
    assert np.mean(np.array(honest) < 0.05) < 0.12 < 0.3 < np.mean(np.array(naive) < 0.05)


@pytest.mark.parametrize("units", [(1.0, 1.0, 100.0), (0.01, 1.0, 1.0), (1.0, 30.0, 0.02)])
def test_units_do_not_change_p_values(units: tuple[float, float, float]) -> None:
    strong = CHAIN.clone()
    strong[1, 2] = 3.0
    before = parent_tests_of(300, 0, strong)
    after = parent_tests_of(300, 0, strong, torch.tensor(units))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


def test_parents_are_found_and_others_are_not() -> None:
    found = parent_tests_of(1000, 0).p_value()
    assert (found < 1e-6).nonzero().tolist() == [[0, 1], [1, 2]]
    assert torch.equal(found[~FULL], torch.ones(6))


def test_a_parent_of_the_scale_alone_is_found() -> None:
    rows = 1500
    noise, imposed = normal(3 * rows, 2), normal(3 * rows, 2, seed=3)
    mechanism = LocationScaleMechanism(torch.triu(torch.ones(2, 2, dtype=torch.bool), 1), hidden=1)
    with torch.no_grad():
        mechanism.network.linear[1, 0, 1] = 0.4
    z = mechanism(noise, noise)[0]
    noise_tilde = mechanism.inverse(imposed, z)[0].detach()
    fitted = fitted_mechanisms(mechanism, noise_tilde, z.detach(), torch.ones(3 * rows, 2))
    found = parent_tests(mechanism, fitted, torch.zeros(2, 2))
    assert found.spread[0, 1] < 1e-10 < 1e-4 < found.mean[0, 1]


def test_too_few_rows_give_no_test() -> None:
    mechanism, noise_tilde, z = least_squares(12, 0)
    fitted = fitted_mechanisms(mechanism, noise_tilde, z, targets(12))
    # One candidate needs ten rows, two need fifteen.
    assert list(fitted) == [1]
    assert parent_tests(mechanism, fitted, torch.zeros(3, 3)).p_value()[:, 2].tolist() == [1.0] * 3
    errors = strength_errors(mechanism, fitted, noise_tilde, z)
    assert errors[0, 1] > 0.0 and errors.count_nonzero() == 1


def test_relabelled_variables_give_relabelled_tests() -> None:
    rows, order = 300, [2, 0, 1]
    mechanism, noise_tilde, z = least_squares(rows, 0)
    fitted = fitted_mechanisms(mechanism, noise_tilde, z, targets(rows))
    moved = LocationScaleMechanism(FULL[order][:, order], hidden=1)
    with torch.no_grad():
        moved.network.linear.copy_(mechanism.network.linear[order][:, order])
        moved.bias.copy_(mechanism.bias[order])
    again = fitted_mechanisms(moved, noise_tilde[:, order], z[:, order], targets(rows)[:, order])
    slack = 0.001 * torch.rand(3, 3, generator=generator())
    found = parent_tests(mechanism, fitted, slack)
    relabelled = parent_tests(moved, again, slack[order][:, order])
    for before, after in zip(found, relabelled, strict=True):
        torch.testing.assert_close(after, before[order][:, order], rtol=1e-6, atol=1e-9)
    errors = [
        strength_errors(mechanism, fitted, noise_tilde, z)[order][:, order],
        strength_errors(moved, again, noise_tilde[:, order], z[:, order]),
    ]
    torch.testing.assert_close(*errors, rtol=1e-6, atol=1e-9)


def test_standard_errors_are_those_of_repeated_draws() -> None:
    rows, draws = 400, 60
    strengths, errors = [], []
    for seed in range(draws):
        mechanism, noise_tilde, z = least_squares(rows, seed)
        fitted = fitted_mechanisms(mechanism, noise_tilde, z, targets(rows))
        points = z[:1000]
        ratio = points.std(0).unsqueeze(1) / points.std(0)
        strengths.append((mechanism.network.linear[:, :, 0].T.abs() * ratio).detach())
        errors.append(strength_errors(mechanism, fitted, normal(1000, 3, seed=seed), points))
    spread, mean = torch.stack(strengths).std(0), torch.stack(errors).square().mean(0).sqrt()
    for edge in ((0, 1), (1, 2)):
        assert 0.75 < float(mean[edge] / spread[edge]) < 1.4


@pytest.mark.parametrize("constant", [0, 1, 2])
def test_a_constant_has_no_edges_also_where_the_order_is_known(constant: int) -> None:
    noise, noise_tilde = normal(3000, 3), normal(3000, 3, seed=2)
    targets = torch.nn.functional.one_hot(torch.arange(3000) % 3, 3).float()
    noise_tilde = torch.where(targets > 0, noise_tilde, noise)
    noise[:, constant], noise_tilde[:, constant] = 0.3, 0.3
    ancestry = with_known(find_ancestry(noise, noise_tilde, targets, 0.01), KnownConfig(order=(0, 1, 2)))
    mechanism = LocationScaleMechanism.untrained(torch.from_numpy(ancestry.candidates.copy()), 8)
    scm = SCM(Graph(ancestry.candidates), mechanism, NormalNoise(3)).requires_grad_(False)
    found = find_edges(scm, ancestry, (noise_tilde, noise, targets), (noise, noise))
    assert np.isfinite(found.edge_strength).all() and found.edge_p_value.min() > 1e-3
    assert np.array_equal(found.edge_p_value[:, constant], np.ones(3))
